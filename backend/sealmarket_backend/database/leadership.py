"""Which of the processes on one database matches and keeps: one at a time, and every one of them can.

1. The leader holds a lock that ends with its session: PostgreSQL's advisory lock on a connection of its own, or the
   kernel's lock on a file beside a SQLite file. Where a process ends, however it ends, another one takes the lock.
2. The process that takes it begins a term, the next number in the table ``leadership``. A leader's transaction names
   its term and is refused once another one is under way (:class:`Deposed`): a process that lost its session without
   knowing, as one that was stopped for a minute, changes nothing any more.
3. Before it sends to the chain, the leader looks at the term again. What two leaders sent all the same, the contract
   takes once: a match consumes its request.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
from pathlib import Path
from typing import Any, Protocol

from sealmarket_backend.database.dialects import LEADERS, Postgres, Sqlite
from sealmarket_backend.errors import Deposed
from sealmarket_backend.tables import Connection, Database

log = logging.getLogger(__name__)
_NOBODY = 0


class Lock(Protocol):
    """What one process holds at a time, until it lets go or ends."""

    def take(self) -> bool:
        """Whether this process holds it now; takes it where no process does."""

    def let_go(self) -> None:
        """Others may take it."""


class _Free:
    """Tables in memory are of one process."""

    def take(self) -> bool:
        """As :meth:`Lock.take`."""
        return True

    def let_go(self) -> None:
        """As :meth:`Lock.let_go`."""


class _FileLock:
    """The kernel's lock on a file."""

    def __init__(self, path: Path) -> None:
        self._path, self._handle = path, -1

    def take(self) -> bool:
        """As :meth:`Lock.take`."""
        if self._handle >= 0:
            return True
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        self._handle = handle
        return True

    def let_go(self) -> None:
        """As :meth:`Lock.let_go`."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class _SessionLock:
    """An advisory lock of PostgreSQL, on a session of its own."""

    def __init__(self, dialect: Postgres) -> None:
        self._dialect = dialect
        self._session: Any = None
        self._held = False

    def take(self) -> bool:
        """As :meth:`Lock.take`: the server is asked each time, so that a session that ended is noticed."""
        import psycopg

        query = "SELECT 1" if self._held else f"SELECT pg_try_advisory_lock({LEADERS}, hashtext(current_schema()))"
        try:
            if self._session is None:
                self._session = self._dialect.open()
            self._held = bool(self._session.execute(query).fetchone()[0])
        except psycopg.Error as error:
            log.warning("the session that leads is lost: %s", error)
            self.let_go()
        return self._held

    def let_go(self) -> None:
        """As :meth:`Lock.let_go`."""
        session, self._session, self._held = self._session, None, False
        if session is not None:
            session.close()


class Leadership:
    """One process's part in it. It starts as a replica."""

    def __init__(self, database: Database) -> None:
        self._database, self._lock = database, _lock_of(database)
        self.term = _NOBODY
        """The term in which this process leads; 0 while it does not."""
        database.fence = self._require

    @property
    def leads(self) -> bool:
        """Whether this process led when it looked last."""
        return self.term != _NOBODY

    def hold(self) -> bool:
        """Whether this process leads; it begins a term where no process does. Raises :class:`StorageFailed`."""
        if not self._lock.take():
            self.term = _NOBODY
        elif not self.leads:
            self.term = self._begun()
            log.info("this process leads the market in term %d", self.term)
        return self.leads

    def require(self) -> None:
        """Return while this process leads. Raises :class:`Deposed`, :class:`StorageFailed`."""
        row = self._database.row("SELECT term FROM leadership WHERE id = 1")
        self._compare(row["term"] if row else _NOBODY)

    def lose(self) -> None:
        """Lead no more."""
        self.term = _NOBODY
        self._lock.let_go()

    def _begun(self) -> int:
        with self._database.write() as connection:
            row = connection.execute(
                "UPDATE leadership SET term = term + 1, holder = ? WHERE id = 1 RETURNING term",
                (f"{socket.gethostname()}, process {os.getpid()}",),
            ).fetchone()
            return int(row[0])

    def _require(self, connection: Connection) -> None:
        self._compare(connection.execute("SELECT term FROM leadership WHERE id = 1").fetchone()[0])

    def _compare(self, found: int) -> None:
        if not self.leads or found != self.term:
            raise Deposed(self.term, found)


def _lock_of(database: Database) -> Lock:
    match database.dialect:
        case Postgres():
            return _SessionLock(database.dialect)
        case Sqlite(path=Path() as path):
            return _FileLock(path.with_name(f"{path.name}-leader"))
        case _:
            return _Free()
