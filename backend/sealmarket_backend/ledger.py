"""Who put how many bytes into the store, and what there is still room for.

An uploader is a peer, as the server counts it. Bytes count from the moment they arrive, so uploads under way are
bounded too, and each blob counts a block more than its bytes, so that many empty ones are not free.

The last eighth of the room is for peers that hold little: of it a peer gets something as long as it holds no more than
is free. So few peers cannot fill a store for all, and each more that strangers bring gets less.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from sealmarket_backend.changes import epoch_of
from sealmarket_backend.database.schema import NEVER
from sealmarket_backend.errors import StoreFull, TooMany
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Bytes32

PREFIX = "SEALMARKET_STORE_"
"""Each limit can be set in the environment: this, and its name in capitals."""
BLOCK = 4096
RESERVED = 8
"""One part in so many of the room is left to peers that hold little."""
_LATER_SECONDS = 5
COUNT_SECONDS = 30
"""How old the count may be of what other processes have stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLimits:
    """Sizes in bytes, times in seconds."""

    total_bytes: int = 512 << 30
    peer_bytes: int = 128 << 30
    spare_bytes: int = 256 << 20
    """Of the disk, which uploads never fill."""
    uploads: int = 32
    """At once, in all."""
    uploads_per_peer: int = 8
    paused: int = 256
    """Uploads that were torn off and may go on, in all. They count no longer as at once, and their bytes do."""
    paused_per_peer: int = 4
    paused_seconds: int = 3600
    """How long one may stay so."""
    cache_bytes: int = 64 << 30
    """Of blobs that lie in a bucket, how many are kept in the state folder as well."""
    unreferenced_seconds: int = 7 * 86400
    """How long a blob stays that no asset, order or job names."""
    table_bytes: int = 64 << 30
    peer_table_bytes: int = 16 << 30
    """Of requests, parameters, proposals and evidence in the tables, which :mod:`.quotas` counts."""
    open_per_peer: int = 4096
    """Open requests that one peer has posted, beside what one account may have open."""
    ahead_seconds: int = NEVER
    """How far ahead a request or offer may expire. What is served has :data:`SERVED`, unless its operator sets it."""
    closed_seconds: int = 7 * 86400
    """How long a request or offer that was not matched stays after its expiry."""
    evidence_seconds: int = 180 * 86400
    """How long a job's evidence stays."""


SERVED = StoreLimits(ahead_seconds=90 * 86400)
"""The limits of a backend that others reach."""


class Upload:
    """One upload under way."""

    def __init__(self, ledger: Ledger, peer: str) -> None:
        self._ledger, self.peer = ledger, peer
        self.taken = 0

    def take(self, size: int) -> None:
        """Count bytes before they are written. Raises :class:`StoreFull`."""
        self._ledger.take(self.peer, size)
        self.taken += size


class Ledger:
    """The store's account book, in the table ``uploads``. ``clock`` gives seconds since 1970."""

    def __init__(
        self, database: Database, limits: StoreLimits, folder: Path, clock: Callable[[], float] = time.time
    ) -> None:
        self._database, self.limits, self._folder, self._clock = database, limits, folder, clock
        self._lock = threading.Lock()
        self._used: Counter[str] = Counter()
        """What uploads under way took, and what is kept, of each peer."""
        self._kept: Counter[str] = Counter()
        self._read_at = 0.0
        self._counting = threading.Lock()
        """Held while the table and its sums change together."""
        self._count()
        self._under_way: Counter[str] = Counter()

    def now(self) -> float:
        """Its clock, in seconds since 1970."""
        return self._clock()

    @cached_property
    def mark(self) -> str:
        """Of the keys under which this database's blobs lie in a bucket."""
        return epoch_of(self._database)

    def _count(self) -> None:
        """What is kept, also by other processes; what is under way here counts on."""
        with self._counting:
            self._count_kept()

    def _count_kept(self) -> None:
        rows = self._database.rows("SELECT peer, SUM(bytes) AS bytes FROM uploads GROUP BY peer")
        kept = Counter({str(row["peer"]): int(row["bytes"]) for row in rows})
        with self._lock:
            self._used.subtract(self._kept)
            self._used.update(kept)
            self._used = +self._used
            self._kept, self._read_at = kept, self._clock()

    def _has_counted(self, peer: str, size: int) -> None:
        """What the table says now of this process's own doing."""
        with self._lock:
            self._kept[peer] += size

    @contextmanager
    def upload(self, peer: str) -> Iterator[Upload]:
        """A place for one upload. What it took is given back with the block, unless :meth:`keep` took it over.

        Raises:
            TooMany: too many uploads at once.
            StoreFull: no room for another blob.
        """
        with self.place(peer):
            made = self.open(peer)
            try:
                yield made
            finally:
                self.release(made)

    @contextmanager
    def place(self, peer: str) -> Iterator[None]:
        """A place among the uploads at once. Raises :class:`TooMany`."""
        self._begin(peer)
        try:
            yield
        finally:
            with self._lock:
                self._under_way[peer] -= 1
                if not self._under_way[peer]:
                    del self._under_way[peer]

    def open(self, peer: str) -> Upload:
        """An account for the bytes of one blob, until :meth:`release`. Raises :class:`StoreFull`."""
        if self._clock() >= self._read_at + COUNT_SECONDS:
            self._count()
        made = Upload(self, peer)
        made.take(BLOCK)
        return made

    def release(self, upload: Upload) -> None:
        """Give back what an upload took, unless :meth:`keep` took it over."""
        with self._lock:
            self._used[upload.peer] -= upload.taken
            upload.taken = 0
            if not self._used[upload.peer]:
                del self._used[upload.peer]

    def take(self, peer: str, size: int) -> None:
        """Count bytes of a peer. Raises :class:`StoreFull`."""
        with self._lock:
            if self._used[peer] + size > self.limits.peer_bytes:
                raise StoreFull(
                    f"{peer} has put {self._used[peer]} bytes here, and may put {self.limits.peer_bytes}",
                    remedy="use another store, or wait until what no asset or job names has expired",
                )
            if (free := self._free()) < size:
                raise StoreFull("the store is full", remedy="use another store, or ask its operator for room")
            if free - size < (self._used.total() + free) // RESERVED and self._used[peer] + size > free:
                raise StoreFull(
                    f"{free} bytes are left, for peers that hold less than that, and {peer} holds {self._used[peer]}",
                    remedy="use another store, or ask its operator for room",
                )
            self._used[peer] += size

    def keep(self, upload: Upload, kind: str, name: Bytes32, key: str = "") -> str:
        """Record a blob that is there now, in a bucket under ``key``; one that was there stays its first uploader's,
        and is new again. Returns the key under which nothing needs to be any more, or nothing."""
        now, before = int(self._clock()), ""
        with self._counting, self._database.write() as connection:
            fresh = connection.execute(
                "INSERT INTO uploads (kind, name, peer, bytes, stored_at, object) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (kind, name, upload.peer, upload.taken, now, key),
            ).rowcount
            if not fresh:
                which = "WHERE kind = ? AND name = ?"
                before = connection.execute(f"SELECT object FROM uploads {which}", (kind, name)).fetchone()[0]  # noqa: S608
                connection.execute(f"UPDATE uploads SET stored_at = ?, object = ? {which}", (now, key, kind, name))  # noqa: S608
            if fresh:
                connection.after.append(partial(self._has_counted, upload.peer, upload.taken))
        if fresh:
            upload.taken = 0
        return before

    def key(self, kind: str, name: Bytes32) -> str | None:
        """Under which key a blob lies in the bucket; None where it is not recorded."""
        row = self._database.row("SELECT object FROM uploads WHERE kind = ? AND name = ?", kind, name)
        return None if row is None else str(row["object"])

    def drop(self, kind: str, name: Bytes32, since: int) -> str | None:
        """Forget a blob that was not put again after ``since``; returns its key in a bucket, None where it was."""
        with self._counting, self._database.write() as connection:
            row = connection.execute(
                "DELETE FROM uploads WHERE kind = ? AND name = ? AND stored_at <= ? RETURNING peer, bytes, object",
                (kind, name, since),
            ).fetchone()
        if row is not None:
            with self._lock:
                self._used[row["peer"]] -= row["bytes"]
                self._kept[row["peer"]] -= row["bytes"]
        return None if row is None else str(row["object"])

    def expired(self) -> tuple[int, list[tuple[str, Bytes32]]]:
        """Blobs that are old enough to go, and since when they have to be there."""
        since = int(self._clock()) - self.limits.unreferenced_seconds
        rows = self._database.rows("SELECT kind, name FROM uploads WHERE stored_at <= ?", since)
        return since, [(row["kind"], Bytes32(row["name"])) for row in rows]

    def adopt(self, files: Iterable[tuple[str, Bytes32, int]]) -> None:
        """Record files that no row names, as from before there was a ledger. They count for no peer's quota."""
        with self._counting, self._database.write() as connection:
            for kind, name, size in files:
                added = connection.execute(
                    "INSERT INTO uploads (kind, name, peer, bytes, stored_at) VALUES (?, ?, '', ?, ?)"
                    " ON CONFLICT DO NOTHING",
                    (kind, name, size + BLOCK, int(self._clock())),
                ).rowcount
                self._used[""] += (size + BLOCK) * added
                self._kept[""] += (size + BLOCK) * added

    def health(self) -> dict[str, int]:
        """Bytes in use and free; public."""
        with self._lock:
            return {"bytesUsed": self._used.total(), "bytesFree": max(0, self._free())}

    def _free(self) -> int:
        disk = os.statvfs(self._folder)
        return min(
            self.limits.total_bytes - self._used.total(), disk.f_bavail * disk.f_frsize - self.limits.spare_bytes
        )

    def _begin(self, peer: str) -> None:
        with self._lock:
            if self._under_way[peer] >= self.limits.uploads_per_peer:
                raise TooMany(f"{peer} has {self._under_way[peer]} uploads under way", _LATER_SECONDS)
            if self._under_way.total() >= self.limits.uploads:
                raise TooMany("too many uploads are under way", _LATER_SECONDS)
            self._under_way[peer] += 1
