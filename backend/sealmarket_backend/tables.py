"""What the backend remembers: the order book, the index of the chain, and what parties posted.

The chain is the truth about jobs and assets; those tables can be thrown away and built again from events. The order
book is the only thing here that exists nowhere else, and an order counts as accepted once it is committed.

A request goes ``open -> matched | cancelled | expired``, an offer ``open -> cancelled | expired | filled``. Each step
names the state it starts from in its ``WHERE``, except ``matched``, which follows the chain from any state. An open
offer with a ``reason`` cannot be matched now, and may be again.

One transaction writes at a time, of all processes on one database; readers see what was committed. A process that
lost its connection reads again on another one; what it was writing is refused, and then it is unknown whether it was
committed: the party that posted it posts it again, which is the same as once. Once a database has not come back in
:data:`PATIENCE_SECONDS`, nothing waits for it any more: all is refused at once, but for one call in
:data:`LOOK_SECONDS`, which looks whether it is back.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import PoolProxiedConnection

from sealmarket_backend.database.dialects import Dialect, Result, Row, dialect_of
from sealmarket_backend.database.migrate import migrate
from sealmarket_backend.errors import Deposed, DiskFailed, StorageFailed
from sealmarket_enclave.protocol.errors import SealmarketError

T = TypeVar("T")
log = logging.getLogger(__name__)
PATIENCE_SECONDS = 10.0
"""How long a database that went away may take to come back, before it counts as away."""
_AGAIN_SECONDS = 0.1
LOOK_SECONDS = 1.0
"""How often one that is away is asked whether it is back."""


def _failed(error: Exception) -> StorageFailed:
    """What a driver's error says: a disk that takes no writes has kept nothing; of others that is not known."""
    refused = getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)
    return DiskFailed(str(error)) if refused else StorageFailed(str(error))


class Connection:
    """One transaction's statements."""

    def __init__(self, dialect: Dialect, raw: Any, failures: tuple[type[Exception], ...]) -> None:
        self._dialect, self.raw, self._failures = dialect, raw, failures
        self.after: list[Callable[[], None]] = []
        """What to do once it is committed."""
        self.notified: set[str] = set()
        """The topics of which others will hear once it is."""
        self._last: dict[str, dict[tuple[object, ...], None]] = {}

    @property
    def kind(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._dialect.name

    def execute(self, query: str, values: Sequence[object] = ()) -> Result:
        """Run one statement. Raises :class:`StorageFailed`."""
        try:
            return self._dialect.execute(self.raw, query, values)  # type: ignore[no-any-return]
        except self._failures as error:
            raise _failed(error) from error

    def executemany(self, query: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement for each of some rows. Raises :class:`StorageFailed`."""
        try:
            self._dialect.execute_many(self.raw, query, rows)
        except self._failures as error:
            raise _failed(error) from error

    def later(self, query: str, values: Sequence[object] = ()) -> None:
        """Run a statement whose result no caller needs before the commit, together with others like it and in any order
        among them; of equal ones, one."""
        self._last.setdefault(query, {})[tuple(values)] = None

    @contextmanager
    def apart(self) -> Iterator[None]:
        """A part of the transaction that is taken back alone where the block raises."""
        last = {query: dict(rows) for query, rows in self._last.items()}
        after, notified = len(self.after), set(self.notified)
        self.execute("SAVEPOINT one")
        try:
            yield
        except (StorageFailed, Deposed):
            raise  # it concerns the whole transaction
        except BaseException:
            self.execute("ROLLBACK TO one")
            self._last, self.notified = last, notified
            del self.after[after:]
            self.execute("RELEASE one")
            raise
        self.execute("RELEASE one")

    def commit(self) -> None:
        """End the transaction, after what was left for later. Raises :class:`StorageFailed`."""
        last = [(query, list(rows)) for query, rows in self._last.items()]
        try:
            self._dialect.commit(self.raw, last)
        except self._failures as error:
            raise _failed(error) from error


class Database:
    """The tables at a path or URL. ``Database(None)`` is the twin in memory, of one process."""

    def __init__(self, where: Path | str | None, patience: float = PATIENCE_SECONDS) -> None:
        """Raises :class:`UnknownDatabase`, :class:`StorageFailed`, and :class:`ForeignTables` for tables of another
        release."""
        self.dialect, self._patience = dialect_of(where), patience
        self._engine = self.dialect.engine()
        dbapi = self._engine.dialect.dbapi
        assert dbapi is not None
        self._failures: tuple[type[Exception], ...] = (dbapi.Error, SQLAlchemyError)
        self._writing = threading.RLock()
        self._writer: PoolProxiedConnection | None = None
        self._mine = threading.local()
        self._asking = threading.Lock()
        self._next_look: float | None = None
        """Of a database that is away, when to ask it again; None while it is not."""
        self._shared = threading.RLock() if self.dialect.in_memory else None
        """One connection for all threads: then one thread at a time uses it."""
        self.fence: Callable[[Connection], None] = lambda _connection: None
        """Raises in a transaction of the leader, where another process leads now."""
        try:
            with self._answering():
                migrate(self.dialect, self._engine)
        except BaseException:
            self._engine.dispose()
            raise

    def close(self) -> None:
        """Close every connection, once the present transaction has ended."""
        with self._writing:
            self._let_go()
            self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction: all of it is on disk when the block ends, or none of it. Raises :class:`StorageFailed`."""
        with self._writing, self._alone():
            if self._present() is not None:
                raise RuntimeError("a transaction of this thread is under way: write in that one")
            connection = self._begun()
            self._mine.connection = connection
            try:
                yield connection
                connection.commit()
            except BaseException:
                self._roll_back(connection)
                raise
            finally:
                self._mine.connection = None
        for step in connection.after:
            step()

    @contextmanager
    def lead(self) -> Iterator[Connection]:
        """As :meth:`write`, for what the leader alone may do. Raises :class:`Deposed` where another one leads now."""
        with self.write() as connection:
            self.fence(connection)
            yield connection

    def rows(self, query: str, *values: object) -> list[Row]:
        """All rows of a query. Raises :class:`StorageFailed`."""
        if (present := self._present()) is not None:
            return present.execute(query, values).fetchall()
        with self._alone():
            return self._asked(lambda raw: self.dialect.execute(raw, query, values).fetchall())

    def row(self, query: str, *values: object) -> Row | None:
        """The first row of a query, or None. Raises :class:`StorageFailed`."""
        if (present := self._present()) is not None:
            return present.execute(query, values).fetchone()  # type: ignore[no-any-return]
        with self._alone():
            found: Row | None = self._asked(lambda raw: self.dialect.execute(raw, query, values).fetchone())
            return found

    def each(self, query: str, *values: object) -> Iterator[Row]:
        """The rows of a query, some at a time: for tables that may be larger than memory. Raises
        :class:`StorageFailed`."""
        with self._answering(), self._alone():
            pooled = self._engine.raw_connection()
            try:
                yield from self.dialect.each(pooled.driver_connection, query, values)
            finally:
                pooled.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if self._shared is None:
            yield
        else:
            with self._shared:
                yield

    def _present(self) -> Connection | None:
        found: Connection | None = getattr(self._mine, "connection", None)
        return found

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except self._failures as error:
            raise _failed(error) from error

    def _asked(self, ask: Callable[[Any], T]) -> T:
        """An answer on any connection; one that was lost is asked for again on another, as long as patience lasts."""

        def once() -> T:
            pooled = self._engine.raw_connection()
            try:
                return ask(pooled.driver_connection)
            except self._failures as error:
                self._drop_lost(pooled, error)
                raise
            finally:
                pooled.close()

        return self._patiently(once)

    def _begun(self) -> Connection:
        """A new transaction, in which nothing was done yet; on one connection as long as that lasts, whose cache of the
        file no other's writing makes void."""

        def once() -> Connection:
            pooled = self._writer = self._writer or self._engine.raw_connection()
            connection = Connection(self.dialect, pooled.driver_connection, self._failures)
            try:
                self.dialect.execute(connection.raw, self.dialect.begin, ())
            except self._failures as error:
                if not self.dialect.is_lost(error):
                    self._roll_back(connection)  # it may have begun, and waited for its turn in vain
                self._drop_lost(pooled, error)
                self._let_go()
                raise
            return connection

        return self._patiently(once)

    def _let_go(self) -> None:
        if (writer := self._writer) is not None:
            self._writer = None
            writer.close()

    def _patiently(self, once: Callable[[], T]) -> T:
        self._require_there()
        until = time.monotonic() + self._patience
        while True:
            try:
                found = once()
            except self._failures as error:
                if not self.dialect.is_lost(error):
                    raise _failed(error) from error
                if self._next_look is not None or time.monotonic() >= until:
                    self._next_look = time.monotonic() + LOOK_SECONDS
                    log.warning("the database is away: %s", error)
                    raise _failed(error) from error
                log.warning("the database is asked again: %s", error)
                threading.Event().wait(_AGAIN_SECONDS)
            else:
                if self._next_look is not None:
                    self._next_look = None
                    log.warning("the database is back")
                return found

    def _require_there(self) -> None:
        """Refuse at once while the database is away, unless it is time to look again. Raises :class:`StorageFailed`."""
        with self._asking:
            look = self._next_look  # read once: an answer to another thread makes it None at any moment
            if look is None:
                return
            if time.monotonic() < look:
                raise StorageFailed("the database is away")
            self._next_look = time.monotonic() + LOOK_SECONDS

    def _roll_back(self, connection: Connection) -> None:
        """Also after a commit that failed: what the database heard of it, it has done all the same."""
        try:
            self.dialect.roll_back(connection.raw)
        except self._failures as error:
            log.warning("a transaction ends with its connection: %s", error)
            if self._writer is not None:
                self._writer.invalidate()
            self._let_go()

    def _drop_lost(self, pooled: PoolProxiedConnection, error: Exception) -> None:
        if self.dialect.is_lost(error):
            pooled.invalidate()


def readable(rows: Iterable[Row], read: Callable[[Row], T]) -> Iterator[T]:
    """What the rows hold; one that does not read (a damaged disk, another release's shape) concerns itself alone."""
    for row in rows:
        try:
            yield read(row)
        except (SealmarketError, ValueError, KeyError, TypeError) as error:
            log.warning("a row is left out: %s", error)
