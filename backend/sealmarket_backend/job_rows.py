"""The rows of jobs as a range of events changes them: each is read once, and written once at the range's end.

A job's row holds what its events say so far: its status, and facts by the names of :class:`JobView`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from sealmarket.chain.events import JobMatched
from sealmarket.protocol.transitions import Status
from sealmarket_backend.tables import Connection
from sealmarket_enclave.protocol.codec import Bytes32

_MATCHED = (
    "INSERT INTO jobs (job_id, request_hash, provider, consumer, status, spec, facts, workload, tee, matched_at,"
    " settled_at, sequence) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
    " (SELECT COALESCE(MAX(sequence), 0) + 1 FROM jobs)) ON CONFLICT DO NOTHING"
)
_CONSUMED = "UPDATE requests SET state = 'matched', job_id = ?, explanation = '[]' WHERE request_hash = ?"


@dataclass(slots=True)
class _Job:
    status: Status
    facts: dict[str, Any] = field(default_factory=dict)
    settled_at: int = 0
    """The time of the block, in seconds since 1970; 0 before."""
    matched: JobMatched | None = None
    """Where this range made the job."""


class JobRows:
    """Changes of one transaction. Nothing is in the tables before :meth:`write`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._changed: dict[Bytes32, _Job] = {}

    def matched(self, event: JobMatched) -> None:
        """A job came to be, and its request is consumed."""
        self._changed[event.job_id] = _Job(Status.MATCHED, matched=event)

    def step(self, job_id: Bytes32, status: Status | None, facts: dict[str, Any], at: int = 0) -> bool:
        """A job's next event, in a block of the time ``at``; without ``status`` it leaves the job where it is. False
        where there is no such job."""
        job = self._changed.get(job_id) or self._read(job_id)
        if job is None:
            return False
        if status is not None:
            job.status = status
        if status is Status.SETTLED:
            job.settled_at = at
        job.facts |= facts
        self._changed[job_id] = job
        return True

    def _read(self, job_id: Bytes32) -> _Job | None:
        query = "SELECT status, facts, settled_at FROM jobs WHERE job_id = ?"
        row = self._connection.execute(query, (job_id,)).fetchone()
        return _Job(Status(row["status"]), json.loads(row["facts"]), row["settled_at"]) if row else None

    def write(self) -> None:
        """Bring the tables up to date."""
        changed, self._changed = self._changed, {}
        made = {job_id: job for job_id, job in changed.items() if job.matched is not None}
        self._connection.executemany(_MATCHED, [_row(job.matched, job) for job in made.values() if job.matched])
        self._connection.executemany(
            _CONSUMED, [(job_id, job.matched.spec.request_hash) for job_id, job in made.items() if job.matched]
        )
        self._connection.executemany(
            "UPDATE jobs SET status = ?, facts = ?, settled_at = ? WHERE job_id = ?",
            [
                (job.status, _spelt(job), job.settled_at, job_id)
                for job_id, job in changed.items()
                if job_id not in made
            ],
        )


def _row(event: JobMatched, job: _Job) -> tuple[object, ...]:
    spec = event.spec
    given = (event.job_id, spec.request_hash, spec.provider, spec.consumer, job.status, spec.canonical(), _spelt(job))
    return *given, spec.workload_digest, int(spec.tee), spec.matched_at, job.settled_at


def _spelt(job: _Job) -> bytes:
    return json.dumps(job.facts).encode()
