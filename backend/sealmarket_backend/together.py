"""Changes of several threads in one transaction: what one of them waits for, the disk, the others wait for with it.

The thread that comes first carries out the changes of all that have come by then. Each stands for itself: one that is
refused is taken back alone. All of them are on disk when their callers go on, or none is.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

from sealmarket_backend.errors import Deposed, StorageFailed
from sealmarket_backend.tables import Connection, Database

T = TypeVar("T")
MOST_TOGETHER = 64
"""Changes of one transaction."""


class _Change(Generic[T]):
    """One caller's, and what became of it."""

    def __init__(self, make: Callable[[Connection], T]) -> None:
        self.make = make
        self.made: list[T] = []
        self.error: BaseException | None = None

    @property
    def is_over(self) -> bool:
        return bool(self.made) or self.error is not None

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
        self._writing = threading.Lock()

    def write(self, make: Callable[[Connection], T]) -> T:
        """Carry out a change; returns what it made, once that is on disk.

        Raises:
            StorageFailed: the database takes no writes, and nothing was changed.
            and what the change itself raises, which then changed nothing.
        """
        change = _Change(make)
        self._waiting.append(change)
        with self._writing:
            while not change.is_over:
                self._carry_out([self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_TOGETHER))])
        return change.result()

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
