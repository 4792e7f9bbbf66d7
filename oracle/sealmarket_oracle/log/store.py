"""The audit log in a node's journal: entries, the frontier of their tree, and what peers hold of their own.

An entry is written in the transaction of what it records. After the commit the mark beside the journal follows, and
peers are shown the tail meanwhile, since it is on disk. A promise is served once the mark has it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from itertools import count

from sealmarket.protocol.wire import LogHead
from sealmarket_enclave.protocol.codec import Address, Bytes32, decode
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_oracle.errors import JournalError, JournalLost
from sealmarket_oracle.log.entries import (
    MOST_ENTRIES_SHOWN,
    MOST_LEAVES_SHOWN,
    EntryKind,
    LogEntry,
    NewEntry,
    SignedTail,
    TailStep,
)
from sealmarket_oracle.log.tree import Frontier, Milestones, leaf_hash
from sealmarket_oracle.mark import Tail, TailMark
from sealmarket_oracle.storage.databases import Database
from sealmarket_oracle.storage.store import JournalStore
from sealmarket_oracle.tail_slots import TailSlots

_DEFERRALS_KEPT = 16
"""Refusals to act that are recorded for one job, so that a reason that changes for ever fills no disk."""
_RECENT = 256
"""The newest leaves that stay in memory: peers that keep up are shown no others."""


@dataclass(frozen=True, slots=True)
class Beside:
    """Files beside a journal: the mark of its tail, and slots for the tails of peers where no table has them."""

    mark: TailMark | None = None
    tails: TailSlots | None = None


class AuditLog(JournalStore):
    """The log of one journal. Threads may share it; each method is one transaction unless inside :meth:`writing`."""

    def __init__(
        self, database: Database, schema: str, name: Bytes32, beside: Beside, clock: Callable[[], float]
    ) -> None:
        self._name, self._mark, self._slots, self._clock = name, beside.mark, beside.tails, clock
        self.on_disk: Callable[[], None] = lambda: None
        """Called after each commit with an entry that peers are shown without delay; it returns at once."""
        self._unmarked = self._urgent = False
        self._marked = 0
        self._written = self._seen = Frontier()
        """The tree with what is being written, and as others see it."""
        self._fresh: list[Bytes32] = []
        """The newest leaves of what is being written."""
        self._recent: tuple[int, tuple[Bytes32, ...]] = (0, ())
        """The size of the log as others see it, and its newest leaves."""
        self._milestones = Milestones()
        self._witnessed = self._witnessed_written = 0
        self._peer_tails: dict[Address, SignedTail] = {}
        super().__init__(database, schema)

    def _prepare(self) -> None:
        with self.writing():
            self._run("INSERT INTO log_state VALUES (1, 0, ?, 0) ON CONFLICT DO NOTHING", (b"",))
            self._undone()
            self._witnessed = self._witnessed_written
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

    def _completed(self) -> None:
        if self._witnessed > self._witnessed_written:
            self._witnessed_written = self._witnessed
            self._run("UPDATE log_state SET witnessed = ?", (self._witnessed_written,))

    def _committed(self) -> None:
        grown = self._written.size - self._recent[0] == len(self._fresh)
        leaves = (*self._recent[1], *self._fresh) if grown else self._fresh
        self._recent = self._written.size, tuple(leaves[-_RECENT:])
        self._fresh = []
        self._seen = self._written
        if self._urgent:
            self._urgent = False
            self.on_disk()
        if self._unmarked and self._mark is not None:
            self._mark.keep(Tail(self._written.size, self._written.root))
        self._unmarked = False
        self._marked = self._written.size

    def _undone(self) -> None:
        size, peaks, self._witnessed_written = self._one("SELECT size, peaks, witnessed FROM log_state") or (0, b"", 0)
        found = Frontier(size, tuple(Bytes32(peaks[at : at + 32]) for at in range(0, len(peaks), 32)))
        self._require_grown(found)
        self._written = found
        self._fresh = []
        self._peer_tails.clear()

    def _require_grown(self, found: Frontier) -> None:
        """Hold what another connection reads against what others have seen of this log: a database that came back
        without its last commits, as a replica that took over, has lost promises."""
        seen = self._seen
        if not seen.size:
            return  # it is being opened: the mark and the peers tell
        if seen.append(*self.leaves(found.size, seen.size)) != found:
            raise JournalLost(f"it has {found.size} entries, or others", f"the {self._seen.size} that were committed")

    # --- the log ----------------------------------------------------------------------------------------------

    def _frontier(self) -> Frontier:
        return self._written if self._groups.is_writing else self._seen

    def head(self) -> LogHead:
        """The journal's name, and the log's size and root."""
        frontier = self._frontier()
        return LogHead(journal=self._name, size=frontier.size, root=frontier.root)

    def append(self, *entries: NewEntry) -> int:
        """Add entries, in order; returns the log's size with them."""
        with self.writing():
            if not self._groups.is_durable:  # the mark would be ahead of it after a power cut
                raise AssertionError("an entry of the log is in a durable transaction")
            before, now = self._frontier(), int(self._clock())
            made = [one.entered(place, now).canonical() for place, one in enumerate(entries, before.size)]
            leaves = [leaf_hash(raw) for raw in made]
            after = before.append(*leaves)
            words = [one.words[:1000] for one in entries]
            rows = list(zip(count(before.size), made, map(bytes, leaves), words, strict=False))
            self._run_all("INSERT INTO log VALUES (?, ?, ?, ?)", rows)
            self._run("UPDATE log_state SET size = ?, peaks = ?", (after.size, b"".join(after.peaks)))
            self._fresh += leaves
            self._written, self._unmarked = after, True
            # A refusal to act can wait: no answer has it.
            self._urgent |= any(one.kind is not EntryKind.DEFERRED for one in entries)
            return after.size

    def defer(self, job_id: JobId, reason: str, rules: Bytes32, block: tuple[int, Bytes32]) -> None:
        """Record that the node refuses to act on a job for now; the first of each reason, and so many for one job."""
        with self.writing():
            held = self._one("SELECT count(*) FROM deferrals WHERE job_id = ?", bytes(job_id))[0]
            if held >= _DEFERRALS_KEPT:
                return
            query = "INSERT INTO deferrals VALUES (?, ?) ON CONFLICT DO NOTHING"
            added = self._run(query, (bytes(job_id), bytes(rules)))
            if added.rowcount:
                self.append(NewEntry(EntryKind.DEFERRED, job_id, rules=rules, block=block, words=reason))

    def leaves(self, size: int, first: int = 0) -> list[Bytes32]:
        """The leaf hashes of the entries from one on, up to a size of the log."""
        seen, recent = self._recent
        begin = seen - len(recent)
        if begin <= first and not self._groups.is_writing:
            return list(recent[first - begin : max(0, size - begin)])
        query = "SELECT leaf FROM log WHERE sequence >= ? AND sequence < ? ORDER BY sequence"
        return [Bytes32(row[0]) for row in self._rows(query, first, size)]

    def frontier_at(self, size: int) -> Frontier:
        """The tree over the first entries: at most that many of its leaves are read, and few the next time."""
        found = self._frontier()
        if found.size <= size:
            return found
        return self._grown(self._milestones.before(size), size)

    def _grown(self, found: Frontier, size: int) -> Frontier:
        """The tree as it was later, or as it is."""
        while found.size < size:
            leaves = self.leaves(min(size, found.size + MOST_LEAVES_SHOWN), found.size)
            for leaf in leaves:
                found = found.append(leaf)
                if not self._groups.is_writing:
                    self._milestones.pass_by(found)
            if not leaves:
                break
        return found

    def root_at(self, size: int) -> Bytes32:
        """The root over the first entries, as :meth:`frontier_at`."""
        return self.frontier_at(size).root

    def entries_of(self, kind: EntryKind) -> list[LogEntry]:
        """The entries of a kind that is rare, in order: the log is read through once."""
        size = self._frontier().size
        found: list[LogEntry] = []
        for first in range(0, size, MOST_ENTRIES_SHOWN):
            found += [entry for entry in self.entries(first, MOST_ENTRIES_SHOWN) if entry.kind is kind]
        return found

    def log_advisory(self, name: Bytes32, block: tuple[int, Bytes32]) -> None:
        """Record that this node applies a statement about platforms from now on."""
        with self.writing():
            self.append(NewEntry(EntryKind.ADVISORY, statement=name, block=block, words="advisory"))

    def entries(self, first: int, count: int) -> list[LogEntry]:
        """Entries in order."""
        query = "SELECT entry FROM log WHERE sequence >= ? ORDER BY sequence LIMIT ?"
        return [decode(LogEntry, row[0]) for row in self._rows(query, first, count)]

    def awaits_mark(self, size: int) -> bool:
        """Whether an entry that this process wrote is on disk, and not in the mark yet: it is not served."""
        return self._marked < size <= self._seen.size

    # --- witnesses --------------------------------------------------------------------------------------------

    @property
    def witnessed(self) -> int:
        """How much of the log enough peers are known to hold a tail of."""
        return self._witnessed

    def keep_witnessed(self, size: int) -> None:
        """Enough peers hold a tail of this size. It is written with the next transaction: a crash before that forgets
        it, and the peers are asked again."""
        self._witnessed = max(self._witnessed, size)

    def settle(self) -> None:
        """Write what waits for the next transaction."""
        if self._witnessed > self._witnessed_written:
            with self.writing(durable=False):
                pass

    def close(self) -> None:
        """As :meth:`JournalStore.close`."""
        with suppress(JournalError, OSError):
            self.settle()
        super().close()

    def peer_tail(self, signer: Address) -> SignedTail | None:
        """The furthest tail that this node saw of a peer."""
        row = self._one("SELECT tail FROM peer_tails WHERE signer = ?", bytes(signer))
        slot = self._slots.held(signer) if self._slots is not None else None
        found = [one for one in (decode(SignedTail, row[0]) if row else None, slot) if one is not None]
        return max(found, key=lambda one: one.tail.size, default=None)

    def keep_peer_tail(self, signer: Address, step: TailStep) -> SignedTail | None:
        """Hold a peer's tail if it grows out of the one that is held. Returns what was held before.

        The journal that was announced first counts: a tail of another one, or of a copy, is not taken. Where there are
        slots for tails, the first of a peer is in the table, so that slots that are lost are noticed as older ones.
        """
        with self._turn(signer):
            held = self._peer_tails.get(signer) or self.peer_tail(signer)
            if held is not None and self._slots is not None:
                if held.tail != step.tail.tail and step.grows_from(held.tail):
                    self._slots.keep(signer, step.tail)
                    self._peer_tails[signer] = step.tail
            elif held is None or step.grows_from(held.tail):
                self._keep_in_table(signer, step.tail)
            return held

    def _turn(self, signer: Address) -> AbstractContextManager[None]:
        return self._slots.turn(signer) if self._slots is not None else self.writing()

    def _keep_in_table(self, signer: Address, tail: SignedTail) -> None:
        with self.writing():
            self._run(
                "INSERT INTO peer_tails VALUES (?, ?, ?)"
                " ON CONFLICT (signer) DO UPDATE SET size = excluded.size, tail = excluded.tail",
                (bytes(signer), tail.tail.size, tail.canonical()),
            )
            self._peer_tails[signer] = tail
