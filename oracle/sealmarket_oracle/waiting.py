"""Which open jobs wait for what, and when each is looked at again.

A job that waits is skipped for a while that grows, unless the chain changes its record: a node with many open jobs does
not look at all of them each second. What a job waits for is an entry of the audit log, the first time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass

from sealmarket.chain.model import Block
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_oracle.chain_record import JobRecord
from sealmarket_oracle.gate.inputs import Defer
from sealmarket_oracle.journal import Journal

_log = logging.getLogger("sealmarket.oracle")
_FIRST_PAUSE, _LONGEST_PAUSE, _LASTING_PAUSE = 0.1, 1.0, 30.0
NO_EVIDENCE = "no evidence hash is on chain at a final block"
NO_QUORUM = "waiting for a quorum's decision on chain"


@dataclass(slots=True)
class _Pause:
    """Why a job waits, and until when it is skipped (monotonic seconds), unless the chain changes its record."""

    reason: str
    record: JobRecord
    until: float
    seconds: float


class Waiting:
    """The jobs of one node that wait. One thread changes it; any calls :meth:`reason`."""

    def __init__(self, journal: Journal, monotonic: Callable[[], float]) -> None:
        self._journal, self._monotonic = journal, monotonic
        self._pauses: dict[JobId, _Pause] = {}

    def is_due(self, record: JobRecord) -> bool:
        """Whether a job is to be looked at now."""
        pause = self._pauses.get(record.job_id)
        return pause is None or pause.record != record or self._monotonic() >= pause.until

    def reason(self, job_id: JobId) -> str:
        """What a job waits for; empty where nothing is left to do."""
        pause = self._pauses.get(job_id)
        return pause.reason if pause is not None else ""

    def defer(self, record: JobRecord, wait: Defer, final: Block) -> None:
        """Let a job wait, and say so where the reason is new. Raises :class:`JournalError`: it is not written."""
        before = self._pauses.get(record.job_id)
        if before is None or before.reason != wait.reason:
            _log.info("job %s: %s", record.job_id, wait.reason)
            if wait.reason not in (NO_EVIDENCE, NO_QUORUM):
                at = (final.number, final.hash)
                self._journal.defer(record.job_id, wait.reason, keccak(wait.reason.encode()), at)
        again = before is not None and before.record == record
        longest = _LASTING_PAUSE if wait.lasting else _LONGEST_PAUSE
        seconds = min(longest, before.seconds * 1.5) if before is not None and again else _FIRST_PAUSE
        self._pauses[record.job_id] = _Pause(wait.reason, record, self._monotonic() + seconds, seconds)

    def end(self, job_id: JobId) -> None:
        """A job waits for nothing any more."""
        self._pauses.pop(job_id, None)

    def keep_only(self, still_open: Collection[JobId]) -> None:
        """Forget the jobs that have ended."""
        for ended in self._pauses.keys() - still_open:
            del self._pauses[ended]
