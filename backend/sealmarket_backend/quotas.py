"""How many bytes each peer has put into the tables, and how many more it may put there.

1. What a stranger can write costs its sender nothing on chain, or nothing that it does not get back: requests with
   their parameters, offers, proposals, and evidence of jobs between accounts of its own. Their bytes count for the peer
   that sent them, and :data:`ROW` more each.
2. A peer's fair share is the room divided by the peers that hold something, and never more than a ninth of it. A peer
   holds at most ``peer_table_bytes``, and at most its fair share or an eighth of what is free, whichever is more.
3. Where a peer within its fair share finds no room, unmatched requests of those that hold the most give way: those that
   are over first, then the newest. A peer keeps what is within its own fair share.
4. What other processes wrote is counted again every :data:`COUNT_SECONDS`. What this one writes counts at once. What is
   under way at the moment of a count may count twice until the next one, so that a flood is never counted too low.
5. A request that is matched has cost its parties gas: :mod:`.retention` takes it out of the count.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Self

from sealmarket_backend.errors import StoreFull
from sealmarket_backend.ledger import StoreLimits
from sealmarket_backend.tables import Connection, Database

log = logging.getLogger(__name__)
COUNT_SECONDS = 300
SHARE = 8
"""The part of the free room that one peer may hold: one in so many."""
ROW = 4096
"""What a row counts beside its bytes: indexes, and what the keeper remembers of it."""
_COUNTED = tuple(
    f"SELECT peer, SUM({size} + {ROW}) AS bytes FROM {table}"  # noqa: S608 - ours
    for table, size in (
        ("senders", "bytes"),
        ("offer_senders", "bytes"),
        ("envelopes", "bytes"),
        ("proposals", "LENGTH(body)"),
    )
)
_SUMS = tuple(f"{one} GROUP BY peer" for one in _COUNTED)
_HELD = tuple(f"{one} WHERE peer = ? GROUP BY peer" for one in _COUNTED)
_GIVING_WAY = (
    "SELECT request_hash, bytes FROM senders JOIN requests USING (request_hash)"
    " WHERE peer = ? AND state <> 'matched' AND sequence < (SELECT MAX(sequence) FROM requests)"
    " ORDER BY CASE WHEN state = 'open' THEN 1 ELSE 0 END, sequence DESC"
)
"""The newest request of all stays: the next one's number is counted from its."""
_REMEDY = "wait until what you posted is matched or has expired, or use another backend"


class Counted:
    """Bytes that count, while the block writes them and from then on. They count no more where the block raises, or
    sets ``written`` to False."""

    def __init__(self, over: Callable[[bool], None]) -> None:
        self._over, self.written = over, True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: object) -> None:
        self._over(self.written and kind is None)


Count = Callable[[str, int], Counted]
"""Counts bytes of a peer, before they are written in the block. It may raise :class:`StoreFull`."""


def count_nothing(_peer: str, _size: int) -> Counted:
    """Where no quota is."""
    return Counted(lambda _written: None)


class Quotas:
    """The account book of one backend's tables. ``clock`` gives seconds since 1970. Threads may share it."""

    def __init__(
        self, database: Database, limits: StoreLimits, folder: Path, clock: Callable[[], float] = time.time
    ) -> None:
        self._database, self._limits, self._folder, self._clock = database, limits, folder, clock
        self._lock, self._counting, self._clearing = threading.Lock(), threading.Lock(), threading.Lock()
        self._kept: Counter[str] = Counter()
        self._before: Counter[str] = Counter()
        self._added: Counter[str] = Counter()
        """What was written since the last count, and what was under way at its moment."""
        self._under_way: Counter[str] = Counter()
        self._peers: set[str] = set()
        """All that hold something."""
        self._size, self._free, self._next = 0, 0, 0.0

    def count(self, peer: str, size: int) -> Counted:
        """Count a row with so many bytes; write it within the block. Raises :class:`StoreFull`, and then it counts
        not."""
        self._count_again()
        size += ROW
        if lacking := self._take(peer, size):
            with self._clearing:  # one after the other, so that two do not have twice as much give way
                if lacking := self._take(peer, size):
                    self._clear(peer, lacking)
                    if self._take(peer, size):
                        raise StoreFull("the tables are full of what cannot give way", remedy=_REMEDY)

        def over(written: bool) -> None:
            with self._lock:
                self._under_way[peer] -= size
                if not self._under_way[peer]:
                    del self._under_way[peer]
                if not written:
                    self._added[peer] -= size
                    self._free += size

        return Counted(over)

    def _take(self, peer: str, size: int) -> int:
        """Count a row where there is room; returns how many bytes are lacking."""
        with self._lock:
            used = self._used(peer)
            most = min(self._limits.peer_table_bytes, max(self._free // SHARE, self._fair(peer)))
            if used + size > most:
                raise StoreFull(
                    f"{peer} has put {used} bytes into the tables, and may put {most} as full as they are now",
                    remedy=_REMEDY,
                )
            if size > self._free:
                return size - self._free
            self._added[peer] += size
            self._under_way[peer] += size
            self._peers.add(peer)
            self._free -= size
            return 0

    def _fair(self, peer: str) -> int:
        return self._size // max(SHARE + 1, len(self._peers) + (peer not in self._peers))

    def _clear(self, newcomer: str, lacking: int) -> None:
        """Have unmatched requests give way until so many bytes are free, or none is left that may."""
        with self._lock:
            fair = self._fair(newcomer)
            most = sorted(((self._used(one), one) for one in self._peers if one != newcomer), reverse=True)
        for used, peer in most:
            if lacking <= 0 or used <= fair:
                return
            with self._database.write() as connection:
                freed = _give_way(connection, peer, fair, lacking)
            if freed:
                log.info("requests of %s gave way to another peer: %d bytes", peer, freed)
            lacking -= freed
            with self._lock:
                self._kept[peer] -= freed
                self._free += freed

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
            with self._lock:
                under_way, before = Counter(self._under_way), Counter(self._added)
            kept: Counter[str] = Counter()
            for query in _SUMS:
                for row in self._database.rows(query):
                    kept[str(row["peer"])] += int(row["bytes"])
            with self._lock:
                self._added.subtract(before)
                self._kept, self._before = kept, under_way
                self._size = self._room()
                self._peers = {peer for peer in (*kept, *under_way, *self._added) if self._used(peer) > 0}
                self._free = self._size - sum(self._used(peer) for peer in self._peers)
            self._next = self._clock() + COUNT_SECONDS
        finally:
            self._counting.release()


def _give_way(connection: Connection, peer: str, fair: int, lacking: int) -> int:
    """Delete unmatched requests of a peer, as long as it holds more than a fair share; returns how many bytes went."""
    sums = (connection.execute(query, (peer,)).fetchone() for query in _HELD)
    held = sum(int(row["bytes"]) for row in sums if row is not None)
    freed, gone = 0, list[tuple[bytes]]()
    rows = connection.execute(_GIVING_WAY, (peer,))
    while freed < lacking and held - freed > fair and (row := rows.fetchone()) is not None:
        gone.append((bytes(row["request_hash"]),))
        freed += int(row["bytes"]) + ROW
    for table in ("requests", "parameters", "senders"):
        connection.executemany(f"DELETE FROM {table} WHERE request_hash = ?", gone)  # noqa: S608 - ours
    return freed
