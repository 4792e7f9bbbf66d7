"""A journal in a PostgreSQL that several processes of one node may reach, of which one writes.

1. Who writes holds an advisory lock, on the very session that it writes through: where the session ends, however it
   ends, the lock goes with it, and so does the transaction.
2. Who takes the lock takes the next **fencing token**. Each transaction reads the token first, under a lock of its row,
   and is refused where another one was given out since. So of two processes that both believe that they write, as after
   a failover or where one was stopped for a minute, one does; the other learns it, and signs nothing any more.
3. A process whose session was cut opens another one. It goes on only if it gets the lock and its token is still the
   last: otherwise another process has signed since, and what this one has in memory is no longer the journal.
4. A commit whose answer is lost may have been made. Nothing of it is served before a later session has read it.

The server is trusted with what a disk is trusted with: its fsync must be on, and what it has confirmed must stay.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from sealmarket.postgres import SESSION, plain, translated
from sealmarket_oracle.errors import InvalidConfig, JournalTaken, JournalUnwritable
from sealmarket_oracle.storage.databases import Connection

_log = logging.getLogger("sealmarket.oracle")
SCHEMES = ("postgresql://", "postgresql+psycopg://")
SIGNERS = 0x5EA3
"""The class of the advisory locks of journals; the other half is the schema that a journal lies in."""
_LOCK = f"{SIGNERS}, hashtext(current_schema())"
_DURABLE = "-c synchronous_commit=on"
_FENCE = """
CREATE TABLE IF NOT EXISTS fence (
    "only" BIGINT PRIMARY KEY CHECK ("only" = 1), token BIGINT NOT NULL, holder TEXT NOT NULL
);
INSERT INTO fence VALUES (1, 0, '') ON CONFLICT DO NOTHING;
"""
_TYPES = {
    "BLOB": "BYTEA",
    "INTEGER": "BIGINT",
    ") STRICT": ")",
    "PRIMARY KEY (job_id, evidence_hash, epoch)": (
        "rowid BIGINT GENERATED ALWAYS AS IDENTITY, PRIMARY KEY (job_id, evidence_hash, epoch)"
    ),
}
"""What SQLite's schema has for this one; ``rowid`` is the order of decisions, which SQLite keeps by itself."""


class PostgresConnection:
    """A session of psycopg that reads statements as SQLite does."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    def execute(self, query: str, values: tuple[object, ...] = (), /) -> Any:
        """See :class:`Connection`."""
        if not values:
            return self.raw.execute(query.encode())
        return self.raw.execute(translated(query), [_written(value) for value in values])

    def executemany(self, query: str, rows: Sequence[tuple[object, ...]], /) -> Any:
        """See :class:`Connection`."""
        return self.raw.cursor().executemany(translated(query), [[_written(value) for value in row] for row in rows])

    def close(self) -> None:
        """See :class:`Connection`."""
        self.raw.close()


class PostgresDatabase:
    """One schema of a PostgreSQL, as :class:`~sealmarket_oracle.storage.databases.Database`."""

    exists = True
    """What is there is known once it is open: the mark tells then."""

    def __init__(self, url: str) -> None:
        """Raises :class:`InvalidConfig`: the URL is none of PostgreSQL's. No message has the URL in it."""
        try:
            from psycopg import ProgrammingError
            from psycopg.conninfo import conninfo_to_dict
        except ImportError:
            raise InvalidConfig(
                "a journal in PostgreSQL needs psycopg", remedy="pip install 'sealmarket-oracle[postgres]'"
            ) from None
        scheme = next((one for one in SCHEMES if url.startswith(one)), None)
        if scheme is None:
            raise InvalidConfig("the journal's URL begins with postgresql://", remedy="or leave `journal` out: SQLite")
        try:
            given: dict[str, Any] = conninfo_to_dict("postgresql://" + url.removeprefix(scheme))
        except ProgrammingError:
            raise InvalidConfig(
                "the journal's URL does not read", remedy="write postgresql://USER@HOST/DATABASE"
            ) from None
        given["options"] = f"{SESSION} {_DURABLE} {given.get('options') or ''}"
        self._given = {"connect_timeout": "5", "application_name": "sealmarket-oracle"} | given
        self._token: int | None = None

    def open_writer(self, schema: str) -> PostgresConnection:
        """See :class:`Database`: the lock, the tables, the next token."""
        opened = self._open()
        try:
            self._take(opened, schema)
        except Exception as error:
            opened.close()
            failure = self.failure(error)
            if failure is None:
                raise
            raise failure from error
        return opened

    def _take(self, opened: PostgresConnection, schema: str) -> None:
        if not opened.execute(f"SELECT pg_try_advisory_lock({_LOCK})").fetchone()[0]:
            self._refuse(opened)
        opened.execute(f"BEGIN; {_FENCE}{_of_postgres(schema)} COMMIT")
        if self._token is not None:
            self._require(opened, "SELECT token, holder FROM fence")
        if opened.execute("SHOW fsync").fetchone()[0] != "on":
            _log.warning("the journal's database runs with fsync off: a power cut may take promises back")
        holder = f"{socket.gethostname()}, process {os.getpid()}"
        query = "UPDATE fence SET token = token + 1, holder = ? RETURNING token"
        self._token = int(opened.execute(query, (holder,)).fetchone()[0])
        _log.info("this process writes the journal under token %d", self._token)

    def open_reader(self) -> PostgresConnection:
        """See :class:`Database`."""
        return self._open(" -c default_transaction_read_only=on")

    def _open(self, options: str = "") -> PostgresConnection:
        import psycopg

        try:
            return PostgresConnection(
                psycopg.connect(**self._given | {"options": self._given["options"] + options}, autocommit=True)
            )
        except psycopg.Error as error:
            raise _away(error) from error

    def begin(self, writer: Connection, *, durable: bool) -> bool:
        """See :class:`Database`: the row of the token stays locked until the transaction ends."""
        lazily = "" if durable else "; SET LOCAL synchronous_commit = off"
        writer.execute(f"BEGIN ISOLATION LEVEL READ COMMITTED{lazily}")
        try:
            self._require(writer, "SELECT token, holder FROM fence FOR UPDATE")
        except BaseException:  # a look that was cancelled as well: what stays open refuses every later BEGIN
            with suppress(Exception):
                writer.execute("ROLLBACK")
            raise
        return False

    def _require(self, connection: Connection, query: str) -> None:
        token, holder = connection.execute(query).fetchone()
        if token != self._token:
            raise JournalTaken(f"{holder} has token {token}", f"{self._token}")

    def commit(self, writer: Connection) -> None:
        """See :class:`Database`: PostgreSQL answers the commit of a transaction that failed with its end."""
        if (ended := writer.execute("COMMIT").statusmessage) != "COMMIT":
            raise _away(f"it answered a commit with {ended}")

    def roll_back(self, writer: Connection) -> None:
        """See :class:`Database`."""
        writer.execute("ROLLBACK")

    def failure(self, error: Exception) -> JournalUnwritable | None:
        """See :class:`Database`: a session that is gone, a full disk, a server that may only read."""
        import psycopg

        about = psycopg.OperationalError | psycopg.InterfaceError | psycopg.InternalError
        return _away(error) if isinstance(error, about) else None

    def is_lost(self, connection: Connection) -> bool:
        """See :class:`Database`."""
        return isinstance(connection, PostgresConnection) and bool(connection.raw.closed)

    def _refuse(self, opened: PostgresConnection) -> None:
        """Another session has the lock: another process's, or one of this process's that the server believes alive."""
        there = opened.execute("SELECT to_regclass('fence')").fetchone()[0]
        row = opened.execute("SELECT token, holder FROM fence").fetchone() if there else None
        if row is not None and row[0] == self._token:
            raise _away("an earlier session of this process is not over yet")
        raise JournalTaken(f"{row[1]} has token {row[0]}" if row else "it is being opened", "no other process")


def _away(error: object) -> JournalUnwritable:
    """What is said of a failure, to strangers at the listener too: no address of the database. The log has it."""
    said = getattr(getattr(error, "diag", None), "message_primary", None)
    if isinstance(error, Exception) and not said:
        _log.warning("the journal's database does not answer: %s", str(error).strip()[:500])
        said = "it does not answer"
    return JournalUnwritable(
        f"the journal's database takes no writes: {str(said or error)[:300]}",
        "start it, see that this machine reaches it, and make room on its disk",
    )


def _written(value: object) -> object:
    """As a column takes it: no text of PostgreSQL's has a NUL in it, and reasons may quote what strangers wrote."""
    found = plain(value)
    return found.replace("\0", "\ufffd") if isinstance(found, str) else found


def _of_postgres(schema: str) -> str:
    for sqlites, ours in _TYPES.items():
        schema = schema.replace(sqlites, ours)
    return schema
