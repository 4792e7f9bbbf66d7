"""Waiting for a match and for a result, on the chain's final blocks alone."""

from __future__ import annotations

import time
from collections.abc import Callable

from sealmarket.chain import Chain
from sealmarket.client.errors import WaitedTooLong
from sealmarket.client.explain import ended_otherwise
from sealmarket.client.jobs import JobRecord, read_job
from sealmarket.client.stopping import pause
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.numbers import JobId

POLL_SECONDS = 0.5
GOOD = frozenset({Status.SETTLED, Status.MATURED, Status.CHALLENGED})
"""States of a job that has a result."""
ENDED = frozenset({Status.REFUSED, Status.STOPPED, Status.FAILED, Status.EXPIRED, Status.CANCELLED})
"""States of a job that ended without one, or whose result was withheld."""

OnChange = Callable[[JobRecord], None]


def find_job(chain: Chain, consumer: Address, request_hash: Bytes32, since: int = 0) -> JobId | None:
    """The job of a request at the newest final block, or None."""
    final = chain.final()
    for match in chain.matches_of(consumer, max(since, chain.book.deployed_at), final):
        if match.spec.request_hash == request_hash:
            return match.job_id
    return None


class Waiting:
    """Looks at final blocks until something happened. ``pause`` sleeps for seconds."""

    def __init__(self, chain: Chain, pause: Callable[[float], None] = pause) -> None:
        self._chain, self._pause = chain, pause

    def for_match(
        self, consumer: Address, request_hash: Bytes32, since: int, timeout: float, why: Callable[[], str]
    ) -> JobId:
        """The job of a request, once its match is final.

        Args:
            why: the book's explanation why it is not matched, asked for when the time is over.

        Raises:
            WaitedTooLong: with that explanation.
        """
        deadline = time.monotonic() + timeout
        while (job := find_job(self._chain, consumer, request_hash, since)) is None:
            if time.monotonic() > deadline:
                raise WaitedTooLong("a match", timeout, why())
            self._pause(POLL_SECONDS)
        return job

    def for_result(self, job_id: JobId, timeout: float, on_change: OnChange) -> JobRecord:
        """The job once its result is settled at a final block; ``on_change`` hears of each status before.

        Raises:
            JobEndedOtherwise: refused, stopped, failed, expired or cancelled; with the reasons.
            WaitedTooLong.
        """
        deadline, seen = time.monotonic() + timeout, None
        while True:
            record = read_job(self._chain, job_id)
            if record.status is not seen:
                on_change(record)
                seen = record.status
            if record.settled is not None and record.status in GOOD:
                return record
            if record.status in ENDED:
                raise ended_otherwise(record)
            if time.monotonic() > deadline:
                raise WaitedTooLong(f"the result of job {job_id}", timeout, f"it is {record.status.name.lower()}")
            self._pause(POLL_SECONDS)
