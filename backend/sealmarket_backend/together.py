"""Changes of several threads in one transaction: what one of them waits for, the disk, the others wait for with it.

1. The thread that comes first carries out the changes of all that have come by then; the first that comes meanwhile
   does so after it. The others sleep until their own change is over.
2. Before it writes, it waits for as many as came together last time, at most as long as the last transaction took and
   never longer than :data:`LONGEST_WAIT`. So a lone caller waits for none, and a crowd does not pay for one transaction
   each.
3. Each change stands for itself: one that is refused is taken back alone. All of them are on disk when their callers go
   on, or none is.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

from sealmarket_backend.errors import Deposed, StorageFailed
from sealmarket_backend.tables import Connection, Database

T = TypeVar("T")
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


class Together:
    """``around`` holds what changes with the table; where its block raises, it takes its own changes back."""

    def __init__(
        self,
        database: Database,
        around: Callable[[], AbstractContextManager[None]],
        tell: Callable[[Connection], None] = lambda _connection: None,
    ) -> None:
        """``tell`` says, within each transaction, that there was one."""
        self._database, self._around, self._tell = database, around, tell
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
        with self._lock:
            self._waiting.append(change)
            is_first, self._carrying = not self._carrying, True
            if len(self._waiting) >= self._expected:
                self._came.notify()
        if not is_first:
            change.wait()
        if not change.is_over:
            self._take_turn(change)
        return change.result()

    def _take_turn(self, own: _Change[Any]) -> None:
        """Carry out what has come, wake its callers, and hand over to the first that came meanwhile."""
        changes: list[_Change[Any]] = []
        try:
            changes = self._gathered()
            start = time.monotonic()
            self._carry_out(changes)
            self._expected, self._seconds = len(changes), time.monotonic() - start
        finally:
            with self._lock:
                following = self._waiting[0] if self._waiting else None
                self._carrying = following is not None
            if following is not None:
                following.wake()
            for change in changes:
                if change is not own:
                    change.wake()

    def _gathered(self) -> list[_Change[Any]]:
        with self._lock:
            if self._expected > 1:
                self._came.wait_for(
                    lambda: len(self._waiting) >= self._expected, timeout=min(self._seconds, LONGEST_WAIT)
                )
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_TOGETHER))]

    def _carry_out(self, changes: list[_Change[Any]]) -> None:
        made: list[tuple[_Change[Any], Any]] = []
        try:
            with self._around(), self._database.write() as connection:
                for change in changes:
                    self._make(connection, change, made)
                self._tell(connection)
        except BaseException as error:  # noqa: BLE001 - each caller gets it
            for change in changes:
                change.error = change.error or error
            return
        for change, result in made:
            change.made.append(result)

    @staticmethod
    def _make(connection: Connection, change: _Change[Any], made: list[tuple[_Change[Any], Any]]) -> None:
        """One change within the transaction; its own refusal concerns it alone, the disk's all of them."""
        connection.execute("SAVEPOINT one")
        try:
            made.append((change, change.make(connection)))
        except (StorageFailed, Deposed):
            raise
        except Exception as error:  # noqa: BLE001 - it is its caller's, who gets it
            change.error = error
            connection.execute("ROLLBACK TO one")
        connection.execute("RELEASE one")
