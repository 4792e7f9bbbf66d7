"""The audit log in a node's SQLite file: entries, the frontier of their tree, and what peers hold of their own.

An entry is written in the transaction of what it records. After the commit the mark beside the journal follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sealmarket.protocol.wire import LogHead
from sealmarket.sqlite_file import SqliteFile
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32, decode
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_oracle.errors import JournalLost
from sealmarket_oracle.log.entries import EntryKind, LogEntry, SignedTail, TailStep
from sealmarket_oracle.log.tree import Frontier, leaf_hash
from sealmarket_oracle.mark import Tail, TailMark

_DEFERRALS_KEPT = 16
"""Refusals to act that are recorded for one job, so that a reason that changes for ever fills no disk."""


class AuditLog(SqliteFile):
    """The log of one journal. Threads may share it; each method is one transaction unless inside :meth:`writing`."""

    def __init__(
        self, path: Path, schema: str, name: Bytes32, mark: TailMark | None, clock: Callable[[], float]
    ) -> None:
        self._name, self._mark, self._clock = name, mark, clock
        self._unmarked = False
        super().__init__(path, schema)

    def _prepare(self) -> None:
        with self.writing():
            self._db.execute("INSERT INTO log_state VALUES (1, 0, x'', 0) ON CONFLICT DO NOTHING")
            self._require_marked()
            self._unmarked = True

    def _require_marked(self) -> None:
        """Hold the log against the mark: it may be ahead by what a crash kept from being marked, and never behind."""
        marked = self._mark.read() if self._mark is not None else None
        if marked is None:
            return
        size = self._frontier().size
        if size < marked.size:
            raise JournalLost(f"it has {size} entries", f"the {marked.size} that it had")
        if self.root_at(marked.size) != marked.root:
            raise JournalLost("it has other entries", f"the first {marked.size} that it had")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction: all or nothing, and on disk when it ends."""
        with self._lock:
            if self._db.in_transaction:
                yield
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
            self._keep_mark()

    def _roll_back(self) -> None:
        if self._db.in_transaction:  # a commit that failed for want of disk has already rolled back by itself
            self._db.execute("ROLLBACK")

    def _keep_mark(self) -> None:
        if self._unmarked and self._mark is not None:
            frontier = self._frontier()
            self._mark.keep(Tail(frontier.size, frontier.root))
        self._unmarked = False

    def _one(self, query: str, *values: object) -> Any:
        with self._lock:
            return self._db.execute(query, values).fetchone()

    # --- the log ----------------------------------------------------------------------------------------------

    def _frontier(self) -> Frontier:
        size, peaks = self._one("SELECT size, peaks FROM log_state")
        return Frontier(size, tuple(Bytes32(peaks[at : at + 32]) for at in range(0, len(peaks), 32)))

    def head(self) -> LogHead:
        """The journal's name, and the log's size and root."""
        frontier = self._frontier()
        return LogHead(journal=self._name, size=frontier.size, root=frontier.root)

    def append(
        self,
        kind: EntryKind,
        job_id: JobId,
        *,
        block: tuple[int, Bytes32],
        inputs: Bytes32 = ZERO_HASH,
        statement: Bytes32 = ZERO_HASH,
        rules: Bytes32 = ZERO_HASH,
        reasons: tuple[int, ...] = (),
        words: str = "",
    ) -> int:
        """Add an entry; returns the log's size with it. ``words`` stay beside it, for the operator alone."""
        with self.writing():
            before = self._frontier()
            entry = LogEntry(
                sequence=before.size,
                kind=kind,
                job_id=job_id,
                inputs=inputs,
                statement=statement,
                rules=rules,
                reasons=reasons,
                block_number=block[0],
                block_hash=block[1],
                at=int(self._clock()),
            )
            raw = entry.canonical()
            leaf = leaf_hash(raw)
            after = before.append(leaf)
            self._db.execute("INSERT INTO log VALUES (?, ?, ?, ?)", (before.size, raw, bytes(leaf), words[:1000]))
            self._db.execute("UPDATE log_state SET size = ?, peaks = ?", (after.size, b"".join(after.peaks)))
            self._unmarked = True
            return after.size

    def defer(self, job_id: JobId, reason: str, rules: Bytes32, block: tuple[int, Bytes32]) -> None:
        """Record that the node refuses to act on a job for now; the first of each reason, and so many for one job."""
        with self.writing():
            count = self._one("SELECT count(*) FROM deferrals WHERE job_id = ?", bytes(job_id))[0]
            if count >= _DEFERRALS_KEPT:
                return
            added = self._db.execute("INSERT INTO deferrals VALUES (?, ?) ON CONFLICT DO NOTHING", (job_id, rules))
            if added.rowcount:
                self.append(EntryKind.DEFERRED, job_id, rules=rules, block=block, words=reason)

    def leaves(self, size: int, first: int = 0) -> list[Bytes32]:
        """The leaf hashes of the entries from one on, up to a size of the log."""
        query = "SELECT leaf FROM log WHERE sequence >= ? AND sequence < ? ORDER BY sequence"
        with self._lock:
            rows = self._db.execute(query, (first, size)).fetchall()
        return [Bytes32(row[0]) for row in rows]

    def frontier_at(self, size: int) -> Frontier:
        """The tree over the first entries. One pass over them, unless it is the present tree."""
        found = self._frontier()
        if found.size == size:
            return found
        found = Frontier()
        for leaf in self.leaves(size):
            found = found.append(leaf)
        return found

    def root_at(self, size: int) -> Bytes32:
        """The root over the first entries. One pass over them, unless it is the present root."""
        return self.frontier_at(size).root

    def entries(self, first: int, count: int) -> list[LogEntry]:
        """Entries in order."""
        query = "SELECT entry FROM log WHERE sequence >= ? ORDER BY sequence LIMIT ?"
        with self._lock:
            rows = self._db.execute(query, (first, count)).fetchall()
        return [decode(LogEntry, row[0]) for row in rows]

    # --- witnesses --------------------------------------------------------------------------------------------

    @property
    def witnessed(self) -> int:
        """How much of the log enough peers are known to hold a tail of."""
        return int(self._one("SELECT witnessed FROM log_state")[0])

    def keep_witnessed(self, size: int) -> None:
        """Enough peers hold a tail of this size."""
        with self.writing():
            self._db.execute("UPDATE log_state SET witnessed = max(witnessed, ?)", (size,))

    def peer_tail(self, signer: Address) -> SignedTail | None:
        """The furthest tail that this node saw of a peer."""
        row = self._one("SELECT tail FROM peer_tails WHERE signer = ?", bytes(signer))
        return decode(SignedTail, row[0]) if row else None

    def keep_peer_tail(self, signer: Address, step: TailStep) -> SignedTail | None:
        """Hold a peer's tail if it grows out of the one that is held. Returns what was held before.

        The journal that was announced first counts: a tail of another one, or of a copy, is not taken.
        """
        with self.writing():
            held = self.peer_tail(signer)
            if held is None or step.grows_from(held.tail):
                self._db.execute(
                    "INSERT OR REPLACE INTO peer_tails VALUES (?, ?, ?)",
                    (bytes(signer), step.tail.tail.size, step.tail.canonical()),
                )
            return held
