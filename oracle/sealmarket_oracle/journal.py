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

The follower's cursor and everything that was read up to it are written in one transaction.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from msgspec.structs import replace

from sealmarket.chain.contracts import SettledResult
from sealmarket.chain.follow import Cursor
from sealmarket.chain.model import Block
from sealmarket.protocol.decisions import ChallengeAnswer, Decision
from sealmarket.protocol.wire import DecisionDetail
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32, HexBytes, decode
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import AssetId, JobId
from sealmarket_enclave.protocol.terms import Seal
from sealmarket_oracle.errors import DecisionConflict, JournalLost, JournalMismatch, PromiseConflict
from sealmarket_oracle.gate.inputs import Decided, EventBlock
from sealmarket_oracle.log.entries import EntryKind
from sealmarket_oracle.log.store import AuditLog
from sealmarket_oracle.mark import TailMark
from sealmarket_oracle.storage.databases import Database, SqliteDatabase

Promise = Literal["release", "stop"]
_NO_RULES = keccak(b"")
_DECODED = 1024
"""Specifications, decisions and details, of each so many, that stay decoded."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS identity (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS cursor (
    "only" INTEGER PRIMARY KEY CHECK ("only" = 1), number INTEGER NOT NULL, hash BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS seals (
    asset_id BLOB NOT NULL, version INTEGER NOT NULL, seal BLOB NOT NULL, PRIMARY KEY (asset_id, version)
) STRICT;
CREATE TABLE IF NOT EXISTS jobs (
    job_id BLOB PRIMARY KEY, spec BLOB NOT NULL,
    matched_number INTEGER NOT NULL, matched_hash BLOB NOT NULL, matched_time INTEGER NOT NULL,
    evidence_hash BLOB, quoted_number INTEGER, quoted_hash BLOB, quoted_time INTEGER, decide_by INTEGER,
    quorum BLOB, quorum_number INTEGER, quorum_time INTEGER, ended INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS open_jobs ON jobs (ended) WHERE ended = 0;
CREATE TABLE IF NOT EXISTS decisions (
    job_id BLOB NOT NULL, evidence_hash BLOB NOT NULL, epoch INTEGER NOT NULL,
    decision BLOB NOT NULL, detail BLOB NOT NULL, enclave_key BLOB NOT NULL,
    PRIMARY KEY (job_id, evidence_hash, epoch)
) STRICT;
CREATE TABLE IF NOT EXISTS promises (
    job_id BLOB PRIMARY KEY, kind TEXT NOT NULL CHECK (kind IN ('release', 'stop')), body BLOB NOT NULL,
    size INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS results (
    job_id BLOB PRIMARY KEY, result_hash BLOB NOT NULL, receipt_hash BLOB NOT NULL, units INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS challenges (
    job_id BLOB PRIMARY KEY, challenger BLOB NOT NULL, since INTEGER NOT NULL, deadline INTEGER NOT NULL,
    closed INTEGER NOT NULL DEFAULT 0, available INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS unreadable (subject BLOB PRIMARY KEY, reason TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS log (
    sequence INTEGER PRIMARY KEY, entry BLOB NOT NULL, leaf BLOB NOT NULL, words TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS log_state (
    "only" INTEGER PRIMARY KEY CHECK ("only" = 1),
    size INTEGER NOT NULL, peaks BLOB NOT NULL, witnessed INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS deferrals (job_id BLOB NOT NULL, rules BLOB NOT NULL, PRIMARY KEY (job_id, rules)) STRICT;
CREATE TABLE IF NOT EXISTS peer_tails (signer BLOB PRIMARY KEY, size INTEGER NOT NULL, tail BLOB NOT NULL) STRICT;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """All events of one job up to the cursor. ``quorum`` is the core of the decision that took effect.

    ``accepted`` is the block of that decision, by number and time. ``decide_by`` is the deadline that the market set
    when the evidence hash was posted, 0 before.
    """

    job_id: JobId
    spec: JobSpec
    matched: EventBlock
    evidence_hash: Bytes32 | None
    quoted: EventBlock | None
    decide_by: int
    quorum: Decision | None
    accepted: tuple[int, int] | None
    ended: bool


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengeRecord:
    """A challenged result. ``since`` is the time of the challenge's block; ``available`` is this node's answer."""

    spec: JobSpec
    job_id: JobId
    result: SettledResult
    challenger: Address
    since: int
    deadline: int
    closed: bool
    available: bool | None


class Journal(AuditLog):
    """One node's journal. Threads may share it; each method is one transaction unless inside :meth:`writing`."""

    def __init__(
        self,
        place: Path | Database,
        identity: JournalIdentity,
        mark: TailMark | None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open or make the journal: a SQLite file, or what another database has.

        Raises:
            JournalMismatch: it is another node's, market's, chain's or epoch's, or has another name.
            JournalLost: it is absent or older than the mark beside it says.
        """
        database = SqliteDatabase(place) if isinstance(place, Path) else place
        if mark is not None and mark.read() is not None and not database.exists:
            raise JournalLost("it is absent", f"a journal with {mark.require().size} entries")
        self.identity = identity
        super().__init__(database, _SCHEMA, identity.name, mark, clock)

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

    def _require_identity(self, *expected: tuple[str, str]) -> None:
        for name, value in expected:
            self._run("INSERT INTO identity VALUES (?, ?) ON CONFLICT DO NOTHING", (name, value))
            found = self._one("SELECT value FROM identity WHERE name = ?", name)[0]
            if found != value:
                raise JournalMismatch(name, value, found)

    # --- events of the chain ----------------------------------------------------------------------------------

    def cursor(self) -> Cursor | None:
        """The last final block that was read."""
        row = self._one("SELECT number, hash FROM cursor")
        return Cursor(row[0], Bytes32(row[1])) if row else None

    def advance(self, end: Cursor) -> None:
        """Everything up to this final block has been read."""
        with self.writing():
            self._run(
                "INSERT INTO cursor VALUES (1, ?, ?)"
                ' ON CONFLICT ("only") DO UPDATE SET number = excluded.number, hash = excluded.hash',
                (end.number, bytes(end.hash)),
            )

    def add_seal(self, asset_id: AssetId, version: int, seal: Seal) -> None:
        """A version was published. The first event counts: a version's seal never changes."""
        with self.writing():
            self._run(
                "INSERT INTO seals VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (bytes(asset_id), version, seal.canonical()),
            )

    def seal(self, asset_id: AssetId, version: int) -> Seal | None:
        """The seal of a published version."""
        row = self._one("SELECT seal FROM seals WHERE asset_id = ? AND version = ?", bytes(asset_id), version)
        return decode(Seal, row[0]) if row else None

    def add_job(self, job_id: JobId, spec: JobSpec, matched: EventBlock) -> None:
        """A job was matched."""
        with self.writing():
            self._run(
                "INSERT INTO jobs (job_id, spec, matched_number, matched_hash, matched_time) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (bytes(job_id), spec.canonical(), matched.number, bytes(matched.hash), matched.timestamp),
            )

    def add_quote(self, job_id: JobId, evidence_hash: Bytes32, quoted: EventBlock, decide_by: int) -> None:
        """The evidence hash was posted. The first event counts."""
        with self.writing():
            self._run(
                "UPDATE jobs SET evidence_hash = ?, quoted_number = ?, quoted_hash = ?, quoted_time = ?,"
                " decide_by = ? WHERE job_id = ? AND evidence_hash IS NULL",
                (bytes(evidence_hash), quoted.number, bytes(quoted.hash), quoted.timestamp, decide_by, bytes(job_id)),
            )

    def add_quorum(self, job_id: JobId, core: Decision, decided: EventBlock) -> None:
        """A quorum's decision took effect."""
        with self.writing():
            self._run(
                "UPDATE jobs SET quorum = ?, quorum_number = ?, quorum_time = ? WHERE job_id = ? AND quorum IS NULL",
                (core.canonical(), decided.number, decided.timestamp, bytes(job_id)),
            )

    def add_unreadable(self, subject: Bytes32, reason: str) -> None:
        """A log of this job or asset is unreadable; the first reason is kept."""
        with self.writing():
            query = "INSERT INTO unreadable VALUES (?, ?) ON CONFLICT DO NOTHING"
            self._run(query, (bytes(subject), reason))

    def unreadable(self, subject: Bytes32) -> str | None:
        """Why a job or asset does not read; None for one that does."""
        row = self._one("SELECT reason FROM unreadable WHERE subject = ?", bytes(subject))
        return row[0] if row else None

    def end_job(self, job_id: JobId) -> None:
        """Nothing is left to do for a job."""
        with self.writing():
            self._run("UPDATE jobs SET ended = 1 WHERE job_id = ?", (bytes(job_id),))

    def open_jobs(self) -> list[JobRecord]:
        """The jobs that have not ended, oldest first."""
        rows = self._rows(f"{_SELECT_JOB} WHERE ended = 0 ORDER BY matched_number, job_id")
        return [_record(row) for row in rows]

    def job(self, job_id: JobId) -> JobRecord | None:
        """One job, ended or not."""
        row = self._one(f"{_SELECT_JOB} WHERE job_id = ?", bytes(job_id))
        return _record(row) if row else None

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
                EntryKind.DECISION,
                decision.job_id,
                inputs=decision.evidence_hash,
                statement=decision.struct_hash(),
                rules=decision.detail,
                reasons=tuple(sorted({finding.code for finding in detail.findings})[:64]),
                block=(detail.block_number, detail.block_hash),
                words=decision.outcome.name.lower(),
            )
        return OwnDecision(decision, detail, HexBytes(enclave_key))

    def own_decision(self, job_id: JobId, evidence_hash: Bytes32, epoch: int) -> OwnDecision | None:
        """What this node decided about one piece of evidence."""
        row = self._one(
            "SELECT decision, detail, enclave_key FROM decisions WHERE job_id = ? AND evidence_hash = ? AND epoch = ?",
            bytes(job_id),
            bytes(evidence_hash),
            epoch,
        )
        if row is None:
            return None
        return OwnDecision(_decision(row[0]), _detail(row[1]), HexBytes(row[2]))

    def promise(self, job_id: JobId, kind: Promise, body: bytes, *, block: Block, rules: bytes = b"") -> bytes:
        """Release or stop, once for each job and never both. Returns the body that counts: the first one, on disk.

        ``block`` is what the node stood on, ``rules`` what spoke for the promise.

        Raises:
            PromiseConflict: the other promise was made.
        """
        with self.writing():
            held = self.promised(job_id)
            if held is None:
                size = self.append(
                    EntryKind.RELEASE if kind == "release" else EntryKind.STOP,
                    job_id,
                    statement=keccak(body),
                    rules=keccak(rules) if rules else _NO_RULES,
                    block=(block.number, block.hash),
                )
                self._run("INSERT INTO promises VALUES (?, ?, ?, ?)", (bytes(job_id), kind, body, size))
                return body
            if held[0] != kind:
                raise PromiseConflict(job_id, held[0], kind)
            return held[1]

    def last_anchor(self) -> tuple[int, int]:
        """The log's size before the last own decision with which a quorum's took effect, and the block; or zeros."""
        row = self._one(
            "SELECT d.detail, j.quorum_number FROM decisions d JOIN jobs j ON j.job_id = d.job_id"
            " AND j.evidence_hash = d.evidence_hash WHERE j.quorum_number IS NOT NULL ORDER BY d.rowid DESC LIMIT 1"
        )
        log = _detail(row[0]).log if row else None
        return (log.size, int(row[1])) if log is not None else (0, 0)

    def counts(self) -> dict[EntryKind, int]:
        """How many decisions, releases and stops there are."""
        promised = {row[0]: row[1] for row in self._rows("SELECT kind, count(*) FROM promises GROUP BY kind")}
        decided = self._one("SELECT count(*) FROM decisions")[0]
        return {
            EntryKind.DECISION: decided,
            EntryKind.RELEASE: promised.get("release", 0),
            EntryKind.STOP: promised.get("stop", 0),
        }

    def promise_size(self, job_id: JobId) -> int:
        """How many entries the log had with the promise of a job; 0 without one."""
        row = self._one("SELECT size FROM promises WHERE job_id = ?", bytes(job_id))
        return int(row[0]) if row else 0

    def promised(self, job_id: JobId) -> tuple[Promise, bytes] | None:
        """What this node promised for a job: the bytes of a release, or a stop with its findings as JSON."""
        row = self._one("SELECT kind, body FROM promises WHERE job_id = ?", bytes(job_id))
        return (row[0], row[1]) if row else None

    # --- challenges -------------------------------------------------------------------------------------------

    def add_result(self, job_id: JobId, result: SettledResult) -> None:
        """A job was settled."""
        with self.writing():
            row = (bytes(job_id), bytes(result.result_hash), bytes(result.receipt_hash), result.units)
            self._run("INSERT INTO results VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", row)

    def settled(self, job_id: JobId) -> SettledResult | None:
        """What a job was settled with."""
        row = self._one("SELECT result_hash, receipt_hash, units FROM results WHERE job_id = ?", bytes(job_id))
        return SettledResult(Bytes32(row[0]), Bytes32(row[1]), row[2]) if row else None

    def add_challenge(self, job_id: JobId, challenger: Address, since: int, deadline: int) -> None:
        """A settled job's result was challenged; once for each job."""
        with self.writing():
            self._run(
                "INSERT INTO challenges (job_id, challenger, since, deadline) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (bytes(job_id), bytes(challenger), since, deadline),
            )

    def close_challenge(self, job_id: JobId) -> None:
        """A challenge was answered or closed on chain."""
        with self.writing():
            self._run("UPDATE challenges SET closed = 1 WHERE job_id = ?", (bytes(job_id),))

    def open_challenges(self) -> list[ChallengeRecord]:
        """Challenges that are not closed and that this node has not answered, those that end first before."""
        query = f"{_SELECT_CHALLENGE} WHERE closed = 0 AND available IS NULL ORDER BY deadline, challenges.job_id"
        return [_challenge(row) for row in self._rows(query)]

    def challenge(self, job_id: JobId) -> ChallengeRecord | None:
        """One challenge, closed or not; None where there is none, or where the job's result is not known here."""
        row = self._one(f"{_SELECT_CHALLENGE} WHERE challenges.job_id = ?", bytes(job_id))
        return _challenge(row) if row else None

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
                    EntryKind.ANSWER,
                    answer.job_id,
                    inputs=answer.result_hash,
                    statement=answer.struct_hash(),
                    block=(block.number, block.hash),
                    words="available" if answer.available else "not available",
                )
            held = self._one("SELECT available FROM challenges WHERE job_id = ?", bytes(answer.job_id))
            return bool(held[0])


_SELECT_CHALLENGE = (
    "SELECT challenges.job_id, spec, result_hash, receipt_hash, units, challenger, since, deadline, closed, available"
    " FROM challenges JOIN results USING (job_id) JOIN jobs USING (job_id)"
)
_SELECT_JOB = (
    "SELECT job_id, spec, matched_number, matched_hash, matched_time, evidence_hash, quoted_number, quoted_hash,"
    " quoted_time, decide_by, quorum, quorum_number, quorum_time, ended FROM jobs"
)


# What the journal holds does not change, and every look at the chain reads all open jobs: bytes are decoded once.
@lru_cache(maxsize=_DECODED)
def _spec(raw: bytes) -> JobSpec:
    return decode(JobSpec, raw)


@lru_cache(maxsize=_DECODED)
def _decision(raw: bytes) -> Decision:
    return decode(Decision, raw)


@lru_cache(maxsize=_DECODED)
def _detail(raw: bytes) -> DecisionDetail:
    return decode(DecisionDetail, raw)


def _challenge(row: Any) -> ChallengeRecord:
    return ChallengeRecord(
        job_id=JobId(Bytes32(row[0])),
        spec=_spec(row[1]),
        result=SettledResult(Bytes32(row[2]), Bytes32(row[3]), row[4]),
        challenger=Address(row[5]),
        since=row[6],
        deadline=row[7],
        closed=bool(row[8]),
        available=None if row[9] is None else bool(row[9]),
    )


def _record(row: Any) -> JobRecord:
    quoted = EventBlock(number=row[6], hash=Bytes32(row[7]), timestamp=row[8]) if row[5] is not None else None
    return JobRecord(
        job_id=JobId(Bytes32(row[0])),
        spec=_spec(row[1]),
        matched=EventBlock(number=row[2], hash=Bytes32(row[3]), timestamp=row[4]),
        evidence_hash=Bytes32(row[5]) if row[5] is not None else None,
        quoted=quoted,
        decide_by=row[9] or 0,
        quorum=_decision(row[10]) if row[10] is not None else None,
        accepted=(row[11], row[12]) if row[11] is not None else None,
        ended=bool(row[13]),
    )


def _without_log(decision: Decision, detail: DecisionDetail) -> tuple[Decision, DecisionDetail]:
    return replace(decision, detail=ZERO_HASH), replace(detail, log=None)
