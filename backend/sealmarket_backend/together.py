"""Changes of several threads in one transaction: what one of them waits for, the disk, the others wait for with it.

1. The thread that comes first carries out the changes of all that have come by then; the first that comes meanwhile
   does so after it. The others sleep until their own change is over.
2. Before it writes, it waits for as many as came together last time, at most as long as the last transaction took and
   never longer than :data:`LONGEST_WAIT`. So a lone caller waits for none, and a crowd does not pay for one transaction
   each.
3. A change for which no caller waits (:meth:`Together.later`) goes with the next transaction of others, and in one of
   its own where there is none.
4. Each change stands for itself: one that is refused is taken back alone. All of them are on disk when their callers go
   on, or none is.
5. Changes are made one after the other, and what one of them raises takes all back; then they are made again, each
   behind a savepoint. So a change may be made twice, and one that refuses before it changed anything returns its
   refusal: a party that can be refused at will must not have others' changes made twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

from sealmarket_backend.errors import Deposed, StorageFailed
from sealmarket_backend.tables import Connection, Database

T = TypeVar("T")
log = logging.getLogger(__name__)
MOST_TOGETHER = 64
"""Changes of one transaction."""
LONGEST_WAIT = 0.01
"""Seconds for which a change may wait for others to come."""


class _Change(Generic[T]):
    """One caller's, and what became of it."""

    def __init__(self, make: Callable[[Connection], T]) -> None:
        self.make = make
        self.made: list[T] = []
        self.error: BaseException | None = None
        self._turn = threading.Lock()
        self._turn.acquire()

    @property
    def is_over(self) -> bool:
        return bool(self.made) or self.error is not None

    @property
    def has_caller(self) -> bool:
        """Whether a thread waits for it, which can carry out what came."""
        return True

    def wait(self) -> None:
        """Sleep until :meth:`wake`: it is over, or its caller is the next to carry out."""
        self._turn.acquire()

    def wake(self) -> None:
        """Once for each :meth:`wait`."""
        self._turn.release()

    def result(self) -> T:
        if self.error is not None:
            raise self.error
        return self.made[0]


class _Unawaited(_Change[T]):
    """One whose caller went on; ``over`` is called once it is on disk, or refused."""

    def __init__(self, make: Callable[[Connection], T], over: Callable[[], object]) -> None:
        super().__init__(make)
        self._over = over

    @property
    def has_caller(self) -> bool:
        return False

    def wake(self) -> None:
        if self.error is not None:
            log.warning("a change for which no caller waited was not written: %s", self.error)
        self._over()


class Together:
    """``around`` holds what changes with the table; where its block raises, it takes its own changes back."""

    def __init__(self, database: Database, around: Callable[[], AbstractContextManager[None]]) -> None:
        self._database, self._around = database, around
        self._waiting: deque[_Change[Any]] = deque()
        self._lock = threading.Lock()
        """Of what waits and who carries out."""
        self._came = threading.Condition(self._lock)
        self._carrying = False
        self._expected, self._seconds = 1, 0.0
        """How many came together last time, and how long the transaction took."""

    def write(self, make: Callable[[Connection], T]) -> T:
        """Carry out a change; returns what it made, once that is on disk.

        Raises:
            StorageFailed: the database takes no writes, and nothing was changed.
            and what the change itself raises, which then changed nothing.
        """
        change = _Change(make)
        if not self._add(change):
            change.wait()
        if not change.is_over:
            self._take_turn(change)
        return change.result()

    def later(self, make: Callable[[Connection], Any], over: Callable[[], object]) -> None:
        """Carry out a change that no caller waits for; ``over`` is called from any thread once it is, or is refused."""
        change = _Unawaited(make, over)
        if self._add(change):
            self._take_turn(change)
            change.wake()

    def _add(self, change: _Change[Any]) -> bool:
        """Whether its caller is the one to carry out what came."""
        with self._lock:
            self._waiting.append(change)
            is_first, self._carrying = not self._carrying, True
            if len(self._waiting) >= self._expected:
                self._came.notify()
            return is_first

    def _take_turn(self, own: _Change[Any]) -> None:
        """Carry out what has come, one's own with it, and leave the rest to the first caller that came meanwhile."""
        while True:
            changes: list[_Change[Any]] = []
            try:
                changes = self._gathered()
                start = time.monotonic()
                self._carry_out(changes)
                self._expected, self._seconds = len(changes), time.monotonic() - start
            finally:
                is_done = own.is_over and self._handed_over()
                for change in changes:
                    if change is not own:
                        change.wake()
            if is_done:
                return

    def _handed_over(self) -> bool:
        """Whether another thread carries out what came meanwhile, or nothing came."""
        with self._lock:
            following = next((change for change in self._waiting if change.has_caller), None)
            if following is not None:
                following.wake()
                return True
            self._carrying = bool(self._waiting)
            return not self._carrying

    def _gathered(self) -> list[_Change[Any]]:
        with self._lock:
            if self._expected > 1:
                self._came.wait_for(
                    lambda: len(self._waiting) >= self._expected, timeout=min(self._seconds, LONGEST_WAIT)
                )
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_TOGETHER))]

    def _carry_out(self, changes: list[_Change[Any]]) -> None:
        try:
            try:
                made = self._made(changes)
            except (StorageFailed, Deposed):
                raise
            except Exception:
                if len(changes) == 1:
                    raise  # its refusal took all back
                made = self._made_apart(changes)
        except BaseException as error:  # noqa: BLE001 - each caller gets it
            for change in changes:
                change.error = change.error or error
            return
        for change, result in made:
            change.made.append(result)

    def _made(self, changes: list[_Change[Any]]) -> list[tuple[_Change[Any], Any]]:
        with self._around(), self._database.write() as connection:
            return [(change, change.make(connection)) for change in changes]

    def _made_apart(self, changes: list[_Change[Any]]) -> list[tuple[_Change[Any], Any]]:
        """Each within the transaction alone; its own refusal concerns it alone, the disk's all of them."""
        made: list[tuple[_Change[Any], Any]] = []
        with self._around(), self._database.write() as connection:
            for change in changes:
                try:
                    with connection.apart():
                        made.append((change, change.make(connection)))
                except (StorageFailed, Deposed):
                    raise
                except Exception as error:  # noqa: BLE001 - it is its caller's, who gets it
                    change.error = error
        return made
