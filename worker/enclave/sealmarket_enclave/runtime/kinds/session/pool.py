"""Which process answers whom: one account to a process, from its first request until the process ends.

Rules (docs/spec/session.md, "Workload"):

1. There are at most ``most`` processes. One is kept ready for the next account while there is room.
2. A process is given to an account once, and never to another. Where no process is free, the one whose account asked
   least recently, and that does nothing, is ended for a new one.
3. A process that takes longer than its time, writes out of turn, starts too many threads or ends is ended, and with it
   the request that it was given. One that does so while it loads, or for which this machine has no room, ends all
   requests that wait for it, and no process is started ahead of need after that, until one has loaded. So does one that
   cannot be confined, where another was before; where none was, the service ends.
4. An answer that is broken off after bytes of it left keeps its place until its meter has counted them. A meter that
   gives no count within its time is ended, with the process that it counted for, and the answer says so whatever broke
   it off: it costs its bytes.
5. Requests wait in their account's order, :data:`QUEUE` of an account and :data:`MAX_WAITING` of all, and no longer
   than a process takes to load and to answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol

from sealmarket_enclave.protocol.codec import Address
from sealmarket_enclave.protocol.session import SessionCode
from sealmarket_enclave.runtime.kinds.session.answers import Answer
from sealmarket_enclave.runtime.kinds.session.ledger import Reservation
from sealmarket_enclave.runtime.kinds.session.metering import METER_SECONDS, Event, Happened
from sealmarket_enclave.sandbox.model import SandboxUnavailable
from sealmarket_enclave.sandbox.session import Done

QUEUE = 8
MAX_WAITING = 256
_BREAKS = {
    Event.BROKEN: SessionCode.WORKLOAD_FAILED,
    Event.UNMETERED: SessionCode.NOT_METERED,
}
"""Events that end an answer early, and why."""
_COUNTED_PROMPT = Done(prompt_units=0, output_units=1, engine={})
"""What a prompt costs that was counted and is too large: the count took the enclave's time."""


class Process(Protocol):
    """What the pool needs of :class:`~sealmarket_enclave.runtime.kinds.session.metering.AnsweringProcess`."""

    @property
    def outputs(self) -> tuple[int, ...]:
        """See there."""

    @property
    def inputs(self) -> tuple[int, ...]:
        """See there."""

    @property
    def loaded(self) -> bool:
        """See there."""

    @property
    def crowded(self) -> bool:
        """See there."""

    @property
    def counting(self) -> bool:
        """See there."""

    @property
    def answered(self) -> bool:
        """See there."""

    def cut(self, unsent: int = 0) -> bool:
        """See there."""

    def give(self, endpoint: str, most_units: int, body: bytes) -> None:
        """See there."""

    def write(self) -> None:
        """See there."""

    def read(self) -> Iterator[Happened]:
        """See there."""

    def close(self) -> None:
        """See there."""


@dataclass(slots=True, eq=False)
class Task:
    """A request that was taken, until its answer ends."""

    account: Address
    answer: Answer
    reservation: Reservation
    since: float


@dataclass(slots=True, eq=False)
class _Worker:
    process: Process
    until: float
    account: Address | None = None
    task: Task | None = None
    used: float = 0.0
    ending: SessionCode | None = None
    """Why its answer was broken off, while the meter counts what left of it."""


class Listener(Protocol):
    """Who hears of answers."""

    def sent(self, task: Task, data: bytes) -> bool:
        """The next bytes of a response; False where they break it off."""

    def done(self, task: Task, done: Done) -> None:
        """The end of a response."""

    def broken(self, task: Task, code: SessionCode, counted: Done | None = None) -> None:
        """A response that was broken off; ``counted``: what it costs by its meter, None without a count."""


class Pool:
    """The processes of one service. ``load_seconds`` and ``request_seconds`` are wall time by ``clock``."""

    def __init__(
        self,
        start: Callable[[], Process],
        listener: Listener,
        clock: Callable[[], float],
        *,
        most: int,
        load_seconds: float,
        request_seconds: float,
    ) -> None:
        self._start, self._listener, self._clock = start, listener, clock
        self._most, self._load_seconds, self._request_seconds = most, load_seconds, request_seconds
        self._workers: list[_Worker] = []
        self._waiting: dict[Address, deque[Task]] = {}
        self._failing = False
        self.ever_loaded = False

    @property
    def processes(self) -> list[Process]:
        """All of them, to wait on."""
        return [worker.process for worker in self._workers]

    @property
    def tasks(self) -> list[Task]:
        """Requests whose answer has not ended."""
        waiting = [task for queue in self._waiting.values() for task in queue]
        return [worker.task for worker in self._workers if worker.task is not None] + waiting

    def has_room(self, account: Address) -> bool:
        """Whether a request of this account can wait (rule 4)."""
        all_waiting = sum(map(len, self._waiting.values()))
        return all_waiting < MAX_WAITING and len(self._waiting.get(account, ())) < QUEUE

    def submit(self, task: Task) -> None:
        """Answer a request as soon as a process of its account is free."""
        self._waiting.setdefault(task.account, deque()).append(task)
        self.schedule()

    def schedule(self) -> None:
        """Give what waits to processes, and keep one ready (rules 1 and 2)."""
        for account in list(self._waiting):
            try:
                worker = self._worker_for(account)
            except OSError:
                self._give_up(account)
                continue
            if worker is not None and worker.process.loaded and worker.task is None:
                self._give(worker, self._waiting[account].popleft())
            if not self._waiting[account]:
                del self._waiting[account]
        spare = any(worker.account is None for worker in self._workers)
        if not spare and not self._failing and len(self._workers) < self._most:
            try:
                self._begin(None)
            except OSError:
                self._failing = True

    def drop(self, task: Task, code: SessionCode) -> None:
        """Break an answer off, with the process that makes it."""
        for worker in self._workers:
            if worker.task is task:
                # A whole answer has left already: its count is all that is missing.
                if worker.ending is None and not worker.process.answered:
                    self._break_off(worker, code)
                    self.schedule()
                return
        queue = self._waiting.get(task.account)
        if queue is not None and task in queue:
            queue.remove(task)
            if not queue:
                del self._waiting[task.account]
            self._listener.broken(task, code)

    def retire(self, accounts: Collection[Address]) -> None:
        """End processes of accounts that are served no more, once they do nothing."""
        for worker in list(self._workers):
            idle = worker.task is None and worker.account not in self._waiting
            if worker.account is not None and worker.account not in accounts and idle:
                self._end(worker, SessionCode.STOPPED)
        self.schedule()

    def read(self, descriptors: AbstractSet[int]) -> None:
        """Hear processes whose pipe has something."""
        for worker in list(self._workers):
            if not descriptors.isdisjoint(worker.process.outputs):
                self._hear(worker)
            if worker in self._workers and worker.process.inputs:
                worker.process.write()
        self.schedule()

    def tick(self) -> None:
        """End what takes too long or has too many threads (rule 3)."""
        now = self._clock()
        for worker in list(self._workers):
            timed = worker.task is not None or not worker.process.loaded
            if timed and now >= worker.until:
                late = SessionCode.NOT_METERED if worker.process.counting else SessionCode.OUT_OF_TIME
                self._fail(worker, late)
            elif worker.process.crowded:
                metering = worker.process.counting
                self._fail(worker, SessionCode.NOT_METERED if metering else SessionCode.WORKLOAD_FAILED)
        for task in [task for queue in self._waiting.values() for task in queue]:
            if now - task.since >= self._load_seconds + self._request_seconds:
                self.drop(task, SessionCode.BUSY)
        self.schedule()

    def close(self) -> None:
        """End all processes, and with them what they answer."""
        for worker in list(self._workers):
            worker.process.close()
        self._workers.clear()

    def _worker_for(self, account: Address) -> _Worker | None:
        """The account's process, by rule 2; None where none can be had now."""
        for worker in self._workers:
            if worker.account == account:
                return worker
        for worker in sorted(self._workers, key=lambda worker: not worker.process.loaded):
            if worker.account is None:
                worker.account = account
                return worker
        if len(self._workers) < self._most:
            return self._begin(account)
        idle = [one for one in self._workers if one.task is None and one.account not in self._waiting]
        if not idle:
            return None
        self._end(min(idle, key=lambda worker: worker.used), SessionCode.STOPPED)
        return self._begin(account)

    def _begin(self, account: Address | None) -> _Worker:
        worker = _Worker(self._start(), self._clock() + self._load_seconds, account, used=self._clock())
        self._workers.append(worker)
        return worker

    def _give(self, worker: _Worker, task: Task) -> None:
        worker.task, worker.used = task, self._clock()
        header = task.answer.opened.header
        worker.process.give(header.endpoint, int(header.most_units), task.answer.opened.body)
        worker.until = worker.used + (METER_SECONDS if worker.process.counting else self._request_seconds)

    def _hear(self, worker: _Worker) -> None:
        try:
            self._heard(worker)
        except SandboxUnavailable:
            # It ran no line of the workload. Where others were confined, what they served must not be lost with it.
            if not self.ever_loaded:
                raise
            self._fail(worker, SessionCode.WORKLOAD_FAILED)

    def _heard(self, worker: _Worker) -> None:
        for happened in worker.process.read():
            if happened.event is Event.WAITING:
                self.ever_loaded, self._failing = True, False
            elif happened.event in _BREAKS or worker.task is None:
                self._fail(worker, _BREAKS.get(happened.event, SessionCode.WORKLOAD_FAILED))
                return
            elif happened.event is Event.TOO_LARGE:
                task, worker.task, worker.used = worker.task, None, self._clock()
                self._listener.broken(task, SessionCode.UNITS_REFUSED, _COUNTED_PROMPT)
            elif happened.event is Event.CUT:
                self._end(worker, worker.ending or SessionCode.STOPPED, happened.done)
                return
            elif happened.event is Event.BEGUN:
                worker.until = self._clock() + self._request_seconds
            elif happened.event is Event.COUNTING:
                worker.until = self._clock() + METER_SECONDS
            elif happened.event is Event.SENT:
                if not self._listener.sent(worker.task, happened.data):
                    self._break_off(worker, SessionCode.OUTPUT_TOO_LONG, len(happened.data))
                    return
            elif happened.done is not None:
                task, worker.task, worker.used = worker.task, None, self._clock()
                self._listener.done(task, happened.done)

    def _break_off(self, worker: _Worker, code: SessionCode, unsent: int = 0) -> None:
        """End an answer early: at once, or when its meter has counted what left of it (rule 4)."""
        if worker.task is not None and worker.process.cut(unsent):
            worker.ending, worker.until = code, self._clock() + METER_SECONDS
        else:
            self._end(worker, code)

    def _fail(self, worker: _Worker, code: SessionCode) -> None:
        """Rule 3: of a process that has not loaded, all that wait for it end too."""
        loading, account = not worker.process.loaded, worker.account
        if worker.process.counting:
            self._end(worker, code)
        else:
            self._break_off(worker, code)
        if loading:
            self._failing = True
        if loading and account is not None:
            self._give_up(account, code)

    def _give_up(self, account: Address, code: SessionCode = SessionCode.WORKLOAD_FAILED) -> None:
        """End all requests that wait for a process of an account which does not come up."""
        self._failing = True
        for task in self._waiting.pop(account, ()):
            self._listener.broken(task, code)

    def _end(self, worker: _Worker, code: SessionCode, counted: Done | None = None) -> None:
        self._workers.remove(worker)
        worker.process.close()
        if worker.task is not None:
            self._listener.broken(worker.task, code, counted)
