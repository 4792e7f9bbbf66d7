"""Which jobs of an account are this worker's, where several serve one account. Pure.

Workers of one account agree on nothing while they run: each takes the jobs whose id leaves its own remainder. A job's
id is a hash, so the shares are alike in the long run; who submits its own match can choose among ids, so that any
number of jobs at once may be one worker's. An operator who changes the count stops all workers of the account first.
"""

from __future__ import annotations

from dataclasses import dataclass

from sealmarket_enclave.protocol.numbers import JobId

MOST_WORKERS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Worker ``worker`` (from 0) of ``workers`` (1 to 64)."""

    workers: int = 1
    worker: int = 0

    def has(self, job_id: JobId) -> bool:
        """Whether a job is this worker's: its id modulo the number of workers is the worker's number."""
        return int.from_bytes(bytes(job_id), "big") % self.workers == self.worker


WHOLE = Share()
"""One worker for all jobs of the account."""
