"""What a journal demands of a database, and a SQLite file as one: WAL, ``synchronous = FULL``."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from sealmarket.sqlite_file import open_durable
from sealmarket_oracle.errors import JournalUnwritable


class Connection(Protocol):
    """One connection; transactions begin and end by statements. One thread uses it at a time."""

    def execute(self, query: str, values: tuple[object, ...] = (), /) -> Any:
        """A cursor with ``fetchone``, ``fetchall`` and ``rowcount``."""

    def executemany(self, query: str, rows: Sequence[tuple[object, ...]], /) -> Any:
        """One statement for each of these rows of values, in order."""

    def close(self) -> None:
        """Close it."""


class Database(Protocol):
    """Where one journal lies."""

    @property
    def exists(self) -> bool:
        """Whether there is a journal already, as far as that is known without opening it."""

    def open_writer(self, schema: str) -> Connection:
        """The one connection that writes; makes the tables.

        Raises:
            JournalTaken: another process writes this journal.
            JournalUnwritable: there is no such connection now.
        """

    def open_reader(self) -> Connection:
        """A connection that sees what is committed alone. Raises :class:`JournalUnwritable`."""

    def begin(self, writer: Connection, *, durable: bool) -> bool:
        """Begin a transaction; its commit waits for the disk if it is durable.

        Returns whether another connection may have written since the last one. Raises :class:`JournalTaken` where that
        is another process of the node.
        """

    def commit(self, writer: Connection) -> None:
        """End a transaction: it is on disk when this returns."""

    def roll_back(self, writer: Connection) -> None:
        """End a transaction without its changes, if there is one."""

    def failure(self, error: Exception) -> JournalUnwritable | None:
        """What an error of a connection says about the database; None where it is about the statement."""

    def is_lost(self, connection: Connection) -> bool:
        """Whether a connection is gone for good."""


class translated:  # noqa: N801 - each statement of a journal runs inside of one, so it is no generator
    """A block that raises :class:`JournalUnwritable` for a failure of the database."""

    __slots__ = ("_database",)

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> None:
        """Nothing is entered."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and (failure := self._database.failure(error)) is not None:
            raise failure from error


class SqliteDatabase:
    """A file. The lock on the node's state folder keeps other processes away (:mod:`sealmarket.serving.lock`)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._durable = True
        self._version = 0

    @property
    def exists(self) -> bool:
        """See :class:`Database`."""
        return self.path.exists()

    def open_writer(self, schema: str) -> sqlite3.Connection:
        """See :class:`Database`."""
        self._durable, self._version = True, 0
        with translated(self):
            return open_durable(self.path, schema)

    def open_reader(self) -> sqlite3.Connection:
        """See :class:`Database`."""
        with translated(self):
            opened = open_durable(self.path, "")
            opened.execute("PRAGMA query_only = ON")
            return opened

    def begin(self, writer: Connection, *, durable: bool) -> bool:
        """See :class:`Database`. WAL is one sequence, so what a durable commit follows is on disk with it."""
        if durable != self._durable:
            writer.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        writer.execute("BEGIN IMMEDIATE")
        before, (self._version,) = self._version, writer.execute("PRAGMA data_version").fetchone()
        return before != self._version

    def commit(self, writer: Connection) -> None:
        """See :class:`Database`."""
        writer.execute("COMMIT")

    def roll_back(self, writer: Connection) -> None:
        """See :class:`Database`: a commit that failed for want of disk has already rolled back by itself."""
        if isinstance(writer, sqlite3.Connection) and writer.in_transaction:
            writer.execute("ROLLBACK")

    def failure(self, error: Exception) -> JournalUnwritable | None:
        """See :class:`Database`."""
        if not isinstance(error, sqlite3.OperationalError):
            return None
        return JournalUnwritable(f"the journal's disk takes no writes: {error}", "make room in the state folder")

    def is_lost(self, connection: Connection) -> bool:
        """See :class:`Database`: a file is there."""
        del connection
        return False
