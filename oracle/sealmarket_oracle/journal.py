"""Decisions and promises of a node, in a database whose commits survive a power cut (:mod:`storage`).

State machine of one (job, evidence hash, epoch)::

    (nothing) -> decided          journaled before it is signed; never changed
    (nothing) -> released | stopped      one row for each job: either excludes the other for good
    challenged -> available | not available      written before it is signed; never changed

A decision's signature is deterministic, so it is made again from the row and never stored. A release is stored as the
ciphertexts that were sent, so that it is sent again and never made twice. No key and no share in the clear is in here.

Each decision, promise and refusal to act is also an entry of the audit log (:mod:`sealmarket_oracle.log`), written in
the same transaction. The log's size and root are the journal's tail: the mark beside it (:mod:`mark`), peers and
decisions on chain name one, so that a journal that is lost, copied or older is noticed.

What the chain says of the same jobs is beside it (:mod:`chain_record`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from sealmarket.chain.model import Block
from sealmarket.protocol.decisions import ChallengeAnswer, Decision
from sealmarket.protocol.wire import DecisionDetail
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32, HexBytes
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_oracle.chain_record import DECISIONS, ChainRecord
from sealmarket_oracle.errors import DecisionConflict, JournalLost, JournalMismatch, PromiseConflict
from sealmarket_oracle.gate.inputs import Decided
from sealmarket_oracle.log.entries import EntryKind, NewEntry
from sealmarket_oracle.log.store import Beside
from sealmarket_oracle.mark import TailMark
from sealmarket_oracle.storage.databases import Database, SqliteDatabase
from sealmarket_oracle.storage.facts import Documents, Facts
from sealmarket_oracle.storage.tables import SCHEMA
from sealmarket_oracle.tail_slots import TailSlots

Promise = Literal["release", "stop"]
_ENTRY: dict[Promise, EntryKind] = {"release": EntryKind.RELEASE, "stop": EntryKind.STOP}
_NO_RULES = keccak(b"")
_DETAILS = Documents(DecisionDetail)
_SELECT_PROMISE = "SELECT job_id, kind, body, size FROM promises"


@dataclass(frozen=True, slots=True)
class OwnDecision:
    """This node's decision, and the HPKE key of the enclave in the evidence (empty without evidence)."""

    decision: Decision
    detail: DecisionDetail
    enclave_key: HexBytes


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalIdentity:
    """Whose journal it is: keys of one epoch, on one market, under one random name."""

    chain_id: int
    market: Address
    signer: Address
    hpke_key: Bytes32
    epoch: int
    name: Bytes32

    def digest(self) -> Bytes32:
        """What files beside the journal are bound to."""
        parts = (self.chain_id.to_bytes(32, "big"), self.market, self.signer, self.hpke_key)
        return keccak(b"".join(parts) + self.epoch.to_bytes(8, "big") + self.name)


@dataclass(frozen=True, slots=True)
class Promised:
    """A promise: the bytes of a release, or a stop with its findings as JSON; ``size`` of the log with it."""

    kind: Promise
    body: bytes
    size: int


@dataclass(frozen=True, slots=True)
class NewPromise:
    """A promise that is to be made about a job; ``block`` is what the node stands on."""

    job_id: JobId
    kind: Promise
    body: bytes
    block: Block

    def entry(self) -> NewEntry:
        """Its entry in the audit log."""
        at, statement = (self.block.number, self.block.hash), keccak(self.body)
        return NewEntry(_ENTRY[self.kind], self.job_id, statement=statement, rules=_NO_RULES, block=at)


class Journal(ChainRecord):
    """One node's journal. Threads may share it; each method is one transaction unless inside :meth:`writing`."""

    def __init__(
        self,
        place: Path | Database,
        identity: JournalIdentity,
        mark: TailMark | None,
        *,
        tails: TailSlots | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open or make the journal: a SQLite file, or what another database has. ``tails`` are for one process alone.

        Raises:
            JournalMismatch: it is another node's, market's, chain's or epoch's, or has another name.
            JournalLost: it is absent or older than the mark beside it says.
        """
        database = SqliteDatabase(place) if isinstance(place, Path) else place
        if mark is not None and mark.read() is not None and not database.exists:
            raise JournalLost("it is absent", f"a journal with {mark.require().size} entries")
        if tails is not None and tails.owner != identity.digest():
            raise AssertionError("the slots for tails are another journal's")
        self.identity = identity
        self._decisions: Facts[tuple[JobId, Bytes32, int], OwnDecision] = Facts()
        self._promises: Facts[JobId, Promised] = Facts()
        self._counts: dict[EntryKind, int] | None = None
        self._kept: list[tuple[JobId, OwnDecision | Promised]] = []
        """What is being written, to be known once it is on disk."""
        super().__init__(database, SCHEMA, identity.name, Beside(mark, tails), clock)

    def _prepare(self) -> None:
        own = self.identity
        with self.writing():
            self._require_identity(
                ("chain", str(own.chain_id)),
                ("market", str(own.market)),
                ("signer", str(own.signer)),
                ("hpke key", str(own.hpke_key)),
                ("epoch", str(own.epoch)),
                ("name", str(own.name)),
            )
            super()._prepare()

    def _forget(self) -> None:
        super()._forget()
        self._counts = None
        self._kept = []
        self._decisions.clear()
        self._promises.clear()

    def _committed(self) -> None:
        kept, counts = self._kept, self._counts
        self._kept, self._counts = [], None
        torn = self._torn
        super()._committed()
        for job_id, one in kept:
            if isinstance(one, OwnDecision):
                self._decisions.keep((job_id, one.decision.evidence_hash, one.decision.epoch), one)
            else:
                self._promises.keep(job_id, one)
        if counts is not None and not torn:
            self._counts = counts | {kind: counts[kind] + n for kind, n in Counter(map(_kind, kept)).items()}

    def _require_identity(self, *expected: tuple[str, str]) -> None:
        for name, value in expected:
            self._run("INSERT INTO identity VALUES (?, ?) ON CONFLICT DO NOTHING", (name, value))
            found = self._one("SELECT value FROM identity WHERE name = ?", name)[0]
            if found != value:
                raise JournalMismatch(name, value, found)

    # --- decisions and promises of this node ------------------------------------------------------------------

    def decide(self, decided: Decided, enclave_key: bytes) -> OwnDecision:
        """Journal a decision, before it is signed. The same decision again changes nothing.

        The decision that is kept and returned names the log as it was before it (``DecisionDetail.log``).

        Raises:
            DecisionConflict: this evidence was decided otherwise in this epoch.
        """
        decision, detail = decided.decision, decided.detail
        with self.writing():
            held = self.own_decision(decision.job_id, decision.evidence_hash, decision.epoch)
            if held is not None:
                if _without_log(held.decision, held.detail) != _without_log(decision, detail):
                    raise DecisionConflict(decision.job_id)
                return held
            detail = replace(detail, log=self.head())
            decision = replace(decision, detail=keccak(detail.canonical()))
            self._run(
                "INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?)",
                (
                    bytes(decision.job_id),
                    bytes(decision.evidence_hash),
                    decision.epoch,
                    decision.canonical(),
                    detail.canonical(),
                    bytes(enclave_key),
                ),
            )
            self.append(
                NewEntry(
                    EntryKind.DECISION,
                    decision.job_id,
                    inputs=decision.evidence_hash,
                    statement=decision.struct_hash(),
                    rules=decision.detail,
                    reasons=tuple(sorted({finding.code for finding in detail.findings})[:64]),
                    block=(detail.block_number, detail.block_hash),
                    words=decision.outcome.name.lower(),
                )
            )
            own = OwnDecision(decision, detail, HexBytes(enclave_key))
            self._kept.append((decision.job_id, own))
        return own

    def own_decision(self, job_id: JobId, evidence_hash: Bytes32, epoch: int) -> OwnDecision | None:
        """What this node decided about one piece of evidence."""
        key = (job_id, evidence_hash, epoch)
        return self._known(self._decisions, key, lambda: self._read_decision(*key))

    def decided(self, job_ids: Sequence[JobId]) -> set[tuple[JobId, Bytes32, int]]:
        """The own decisions about these jobs, each by its job, evidence and epoch."""
        rows = self._rows_of("SELECT job_id, evidence_hash, epoch FROM decisions WHERE job_id", job_ids)
        return {(JobId(Bytes32(row[0])), Bytes32(row[1]), int(row[2])) for row in rows}

    def _read_decision(self, job_id: JobId, evidence_hash: Bytes32, epoch: int) -> OwnDecision | None:
        row = self._one(
            "SELECT decision, detail, enclave_key FROM decisions WHERE job_id = ? AND evidence_hash = ? AND epoch = ?",
            bytes(job_id),
            bytes(evidence_hash),
            epoch,
        )
        if row is None:
            return None
        return OwnDecision(DECISIONS.read(row[0]), _DETAILS.read(row[1]), HexBytes(row[2]))

    def promise(self, *promises: NewPromise) -> list[bytes]:
        """Release or stop, once for each job and never both. Returns the body that counts for each: the first, on disk.

        Raises:
            PromiseConflict: the other promise was made for a job; none of these is written.
        """
        with self.writing():
            rows = self._rows_of(f"{_SELECT_PROMISE} WHERE job_id", [one.job_id for one in promises])
            held: dict[JobId, NewPromise | Promised] = {JobId(Bytes32(row[0])): Promised(*row[1:]) for row in rows}
            new = []
            for one in promises:
                if (first := held.get(one.job_id)) is None:
                    held[one.job_id] = one
                    new.append(one)
                elif first.kind != one.kind:
                    raise PromiseConflict(one.job_id, first.kind, one.kind)
            if new:
                self._write(new)
        return [held[one.job_id].body for one in promises]

    def _write(self, promises: Sequence[NewPromise]) -> None:
        size = self.append(*(one.entry() for one in promises)) - len(promises)
        made = [(one.job_id, Promised(one.kind, one.body, size + place)) for place, one in enumerate(promises, 1)]
        rows = [(bytes(job_id), one.kind, one.body, one.size) for job_id, one in made]
        self._run_all("INSERT INTO promises VALUES (?, ?, ?, ?)", rows)
        self._changed.update(job_id for job_id, _ in made)
        self._kept += made

    def last_anchor(self) -> tuple[int, int]:
        """The log's size before the last own decision with which a quorum's took effect, and the block; or zeros."""
        row = self._one(
            "SELECT d.detail, j.quorum_number FROM decisions d JOIN jobs j ON j.job_id = d.job_id"
            " AND j.evidence_hash = d.evidence_hash WHERE j.quorum_number IS NOT NULL ORDER BY d.rowid DESC LIMIT 1"
        )
        log = _DETAILS.read(row[0]).log if row else None
        return (log.size, int(row[1])) if log is not None else (0, 0)

    def counts(self) -> dict[EntryKind, int]:
        """How many decisions, releases and stops there are. The tables are counted once, and then each commit is."""
        if (held := self._counts) is None:
            with self._reading:  # no commit comes between
                held = self._counts = self._count()
        return dict(held)

    def _count(self) -> dict[EntryKind, int]:
        promised = {row[0]: row[1] for row in self._rows("SELECT kind, count(*) FROM promises GROUP BY kind")}
        decided = self._one("SELECT count(*) FROM decisions")[0]
        return {
            EntryKind.DECISION: decided,
            EntryKind.RELEASE: promised.get("release", 0),
            EntryKind.STOP: promised.get("stop", 0),
        }

    def promise_size(self, job_id: JobId) -> int:
        """How many entries the log had with the promise of a job; 0 without one."""
        found = self._promise_of(job_id)
        return found.size if found is not None else 0

    def promised(self, job_id: JobId) -> tuple[Promise, bytes] | None:
        """What this node promised for a job: the bytes of a release, or a stop with its findings as JSON."""
        found = self._promise_of(job_id)
        return (found.kind, found.body) if found is not None else None

    def _promise_of(self, job_id: JobId) -> Promised | None:
        return self._known(self._promises, job_id, lambda: self._read_promise(job_id))

    def _read_promise(self, job_id: JobId) -> Promised | None:
        row = self._one(f"{_SELECT_PROMISE} WHERE job_id = ?", bytes(job_id))
        return Promised(*row[1:]) if row else None

    def answer_challenge(self, answer: ChallengeAnswer, block: Block) -> bool:
        """Journal an answer, before it is signed. Returns the one that counts: the first.

        ``block`` is what the node stood on.
        """
        with self.writing():
            changed = self._run(
                "UPDATE challenges SET available = ? WHERE job_id = ? AND available IS NULL",
                (int(answer.available), bytes(answer.job_id)),
            )
            if changed.rowcount:
                self.append(
                    NewEntry(
                        EntryKind.ANSWER,
                        answer.job_id,
                        inputs=answer.result_hash,
                        statement=answer.struct_hash(),
                        block=(block.number, block.hash),
                        words="available" if answer.available else "not available",
                    )
                )
            held = self._one("SELECT available FROM challenges WHERE job_id = ?", bytes(answer.job_id))
            return bool(held[0])


def _kind(kept: tuple[JobId, OwnDecision | Promised]) -> EntryKind:
    return EntryKind.DECISION if isinstance(kept[1], OwnDecision) else _ENTRY[kept[1].kind]


def _without_log(decision: Decision, detail: DecisionDetail) -> tuple[Decision, DecisionDetail]:
    return replace(decision, detail=ZERO_HASH), replace(detail, log=None)
