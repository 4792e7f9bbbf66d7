"""A journal's connections: one writes, for all threads in groups, and one reads what is committed.

No thread sees what is not on disk: it reads through the writer inside of its own :meth:`JournalStore.writing`, and
else through the reader, which waits while a commit is under way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from sealmarket_oracle.errors import JournalUnwritable
from sealmarket_oracle.storage.databases import Connection, Database, translated
from sealmarket_oracle.storage.facts import Facts
from sealmarket_oracle.storage.groups import Groups, Session

K = TypeVar("K")
V = TypeVar("V")
_MOST_KEYS = 64
"""Keys of one statement."""
_INSIDE = nullcontext()
"""A part of the transaction that this thread is in."""


class JournalStore:
    """The tables of one journal. Threads may share it."""

    def __init__(self, database: Database, schema: str) -> None:
        """Raises :class:`JournalError`: there is no such journal, or it is not to be written."""
        self._database, self._schema = database, schema
        self._reading = threading.RLock()
        self._writer: Connection | None = None
        self._reader: Connection | None = None
        self._closed = self._stale = False
        self._groups = Groups(
            Session(begin=self._begin, save=self._save, undo=self._undo, roll_back=self._roll_back, commit=self._commit)
        )
        try:
            self._open_writer()
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        """What a kind of journal does once it is open."""

    def _completed(self) -> None:
        """What is written with each transaction, at its end."""

    def _committed(self) -> None:
        """What follows each commit, before anyone sees what was written. Raises ``OSError``."""

    def _undone(self) -> None:
        """Something was undone, or another connection writes now: what memory has of the tables is read again."""

    def writing(self, *, durable: bool = True) -> AbstractContextManager[None]:
        """One transaction: all or nothing, and on disk when it ends (:mod:`groups`).

        One that is not ``durable`` holds what the chain gives again, or what a later one has with it.

        Raises:
            JournalUnwritable: it is not on disk; a later one may be.
            JournalTaken: another process writes this journal now.
        """
        return _INSIDE if self._groups.is_writing else self._groups.member(durable=durable)

    def _run(self, query: str, values: tuple[object, ...] = ()) -> Any:
        """Run one statement inside of :meth:`writing`; its cursor."""
        if self._writer is None:
            raise AssertionError("a statement that writes is inside of a transaction")
        with translated(self._database):
            return self._writer.execute(query, values)

    def _run_all(self, query: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Run one statement for each of these rows of values, inside of :meth:`writing`."""
        if self._writer is None:
            raise AssertionError("a statement that writes is inside of a transaction")
        with translated(self._database):
            self._writer.executemany(query, rows)

    def _one(self, query: str, *values: object) -> Any:
        """The first row, or None."""
        found = self._rows(query, *values)
        return found[0] if found else None

    def _rows(self, query: str, *values: object) -> list[Any]:
        if self._groups.is_writing:
            rows: list[Any] = self._run(query, values).fetchall()
            return rows
        with self._reading, translated(self._database):
            if self._reader is not None and self._database.is_lost(self._reader):
                self._reader = None
            if self._reader is None:
                self._reader = self._database.open_reader()
            found: list[Any] = self._reader.execute(query, values).fetchall()
            return found

    def _rows_of(self, query: str, keys: Sequence[bytes]) -> list[Any]:
        """The rows of a query that ends in a column, for the keys that the column has.

        A statement takes 1, 2, 4 keys and so on, the last of them again, so that few texts stay prepared.
        """
        found: list[Any] = []
        for first in range(0, len(keys), _MOST_KEYS):
            some = [bytes(key) for key in keys[first : first + _MOST_KEYS]]
            some += some[-1:] * ((1 << (len(some) - 1).bit_length()) - len(some))
            found += self._rows(f"{query} IN ({', '.join('?' * len(some))})", *some)
        return found

    def _known(self, facts: Facts[K, V], key: K, read: Callable[[], V | None]) -> V | None:
        """What is on disk and never changes. Inside of a transaction the tables answer: another process may write."""
        if self._groups.is_writing:
            return read()
        found = facts.get(key)
        if found is None and (found := read()) is not None:
            facts.keep(key, found)
        return found

    def close(self) -> None:
        """Close the connections, once what is being written has ended."""
        with self._groups.quiet(), self._reading:
            self._closed = True
            opened, self._writer, self._reader = (self._writer, self._reader), None, None
            for connection in opened:
                if connection is not None:
                    connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- what the session does --------------------------------------------------------------------------------

    def _open_writer(self) -> None:
        if self._writer is not None:
            with suppress(Exception):  # it is lost
                self._writer.close()
            self._writer = None
        self._writer = self._database.open_writer(self._schema)

    def _begin(self, durable: bool) -> None:
        if self._closed:
            raise JournalUnwritable("the journal is closed", "start the node again")
        try:
            self._begin_once(durable)
        except JournalUnwritable:
            if self._writer is None or not self._database.is_lost(self._writer):
                raise
            self._begin_once(durable)  # the session was cut while nothing was written
        if self._stale:
            self._read_again()

    def _read_again(self) -> None:
        try:
            self._undone()
        except BaseException:
            if self._writer is not None:
                with suppress(Exception):  # what stays open refuses every later one
                    self._database.roll_back(self._writer)
            raise
        self._stale = False

    def _begin_once(self, durable: bool) -> None:
        if self._writer is None or self._database.is_lost(self._writer):
            self._open_writer()
            self._stale = True
        if self._writer is None:
            raise AssertionError("a writer that was opened")
        with translated(self._database):
            self._stale |= self._database.begin(self._writer, durable=durable)

    def _save(self) -> None:
        self._run("SAVEPOINT member")

    def _undo(self) -> None:
        self._run("ROLLBACK TO SAVEPOINT member")
        self._undone()

    def _commit(self) -> None:
        if self._writer is None:
            raise AssertionError("a commit ends a transaction")
        with self._reading:
            try:
                self._completed()
                with translated(self._database):
                    self._database.commit(self._writer)
            except BaseException:
                self._roll_back()
                raise
            self._committed()

    def _roll_back(self) -> None:
        self._stale = True
        if self._writer is None:
            return
        try:
            with translated(self._database):
                self._database.roll_back(self._writer)
            self._undone()
        except JournalUnwritable:
            return  # the transaction went with its connection
        self._stale = False
