"""The worker's agent: follow the chain for jobs of this provider, and carry each to its end.

What it works on comes from the chain at final blocks, never from the backend. It may be killed at any moment:
the journal says what to do at the next start.
"""

from __future__ import annotations

import logging
import sqlite3
from concurrent.futures import Future, ThreadPoolExecutor, wait

from sealmarket.chain import ChainError
from sealmarket.chain.events import JobMatched, UnreadableLog, VersionPublished
from sealmarket.chain.follow import Cursor, EventRange, Follower, Rewound
from sealmarket_enclave.protocol.codec import Address
from sealmarket_enclave.protocol.numbers import JobId, Kind, Tee
from sealmarket_worker.context import HostContext
from sealmarket_worker.jobrun import JobRun
from sealmarket_worker.journal import JobEntry, JobState, Journal
from sealmarket_worker.share import WHOLE, Share

log = logging.getLogger(__name__)

_OPEN = (JobState.MATCHED, JobState.QUOTING, JobState.QUOTED, JobState.FINISHED)


class Agent:
    """Runs until ``host.stop`` is set, or ``host.drain`` and no job runs. ``provider`` is the account of these jobs.

    ``share`` says which of them are this worker's, where several serve one account.
    """

    def __init__(self, host: HostContext, provider: Address, *, max_jobs: int = 2, share: Share = WHOLE) -> None:
        self._host, self._places = host, max_jobs
        self._pool = ThreadPoolExecutor(max_workers=max_jobs, thread_name_prefix="job")
        self._running: dict[JobId, Future[None]] = {}
        self._follower = Follower(host.chain, JobReader(host.journal, provider, host.driver.tee, share, host.kind))

    def run(self) -> None:
        """Follow, start, wait; until asked to stop, or until no job is left of those that ran when asked to drain."""
        try:
            while not self._host.stop.is_set() and not self._is_drained():
                try:
                    self.turn()
                except ChainError as error:
                    log.warning("the chain cannot be read now: %s", error)
                except sqlite3.OperationalError as error:
                    log.warning("the journal cannot be written now: %s", error)
                self._host.stop.wait(self._host.poll_seconds)
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._say_what_is_left()

    def turn(self) -> None:
        """Read the final blocks since the last turn, and start what is not running; while draining, start nothing.

        Raises:
            ChainError: the chain cannot be read now.
            sqlite3.OperationalError: the journal cannot be written now.
        """
        self._reap()
        if self._host.drain.is_set():
            for future in self._running.values():
                future.cancel()
            return
        self._follower.advance()
        for entry in self._host.journal.jobs(*_OPEN):
            if entry.job_id not in self._running:
                self._start(entry)

    def _start(self, entry: JobEntry) -> None:
        if len(self._running) >= self._places:
            log.warning(
                "job %s waits for a place: %d run, max_jobs is %d", entry.job_id, len(self._running), self._places
            )
        self._running[entry.job_id] = self._pool.submit(JobRun(self._host, entry.job_id).run)

    def _is_drained(self) -> bool:
        return self._host.drain.is_set() and all(future.done() for future in self._running.values())

    def _say_what_is_left(self) -> None:
        left = self._host.journal.jobs(*_OPEN)
        if left:
            log.warning("%d jobs are left to the next start of a worker on this state folder; start it soon", len(left))

    def _reap(self) -> None:
        for job_id, future in list(self._running.items()):
            if future.done():
                del self._running[job_id]
                if not future.cancelled() and (error := future.exception()) is not None:
                    # A job must never end in silence, and never take the others with it.
                    log.error("job %s stopped on an unforeseen error: %r", job_id, error)
                    self._host.journal.give_up(job_id, f"unforeseen: {type(error).__name__}")

    def join(self) -> None:
        """Wait until every job that was started is over on this host, and let go of the threads."""
        wait(self._running.values())
        self._pool.shutdown()


class JobReader:
    """Reads events for a host's journal: an :class:`~sealmarket.chain.follow.EventReader`."""

    def __init__(
        self, journal: Journal, provider: Address, tee: Tee, share: Share = WHOLE, kind: Kind = Kind.BATCH
    ) -> None:
        self._journal, self._provider, self._tee, self._share = journal, provider, tee, share
        self._kind = kind

    def cursor(self) -> Cursor | None:
        """The last final block that is in the journal."""
        return self._journal.cursor()

    def store(self, read: EventRange) -> None:
        """Record every published seal, and the jobs that are this host's."""
        for event in read.events:
            if isinstance(event, UnreadableLog):
                log.warning("%s of %s does not read and is left alone: %s", event.name, event.subject, event.reason)
        seals = [event.seal for event in read.events if isinstance(event, VersionPublished)]
        matched = [
            (event.job_id, event.spec, int(event.at.block_number))
            for event in read.events
            if isinstance(event, JobMatched) and self._is_ours(event)
        ]
        self._journal.advance(read.end, seals, matched)

    def _is_ours(self, event: JobMatched) -> bool:
        spec = event.spec
        named = (spec.provider, spec.tee, spec.kind)
        return named == (self._provider, self._tee, self._kind) and self._share.has(event.job_id)

    def earlier(self) -> tuple[Cursor, ...]:
        """None: reading again from the start repeats nothing, since jobs are known by their ids."""
        return ()

    def rewind(self, rewound: Rewound) -> None:
        """Read the chain again. A job that is no longer on it ends by its status there."""
        cursor = rewound.cursor
        log.error("block %d was final as %s and is %s: reading anew", cursor.number, cursor.hash, rewound.found)
        self._journal.forget_cursor()
