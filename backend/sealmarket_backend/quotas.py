"""How many bytes each peer has put into the tables, and how many more it may put there.

1. What a stranger can write costs its sender nothing on chain: requests with their parameters, proposals, and evidence
   of jobs between accounts of its own. Their bytes count for the peer that sent them.
2. A peer holds at most ``peer_table_bytes``, and at most an eighth of the room that all together leave free. So however
   many addresses strangers have, the room never ends: the fuller the tables are, the less each peer may hold, and one
   that holds nothing yet is refused last.
3. What other processes wrote is counted again every :data:`COUNT_SECONDS`. What this one writes counts at once, and for
   up to twice that time twice, so that a flood is never counted too low.
4. A request that is matched has cost its parties gas: :mod:`.retention` takes it out of the count.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from sealmarket_backend.errors import StoreFull
from sealmarket_backend.ledger import StoreLimits
from sealmarket_backend.tables import Database

COUNT_SECONDS = 300
SHARE = 8
"""The part of the free room that one peer may hold: one in so many."""
ROW = 4096
"""What a row counts beside its bytes: an order that is signed by keys has fewer."""
_SUMS = (
    "SELECT peer, SUM(bytes) AS bytes FROM senders GROUP BY peer",
    "SELECT peer, SUM(bytes) AS bytes FROM envelopes GROUP BY peer",
    "SELECT peer, SUM(LENGTH(body)) AS bytes FROM proposals GROUP BY peer",
)


class Quotas:
    """The account book of one backend's tables. ``clock`` gives seconds since 1970. Threads may share it."""

    def __init__(
        self, database: Database, limits: StoreLimits, folder: Path, clock: Callable[[], float] = time.time
    ) -> None:
        self._database, self._limits, self._folder, self._clock = database, limits, folder, clock
        self._lock, self._counting = threading.Lock(), threading.Lock()
        self._kept: Counter[str] = Counter()
        self._before: Counter[str] = Counter()
        self._added: Counter[str] = Counter()
        """What was written since the last count, and between that one and the one before."""
        self._free, self._next = 0, 0.0

    def count(self, peer: str, size: int) -> None:
        """Count a row with so many bytes, before it is written. Raises :class:`StoreFull`, and then it counts not."""
        self._count_again()
        size += ROW
        with self._lock:
            used = self._used(peer)
            most = min(self._limits.peer_table_bytes, max(0, self._free) // SHARE)
            if used + size > most:
                raise StoreFull(
                    f"{peer} has put {used} bytes into the tables, and may put {most} as full as they are now",
                    remedy="wait until what you posted is matched or has expired, or use another backend",
                )
            self._added[peer] += size
            self._free -= size

    def _used(self, peer: str) -> int:
        return self._kept[peer] + self._before[peer] + self._added[peer]

    def _room(self) -> int:
        """For all rows together. Where the tables are a file, what its disk has left counts beside what they hold."""
        if self._database.dialect.is_shared:
            return self._limits.table_bytes
        disk = os.statvfs(self._folder)
        left = disk.f_bavail * disk.f_frsize - self._limits.spare_bytes
        return min(self._limits.table_bytes, left + self._kept.total())

    def _count_again(self) -> None:
        """By one thread where it is due; others go on with the count of before, and wait for the first one."""
        if self._clock() < self._next or not self._counting.acquire(blocking=self._next == 0.0):
            return
        try:
            if self._clock() < self._next:
                return
            kept: Counter[str] = Counter()
            for query in _SUMS:
                for row in self._database.rows(query):
                    kept[str(row["peer"])] += int(row["bytes"])
            with self._lock:
                self._kept, self._before, self._added = kept, self._added, Counter()
                self._free = self._room() - self._kept.total() - self._before.total()
            self._next = self._clock() + COUNT_SECONDS
        finally:
            self._counting.release()
