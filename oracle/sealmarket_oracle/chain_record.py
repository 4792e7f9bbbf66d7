"""What final blocks say of assets, jobs and challenges, as a node's journal keeps it. The first event of a kind counts.

The follower's cursor and everything that was read up to it are written in one transaction (:mod:`follower`).

Each look at the chain asks for the open jobs, so they stay in memory: as they are on disk, changed after each commit.
Where something was undone, or another connection wrote, they are read again. Inside of a transaction the tables answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sealmarket.chain.contracts import SettledResult
from sealmarket.chain.follow import Cursor
from sealmarket.protocol.decisions import Decision
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import AssetId, JobId
from sealmarket_enclave.protocol.terms import Seal
from sealmarket_oracle.gate.inputs import EventBlock
from sealmarket_oracle.log.store import AuditLog, Beside
from sealmarket_oracle.storage.databases import Database
from sealmarket_oracle.storage.facts import Documents, Facts

# Every look at the chain reads all open jobs: their bytes are decoded once.
SPECS, DECISIONS, SEALS = Documents(JobSpec), Documents(Decision), Documents(Seal)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """All events of one job up to the cursor. ``quorum`` is the core of the decision that took effect.

    ``accepted`` is the block of that decision, by number and time. ``decide_by`` is the deadline that the market set
    when the evidence hash was posted, 0 before. ``promised``: whether this node released the job's shares, or stopped.
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
    promised: bool


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


class ChainRecord(AuditLog):
    """What of a journal the chain gives again. Each method is one transaction unless inside :meth:`writing`."""

    def __init__(
        self, database: Database, schema: str, name: Bytes32, beside: Beside, clock: Callable[[], float]
    ) -> None:
        self._open: dict[JobId, JobRecord] | None = None
        """The open jobs on disk, oldest first; never changed in place. None: they are read again."""
        self._changed: set[JobId] = set()
        self._changes: list[JobRecord] = []
        self._cursor: Cursor | None = None
        self._cursor_written: Cursor | None = None
        self._torn = False
        """Something was undone, so that memory does not know what the next commit holds."""
        self._seals: Facts[tuple[AssetId, int], Seal] = Facts()
        super().__init__(database, schema, name, beside, clock)

    def _undone(self) -> None:
        self._torn = True
        self._forget()
        super()._undone()

    def _forget(self) -> None:
        """Read the tables again."""
        self._open = self._cursor = self._cursor_written = None
        self._seals.clear()

    def _completed(self) -> None:
        super()._completed()
        self._changes = [_record(row) for row in self._rows_of(f"{_SELECT_JOB} WHERE job_id", tuple(self._changed))]

    def _committed(self) -> None:
        super()._committed()
        self._cursor = self._cursor_written
        if self._open is not None and self._changes:
            self._open = _changed(self._open, self._changes)
        self._changed, self._changes = set(), []
        if self._torn:
            self._torn = False
            self._forget()

    # --- events of the chain ----------------------------------------------------------------------------------

    def cursor(self) -> Cursor | None:
        """The last final block that was read."""
        if self._cursor is not None and not self._groups.is_writing:
            return self._cursor
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
            self._cursor_written = end

    def add_seal(self, asset_id: AssetId, version: int, seal: Seal) -> None:
        """A version was published. The first event counts: a version's seal never changes."""
        with self.writing():
            self._run(
                "INSERT INTO seals VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (bytes(asset_id), version, SEALS.bytes_of(seal)),
            )

    def seal(self, asset_id: AssetId, version: int) -> Seal | None:
        """The seal of a published version."""
        return self._known(self._seals, (asset_id, version), lambda: self._read_seal(asset_id, version))

    def _read_seal(self, asset_id: AssetId, version: int) -> Seal | None:
        row = self._one("SELECT seal FROM seals WHERE asset_id = ? AND version = ?", bytes(asset_id), version)
        return SEALS.read(row[0]) if row else None

    def add_job(self, job_id: JobId, spec: JobSpec, matched: EventBlock) -> None:
        """A job was matched."""
        with self.writing():
            self._run(
                "INSERT INTO jobs (job_id, spec, matched_number, matched_hash, matched_time) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (bytes(job_id), SPECS.bytes_of(spec), matched.number, bytes(matched.hash), matched.timestamp),
            )
            self._changed.add(job_id)

    def add_quote(self, job_id: JobId, evidence_hash: Bytes32, quoted: EventBlock, decide_by: int) -> None:
        """The evidence hash was posted. The first event counts."""
        with self.writing():
            self._run(
                "UPDATE jobs SET evidence_hash = ?, quoted_number = ?, quoted_hash = ?, quoted_time = ?,"
                " decide_by = ? WHERE job_id = ? AND evidence_hash IS NULL",
                (bytes(evidence_hash), quoted.number, bytes(quoted.hash), quoted.timestamp, decide_by, bytes(job_id)),
            )
            self._changed.add(job_id)

    def add_quorum(self, job_id: JobId, core: Decision, decided: EventBlock) -> None:
        """A quorum's decision took effect."""
        with self.writing():
            self._run(
                "UPDATE jobs SET quorum = ?, quorum_number = ?, quorum_time = ? WHERE job_id = ? AND quorum IS NULL",
                (DECISIONS.bytes_of(core), decided.number, decided.timestamp, bytes(job_id)),
            )
            self._changed.add(job_id)

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
            self._changed.add(job_id)

    def open_jobs(self) -> list[JobRecord]:
        """The jobs that have not ended, oldest first."""
        if self._groups.is_writing:
            return self._read_open()
        if (held := self._open) is None:
            with self._reading:  # no commit comes between
                held = self._open = {record.job_id: record for record in self._read_open()}
        return list(held.values())

    def _read_open(self) -> list[JobRecord]:
        return [_record(row) for row in self._rows(f"{_SELECT_JOB} WHERE ended = 0 ORDER BY matched_number, job_id")]

    def _held(self, job_id: JobId) -> JobRecord | None:
        """An open job as memory has it; None where it has to be read."""
        held = self._open
        return held.get(job_id) if held is not None else None

    def job(self, job_id: JobId) -> JobRecord | None:
        """One job, ended or not."""
        if not self._groups.is_writing and (held := self._held(job_id)) is not None:
            return held
        row = self._one(f"{_SELECT_JOB} WHERE job_id = ?", bytes(job_id))
        return _record(row) if row else None

    # --- challenges -------------------------------------------------------------------------------------------

    def add_result(self, job_id: JobId, result: SettledResult) -> None:
        """A job was settled."""
        with self.writing():
            row = (bytes(job_id), bytes(result.result_hash), bytes(result.receipt_hash), result.units)
            self._run("INSERT INTO results VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", row)

    def settled_jobs(self, since: int) -> Iterator[JobRecord]:
        """The settled jobs of matches since a block time, the newest first."""
        settled = "matched_time >= ? AND job_id IN (SELECT job_id FROM results)"
        query = f"{_SELECT_JOB} WHERE {settled} ORDER BY matched_number DESC, job_id"
        return map(_record, self._rows(query, since))

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


_SELECT_CHALLENGE = (
    "SELECT challenges.job_id, spec, result_hash, receipt_hash, units, challenger, since, deadline, closed, available"
    " FROM challenges JOIN results USING (job_id) JOIN jobs USING (job_id)"
)
_SELECT_JOB = (
    "SELECT job_id, spec, matched_number, matched_hash, matched_time, evidence_hash, quoted_number, quoted_hash,"
    " quoted_time, decide_by, quorum, quorum_number, quorum_time, ended,"
    " EXISTS (SELECT 1 FROM promises WHERE promises.job_id = jobs.job_id) FROM jobs"
)


def _challenge(row: Any) -> ChallengeRecord:
    return ChallengeRecord(
        job_id=JobId(Bytes32(row[0])),
        spec=SPECS.read(row[1]),
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
        spec=SPECS.read(row[1]),
        matched=EventBlock(number=row[2], hash=Bytes32(row[3]), timestamp=row[4]),
        evidence_hash=Bytes32(row[5]) if row[5] is not None else None,
        quoted=quoted,
        decide_by=row[9] or 0,
        quorum=DECISIONS.read(row[10]) if row[10] is not None else None,
        accepted=(row[11], row[12]) if row[11] is not None else None,
        ended=bool(row[13]),
        promised=bool(row[14]),
    )


def _changed(held: Mapping[JobId, JobRecord], changes: Sequence[JobRecord]) -> dict[JobId, JobRecord]:
    """The open jobs after a commit, oldest first."""
    found = dict(held)
    for record in changes:
        if record.ended:
            found.pop(record.job_id, None)
        else:
            found[record.job_id] = record
    if all(record.ended or record.job_id in held for record in changes):
        return found  # none is new
    ordered = sorted(found.values(), key=lambda record: (record.matched.number, record.job_id))
    return {record.job_id: record for record in ordered}
