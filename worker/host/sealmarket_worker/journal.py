"""What a host must remember across a crash: the jobs it works for, how far it came, and what the enclave signed.

States::

    matched -> quoting -> quoted -> finished -> done
       |          |          |
       +----------+----------+--> given_up

``quoting`` is written before the evidence hash is sent. From then on only the enclave that made the evidence can do the
job, and an enclave does not outlive its host: a job found there at start is lost, unless the chain never saw the quote.
``finished`` holds everything that the enclave signed and sealed, so that posting and settling survive any crash.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sealmarket.chain.follow import Cursor
from sealmarket.protocol.wire import PostedResult
from sealmarket.sqlite_file import SqliteFile
from sealmarket_enclave.protocol.codec import Bytes32, canonical_json, decode
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.terms import Seal
from sealmarket_worker.errors import JournalConflict
from sealmarket_worker.session import Outcome

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    job_id BLOB PRIMARY KEY, spec BLOB NOT NULL, matched_block INTEGER NOT NULL, state TEXT NOT NULL,
    evidence_hash BLOB, enclave_key_hash BLOB, posted BLOB, receipt BLOB, result BLOB, container BLOB,
    reason TEXT NOT NULL DEFAULT '', changed REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS seals (seal_hash BLOB PRIMARY KEY, seal BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS chain_cursor (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1), number INTEGER NOT NULL, hash BLOB NOT NULL
) STRICT;
"""


class JobState(StrEnum):
    """How far a job came on this host."""

    MATCHED = "matched"
    QUOTING = "quoting"
    QUOTED = "quoted"
    FINISHED = "finished"
    DONE = "done"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True)
class JobEntry:
    """One job in the journal. ``outcome`` is there once the enclave has signed the end."""

    job_id: JobId
    spec: JobSpec
    matched_block: int
    state: JobState
    evidence_hash: Bytes32 | None
    enclave_key_hash: Bytes32 | None
    outcome: Outcome | None
    reason: str
    changed: float


class Journal(SqliteFile):
    """A SQLite file. Threads may share it; every write is on disk when it returns."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        super().__init__(path, _SCHEMA)

    # --- the chain as far as it was read ------------------------------------------------------------------------

    def cursor(self) -> Cursor | None:
        """The last final block whose events are in the journal."""
        with self._lock:
            row = self._db.execute("SELECT number, hash FROM chain_cursor").fetchone()
        return Cursor(row[0], Bytes32(row[1])) if row else None

    def forget_cursor(self) -> None:
        """Read the chain again from the beginning; jobs and seals stay."""
        with self._lock:
            self._db.execute("DELETE FROM chain_cursor")

    def advance(self, end: Cursor, seals: list[Seal], matched: list[tuple[JobId, JobSpec, int]]) -> None:
        """Record the events of final blocks, together with how far they were read."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for seal in seals:
                    self._db.execute(
                        "INSERT OR IGNORE INTO seals VALUES (?, ?)", (bytes(seal.hash()), canonical_json(seal))
                    )
                for job_id, spec, number in matched:
                    self._db.execute(
                        "INSERT INTO jobs (job_id, spec, matched_block, state, changed) VALUES (?, ?, ?, ?, ?)"
                        " ON CONFLICT (job_id) DO UPDATE SET matched_block = excluded.matched_block",
                        (bytes(job_id), canonical_json(spec), number, JobState.MATCHED, time.time()),
                    )
                self._db.execute("INSERT OR REPLACE INTO chain_cursor VALUES (1, ?, ?)", (end.number, bytes(end.hash)))
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise

    def seal(self, seal_hash: Bytes32) -> Seal | None:
        """A published seal by its hash."""
        with self._lock:
            row = self._db.execute("SELECT seal FROM seals WHERE seal_hash = ?", (bytes(seal_hash),)).fetchone()
        return decode(Seal, row[0]) if row else None

    # --- jobs -----------------------------------------------------------------------------------------------------

    def job(self, job_id: JobId) -> JobEntry:
        """One job. Raises :class:`KeyError` for one that was never matched here."""
        with self._lock:
            row = self._db.execute(f"{_SELECT} WHERE job_id = ?", (bytes(job_id),)).fetchone()
        if row is None:
            raise KeyError(str(job_id))
        return _entry(row)

    def jobs(self, *states: JobState) -> list[JobEntry]:
        """Jobs in any of these states, oldest first; all when none is named."""
        wanted = states or tuple(JobState)
        marks = ",".join("?" * len(wanted))
        with self._lock:
            rows = self._db.execute(f"{_SELECT} WHERE state IN ({marks}) ORDER BY rowid", wanted).fetchall()
        return [_entry(row) for row in rows]

    def quoting(self, job_id: JobId, evidence_hash: Bytes32, enclave_key_hash: Bytes32) -> None:
        """``matched | quoting -> quoting``: the evidence hash is about to be sent."""
        self._move(
            job_id,
            (JobState.MATCHED, JobState.QUOTING),
            JobState.QUOTING,
            "evidence_hash = ?, enclave_key_hash = ?",
            bytes(evidence_hash),
            bytes(enclave_key_hash),
        )

    def quoted(self, job_id: JobId) -> None:
        """``quoting -> quoted``: the chain has the evidence hash."""
        self._move(job_id, (JobState.QUOTING,), JobState.QUOTED, "")

    def finished(self, job_id: JobId, outcome: Outcome) -> None:
        """``quoted -> finished``: what the enclave signed and everything that goes with it."""
        self._move(
            job_id,
            (JobState.QUOTED,),
            JobState.FINISHED,
            "posted = ?, receipt = ?, result = ?, container = ?",
            canonical_json(outcome.posted),
            outcome.receipt,
            outcome.result,
            outcome.container,
        )

    def done(self, job_id: JobId) -> None:
        """``finished -> done``: the chain has what the enclave signed. The result's ciphertext is kept by the store."""
        self._move(job_id, (JobState.FINISHED,), JobState.DONE, "container = NULL")

    def give_up(self, job_id: JobId, reason: str) -> None:
        """Whatever is not over ``-> given_up``, with the reason."""
        open_states = (JobState.MATCHED, JobState.QUOTING, JobState.QUOTED, JobState.FINISHED)
        self._move(job_id, open_states, JobState.GIVEN_UP, "reason = ?", reason)

    def _move(self, job_id: JobId, sources: tuple[JobState, ...], to: JobState, fields: str, *values: object) -> None:
        marks = ",".join("?" * len(sources))
        extra = f", {fields}" if fields else ""
        with self._lock:
            changed = self._db.execute(
                # Only literals of this module are put together here.
                f"UPDATE jobs SET state = ?, changed = ?{extra} WHERE job_id = ? AND state IN ({marks})",  # noqa: S608
                (to, time.time(), *values, bytes(job_id), *sources),
            ).rowcount
        if not changed:
            raise JournalConflict(job_id, self.job(job_id).state, " or ".join(sources))


_SELECT = (
    "SELECT job_id, spec, matched_block, state, evidence_hash, enclave_key_hash, posted, receipt, result, container,"
    " reason, changed FROM jobs"
)


def _entry(row: tuple[object, ...]) -> JobEntry:
    job_id, spec, block, state, evidence, key_hash, posted, receipt, result, container, reason, changed = row
    assert isinstance(job_id, bytes)
    assert isinstance(spec, bytes)
    assert isinstance(block, int)
    assert isinstance(changed, float)
    outcome = None
    if isinstance(posted, bytes) and isinstance(receipt, bytes):
        outcome = Outcome(
            decode(PostedResult, posted),
            receipt,
            result if isinstance(result, bytes) else None,
            container if isinstance(container, bytes) else None,
        )
    return JobEntry(
        job_id=JobId(Bytes32(job_id)),
        spec=decode(JobSpec, spec),
        matched_block=block,
        state=JobState(str(state)),
        evidence_hash=Bytes32(evidence) if isinstance(evidence, bytes) else None,
        enclave_key_hash=Bytes32(key_hash) if isinstance(key_hash, bytes) else None,
        outcome=outcome,
        reason=str(reason),
        changed=changed,
    )
