"""What SQLite and PostgreSQL do differently: how a connection is opened, a value is written, and rows are read.

Statements here are written once, in the SQL that both read, with ``?`` for each value, and go to the driver as they
stand: :mod:`sqlalchemy` keeps the schema, the migrations and the pool. Its layer for statements takes as long as what
an order costs beside its signature.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool, QueuePool, StaticPool

from sealmarket.postgres import SESSION, is_away, plain, translated
from sealmarket.sqlite_file import open_durable
from sealmarket_enclave.protocol.errors import SealmarketError

READERS = 16
"""Connections at once, of one process."""
_ROWS_AT_ONCE = 256
_SQLITE, _POSTGRES = "sqlite", "postgresql+psycopg"
_POOLED: dict[str, Any] = {"poolclass": QueuePool, "pool_size": READERS, "max_overflow": 0, "pool_use_lifo": True}
_ALONE: dict[str, Any] = {"poolclass": NullPool}


class UnknownDatabase(SealmarketError):
    """The URL names no database that the backend knows."""

    exit_code = 2

    def __init__(self, detail: str) -> None:
        super().__init__(
            f"the database's URL is not usable: {detail}",
            remedy="give sqlite:///PATH, or postgresql+psycopg://USER@HOST/DATABASE and install"
            " 'sealmarket-backend[postgres]'",
        )


Statements = tuple[str, Sequence[Sequence[object]]]
"""A statement, and the values of each of its runs."""


class Row(Protocol):
    """One row: its values by name or place."""

    def __getitem__(self, key: Any, /) -> Any:
        """One value."""

    def __iter__(self) -> Iterator[Any]:
        """All values."""


class Result(Protocol):
    """What a statement found or changed."""

    rowcount: int

    def fetchone(self) -> Any:
        """The next row, or None."""

    def fetchall(self) -> list[Any]:
        """The rows that are left."""


class Dialect(Protocol):
    """One kind of database."""

    name: str
    begin: str
    """After it no other transaction writes, until this one ends."""

    @property
    def in_memory(self) -> bool:
        """Whether all is lost with its one connection."""

    @property
    def is_shared(self) -> bool:
        """Whether several processes may use it at once."""

    def engine(self, *, pooled: bool = True) -> Engine:
        """Connections to it; they begin and end transactions by statements."""

    def execute(self, raw: Any, query: str, values: Sequence[object]) -> Any:
        """Run one statement on a driver's connection."""

    def execute_many(self, raw: Any, query: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement for each of some rows."""

    def commit(self, raw: Any, last: Sequence[Statements]) -> None:
        """End the transaction, after these statements, of which each is run for each of its rows."""

    def each(self, raw: Any, query: str, values: Sequence[object]) -> Iterator[Any]:
        """Rows some at a time, however many there are."""

    def roll_back(self, raw: Any) -> None:
        """End the transaction without its changes."""

    def is_lost(self, error: Exception) -> bool:
        """Whether a connection is gone, or cannot be had now; a statement that is refused is neither."""


class Sqlite:
    """A file, or with ``path`` None tables in memory that end with the process."""

    name, begin = "sqlite", "BEGIN IMMEDIATE"

    def __init__(self, path: Path | None) -> None:
        self.path = path

    @property
    def in_memory(self) -> bool:
        """As :attr:`Dialect.in_memory`."""
        return self.path is None

    @property
    def is_shared(self) -> bool:
        """As :attr:`Dialect.is_shared`."""
        return False

    def engine(self, *, pooled: bool = True) -> Engine:
        """As :meth:`Dialect.engine`."""
        settings: dict[str, Any] = {"creator": self._open, "pool_reset_on_return": None}
        if self.path is None:
            return create_engine("sqlite://", poolclass=StaticPool, **settings)
        return create_engine("sqlite://", **settings, **(_POOLED if pooled else _ALONE))

    def _open(self) -> sqlite3.Connection:
        opened = open_durable(self.path or ":memory:", "")
        opened.row_factory = sqlite3.Row
        opened.execute("PRAGMA foreign_keys = ON")
        return opened

    def execute(self, raw: Any, query: str, values: Sequence[object]) -> Any:
        """As :meth:`Dialect.execute`."""
        return raw.execute(query, values)

    def execute_many(self, raw: Any, query: str, rows: Iterable[Sequence[object]]) -> None:
        """As :meth:`Dialect.execute_many`."""
        raw.executemany(query, rows)

    def commit(self, raw: Any, last: Sequence[Statements]) -> None:
        """As :meth:`Dialect.commit`."""
        for query, rows in last:
            raw.executemany(query, rows)
        raw.execute("COMMIT")

    def each(self, raw: Any, query: str, values: Sequence[object]) -> Iterator[Any]:
        """As :meth:`Dialect.each`."""
        cursor = raw.execute(query, values)
        while some := cursor.fetchmany(_ROWS_AT_ONCE):
            yield from some

    def roll_back(self, raw: Any) -> None:
        """As :meth:`Dialect.roll_back`: a full disk has ended the transaction already."""
        if raw.in_transaction:
            raw.execute("ROLLBACK")

    def is_lost(self, error: Exception) -> bool:
        """As :meth:`Dialect.is_lost`: a file is there."""
        del error
        return False


class PostgresRow:
    """A row of PostgreSQL, read as one of :class:`sqlite3.Row`."""

    __slots__ = ("_places", "_values")

    def __init__(self, places: dict[str, int], values: Sequence[Any]) -> None:
        self._places, self._values = places, values

    def __getitem__(self, key: str | int) -> Any:
        return self._values[self._places[key] if isinstance(key, str) else key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def keys(self) -> list[str]:
        """The columns' names."""
        return list(self._places)


class Postgres:
    """A PostgreSQL, in the schema to which its URL's search path leads."""

    name = "postgresql"

    def __init__(self, url: URL) -> None:
        self.url = url
        # Read committed: one that waited for its turn sees what the one before wrote, whatever the server's default.
        turn = f"SELECT pg_advisory_xact_lock({WRITERS}, hashtext(current_schema()))"
        self.begin = f"BEGIN ISOLATION LEVEL READ COMMITTED; {turn}"

    @property
    def in_memory(self) -> bool:
        """As :attr:`Dialect.in_memory`."""
        return False

    @property
    def is_shared(self) -> bool:
        """As :attr:`Dialect.is_shared`."""
        return True

    def engine(self, *, pooled: bool = True) -> Engine:
        """As :meth:`Dialect.engine`."""
        kind: dict[str, Any] = _POOLED if pooled else _ALONE
        return create_engine(f"{_POSTGRES}://", creator=self.open, pool_reset_on_return=None, **kind)

    def open(self) -> Any:
        """One connection, outside of the pool."""
        import psycopg

        given: dict[str, Any] = self.url.translate_connect_args(username="user", database="dbname")
        for name, value in self.url.query.items():
            given[name] = value if isinstance(value, str) else ",".join(value)
        given.setdefault("connect_timeout", "5")
        given["options"] = f"{SESSION} {given.get('options', '')}"
        return psycopg.connect(**given, autocommit=True, row_factory=_rows)

    def execute(self, raw: Any, query: str, values: Sequence[object]) -> Any:
        """As :meth:`Dialect.execute`."""
        if not values:
            return raw.execute(query.encode())  # as it stands: what undoes a change has texts of others in it
        return raw.execute(translated(query), [plain(value) for value in values])

    def execute_many(self, raw: Any, query: str, rows: Iterable[Sequence[object]]) -> None:
        """As :meth:`Dialect.execute_many`."""
        with raw.cursor() as cursor:
            cursor.executemany(translated(query), [[plain(value) for value in row] for row in rows])

    def commit(self, raw: Any, last: Sequence[Statements]) -> None:
        """As :meth:`Dialect.commit`, in one round trip: where a statement fails, those after it are not run."""
        if not last:
            raw.execute(b"COMMIT")
            return
        with raw.pipeline():
            for query, rows in last:
                self.execute_many(raw, query, rows)
            raw.execute(b"COMMIT")

    def each(self, raw: Any, query: str, values: Sequence[object]) -> Iterator[Any]:
        """As :meth:`Dialect.each`."""
        with raw.transaction(), raw.cursor(name="each") as cursor:
            cursor.itersize = _ROWS_AT_ONCE
            cursor.execute(translated(query), [plain(value) for value in values] or None)
            yield from cursor

    def roll_back(self, raw: Any) -> None:
        """As :meth:`Dialect.roll_back`."""
        raw.execute("ROLLBACK")

    def is_lost(self, error: Exception) -> bool:
        """As :meth:`Dialect.is_lost`."""
        return is_away(error)


WRITERS, LEADERS = 0x5EA1, 0x5EA2
"""The classes of the advisory locks: of who writes, for a transaction, and of who leads, for a session."""


def _rows(cursor: Any) -> Callable[[Sequence[Any]], PostgresRow]:
    places = {column.name: place for place, column in enumerate(cursor.description or ())}
    return lambda values: PostgresRow(places, values)


def dialect_of(where: Path | str | None) -> Dialect:
    """The kind of database at a path or URL. Raises :class:`UnknownDatabase`; its message has no password in it."""
    if where is None or isinstance(where, Path):
        return Sqlite(where)
    scheme = urlsplit(where).scheme
    if scheme not in {_SQLITE, _POSTGRES}:
        raise UnknownDatabase(f"its scheme is {scheme[:40]!r}")
    try:
        url = make_url(where)
    except (ArgumentError, ValueError):
        raise UnknownDatabase("it does not read") from None
    if scheme == _SQLITE:
        if not url.database:
            raise UnknownDatabase("it names no file")
        return Sqlite(Path(url.database))
    try:
        import psycopg  # noqa: F401 - whether it is installed
    except ImportError:
        raise UnknownDatabase("psycopg is not installed") from None
    return Postgres(url)
