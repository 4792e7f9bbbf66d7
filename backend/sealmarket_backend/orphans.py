"""Takes objects out of a bucket that no row names, as a crash between an object and its row leaves them.

1. A key counts as this backend's if it has the form of :func:`~sealmarket_backend.bucket.new_key` with the mark of this
   database: objects of other markets and programs in the same bucket stay, whatever the bucket lists.
2. An object without a row goes once the bucket says that it is as old as a blob that nothing names may be, and it had
   no row :data:`SEEN_SECONDS` ago either: an upload writes its row as soon as its object is there. What the bucket says
   of ages decides nothing about an object that a row names.
3. A look reads :data:`PAGES` pages of the list, and the next one goes on behind them; at most :data:`MOST_SUSPECTS`
   objects wait for their second look. Which they are is forgotten with the process, and found anew.
"""

from __future__ import annotations

import logging

from sealmarket_backend.bucket import Objects, parts_of
from sealmarket_backend.ledger import Ledger

SEEN_SECONDS = 3600.0
PAGES = 16
"""Of at most a thousand objects each."""
MOST_SUSPECTS = 10_000
log = logging.getLogger(__name__)


class Orphans:
    """Of the bucket in which the blobs of a ledger lie."""

    def __init__(self, ledger: Ledger, bucket: Objects) -> None:
        self._ledger, self._bucket = ledger, bucket
        self._behind = ""
        self._suspects: dict[str, float] = {}

    def look(self) -> int:
        """Remove what was seen without a row before, and look for more; returns how many objects are gone. Raises
        :class:`~sealmarket.service.errors.ServiceError`, :class:`StorageFailed`."""
        gone = self._remove()
        if gone:
            log.warning("%d objects that no row named are gone from the bucket", gone)
        for _page in range(PAGES):
            page = self._bucket.listed(self._behind)
            for key, changed_at in page:
                self._suspect(key, changed_at)
            self._behind = page[-1][0] if page else ""
            if not page:
                break
        return gone

    def _remove(self) -> int:
        gone, now = 0, self._ledger.now()
        for key, seen_at in list(self._suspects.items()):
            if now < seen_at + SEEN_SECONDS:
                continue
            if not self._has_row(key):
                self._bucket.remove(key)
                gone += 1
            del self._suspects[key]
        return gone

    def _suspect(self, key: str, changed_at: float) -> None:
        now = self._ledger.now()
        youngest = now - self._ledger.limits.unreferenced_seconds
        if key in self._suspects or len(self._suspects) >= MOST_SUSPECTS or changed_at > youngest:
            return
        found = parts_of(key)
        if found is not None and found.mark == self._ledger.mark and not self._has_row(key):
            self._suspects[key] = now

    def _has_row(self, key: str) -> bool:
        found = parts_of(key)
        assert found is not None
        return self._ledger.key(found.kind, found.name) == key
