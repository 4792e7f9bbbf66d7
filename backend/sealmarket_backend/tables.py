"""What the backend remembers, in SQLite: the order book, the index of the chain, and what parties posted.

The chain is the truth about jobs and assets; those tables can be thrown away and built again from events. The order
book is the only thing here that exists nowhere else, and an order counts as accepted once it is committed.

A request goes ``open -> matched | cancelled | expired``, an offer ``open -> cancelled | expired | filled``. Each step
names the state it starts from in its ``WHERE``, except ``matched``, which follows the chain from any state. An open
offer with a ``reason`` cannot be matched now, and may be again.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sealmarket.sqlite_file import SqliteFile
from sealmarket_backend import undo
from sealmarket_enclave.protocol.errors import SealmarketError

T = TypeVar("T")
log = logging.getLogger(__name__)

_ROWS_AT_ONCE = 256
_SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (
    request_hash BLOB PRIMARY KEY, body BLOB NOT NULL, account BLOB NOT NULL, state TEXT NOT NULL DEFAULT 'open',
    explanation TEXT NOT NULL DEFAULT '[]', job_id BLOB, sequence INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS requests_of_account ON requests (account, state);
CREATE INDEX IF NOT EXISTS open_requests ON requests (sequence) WHERE state = 'open';
CREATE INDEX IF NOT EXISTS requests_by_sequence ON requests (sequence);
CREATE TABLE IF NOT EXISTS senders (request_hash BLOB PRIMARY KEY, peer TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS compute_orders (
    order_hash BLOB PRIMARY KEY, body BLOB NOT NULL, account BLOB NOT NULL, state TEXT NOT NULL DEFAULT 'open',
    sequence INTEGER NOT NULL, used INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS compute_orders_of_account ON compute_orders (account, state);
CREATE INDEX IF NOT EXISTS open_compute_orders ON compute_orders (sequence) WHERE state = 'open';
CREATE INDEX IF NOT EXISTS compute_orders_by_sequence ON compute_orders (sequence);
CREATE TABLE IF NOT EXISTS asset_orders (
    order_hash BLOB PRIMARY KEY, asset_id BLOB NOT NULL, version INTEGER NOT NULL, body BLOB NOT NULL,
    state TEXT NOT NULL DEFAULT 'open', sequence INTEGER NOT NULL, reason TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS orders_of_asset ON asset_orders (asset_id, state);
CREATE INDEX IF NOT EXISTS asset_orders_by_sequence ON asset_orders (sequence);
CREATE TABLE IF NOT EXISTS jobs (
    job_id BLOB PRIMARY KEY, request_hash BLOB NOT NULL UNIQUE, provider BLOB NOT NULL, consumer BLOB NOT NULL,
    status INTEGER NOT NULL, spec BLOB NOT NULL, facts BLOB NOT NULL DEFAULT '{}'
);
CREATE INDEX IF NOT EXISTS jobs_of_provider ON jobs (provider, status);
CREATE INDEX IF NOT EXISTS jobs_of_consumer ON jobs (consumer, status);
CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status);
CREATE TABLE IF NOT EXISTS job_events (
    job_id BLOB NOT NULL, block INTEGER NOT NULL, log_index INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (job_id, block, log_index)
);
CREATE TABLE IF NOT EXISTS assets (
    asset_id BLOB NOT NULL, version INTEGER NOT NULL, owner BLOB NOT NULL, seal BLOB NOT NULL, terms BLOB NOT NULL,
    terms_version INTEGER NOT NULL, revoked INTEGER NOT NULL DEFAULT 0,
    suspended INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (asset_id, version)
);
CREATE TABLE IF NOT EXISTS interruptions (
    job_id BLOB PRIMARY KEY, request_hash BLOB NOT NULL UNIQUE, stopped INTEGER NOT NULL DEFAULT 0,
    excluded INTEGER NOT NULL DEFAULT 0, posted INTEGER NOT NULL DEFAULT 0, shares_deadline INTEGER NOT NULL DEFAULT 0,
    settle_deadline INTEGER NOT NULL DEFAULT 0, returned INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS interruptions_to_return ON interruptions (shares_deadline) WHERE returned = 0;
CREATE TABLE IF NOT EXISTS unreadable (subject BLOB PRIMARY KEY, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS cursor (id INTEGER PRIMARY KEY CHECK (id = 1), block INTEGER NOT NULL, hash BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS parameters (request_hash BLOB PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS envelopes (
    job_id BLOB NOT NULL, evidence_hash BLOB NOT NULL, body BLOB NOT NULL, PRIMARY KEY (job_id, evidence_hash)
);
CREATE TABLE IF NOT EXISTS results (job_id BLOB PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS acknowledgements (job_id BLOB PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS uploads (
    kind TEXT NOT NULL, name BLOB NOT NULL, peer TEXT NOT NULL, bytes INTEGER NOT NULL, stored_at INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
);
CREATE INDEX IF NOT EXISTS uploads_by_age ON uploads (stored_at);
CREATE TABLE IF NOT EXISTS proposals (
    proposal_hash BLOB PRIMARY KEY, body BLOB NOT NULL, account BLOB NOT NULL, peer TEXT NOT NULL,
    expiry INTEGER NOT NULL, sequence INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS proposals_of_account ON proposals (account);
CREATE INDEX IF NOT EXISTS proposals_of_peer ON proposals (peer);
CREATE INDEX IF NOT EXISTS proposals_by_expiry ON proposals (expiry);
CREATE INDEX IF NOT EXISTS proposals_by_sequence ON proposals (sequence);
CREATE TABLE IF NOT EXISTS proposed (
    owner BLOB NOT NULL, proposal_hash BLOB NOT NULL, PRIMARY KEY (owner, proposal_hash)
);
CREATE INDEX IF NOT EXISTS proposed_by_hash ON proposed (proposal_hash);
CREATE TABLE IF NOT EXISTS answers (
    proposal_hash BLOB NOT NULL, asset_id BLOB NOT NULL, version INTEGER NOT NULL, owner BLOB NOT NULL,
    signed_at INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (proposal_hash, asset_id, version)
);
CREATE INDEX IF NOT EXISTS answers_of_owner ON answers (owner, signed_at);
CREATE TABLE IF NOT EXISTS kept (name BLOB PRIMARY KEY);
CREATE TABLE IF NOT EXISTS idempotency_keys (
    id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, fingerprint BLOB NOT NULL, peer TEXT NOT NULL,
    expires INTEGER NOT NULL, status INTEGER, answer BLOB
);
CREATE TABLE IF NOT EXISTS nonces (
    id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, peer TEXT NOT NULL, expires INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS nonces_of_peer ON nonces (peer);
CREATE TABLE IF NOT EXISTS sessions (
    id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, account BLOB NOT NULL, expires INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS sessions_of_account ON sessions (account);
CREATE INDEX IF NOT EXISTS idempotency_keys_by_expiry ON idempotency_keys (expires);
CREATE INDEX IF NOT EXISTS idempotency_keys_of_peer ON idempotency_keys (peer, id);
"""
_LATER_COLUMNS = (
    ("compute_orders", "used", "INTEGER NOT NULL DEFAULT 0"),
    ("compute_orders", "reason", "TEXT NOT NULL DEFAULT ''"),
    ("asset_orders", "reason", "TEXT NOT NULL DEFAULT ''"),
)
EXPIRY = {"requests": "$.request.expiry", "compute_orders": "$.order.expiry", "asset_orders": "$.order.expiry"}
"""Where each table of orders says in its documents until when they hold."""


def field(path: str) -> str:
    """An SQL expression for one field of a row's document; NULL where the document does not read."""
    return f"CASE WHEN json_valid(CAST(body AS TEXT)) THEN json_extract(CAST(body AS TEXT), '{path}') END"


def expires(table: str) -> str:
    """An SQL expression for when a row's order expires. It is indexed: what expired is found without a look at the
    rest."""
    return f"CAST({field(EXPIRY[table])} AS INTEGER)"


class Database(SqliteFile):
    """One SQLite file, one writer at a time. ``Database(None)`` is the in-memory twin."""

    def __init__(self, path: Path | None) -> None:
        super().__init__(path or ":memory:", _SCHEMA)

    def _prepare(self) -> None:
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA foreign_keys = ON")
        self._add_columns()
        undo.prepare(self._db)
        for table in EXPIRY:
            self._db.execute(
                f"CREATE INDEX IF NOT EXISTS open_{table}_by_expiry ON {table} ({expires(table)}) WHERE state = 'open'"
            )

    def _add_columns(self) -> None:
        """What a file of an earlier release lacks."""
        for table, column, kind in _LATER_COLUMNS:
            if column not in {row["name"] for row in self._db.execute(f"PRAGMA table_info({table})")}:
                self._db.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is on disk when the block ends, or none of it."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """All rows of a query."""
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def each(self, query: str, *values: object) -> Iterator[sqlite3.Row]:
        """The rows of a query, some at a time: for tables that may be larger than memory."""
        with self._lock:
            cursor = self._db.execute(query, values)
        while some := self._some(cursor):
            yield from some

    def _some(self, cursor: sqlite3.Cursor) -> list[sqlite3.Row]:
        with self._lock:
            return cursor.fetchmany(_ROWS_AT_ONCE)

    def row(self, query: str, *values: object) -> sqlite3.Row | None:
        """The first row of a query, or None."""
        with self._lock:
            found: sqlite3.Row | None = self._db.execute(query, values).fetchone()
            return found


def readable(rows: Iterable[sqlite3.Row], read: Callable[[sqlite3.Row], T]) -> Iterator[T]:
    """What the rows hold; one that does not read (a damaged disk, another release's shape) concerns itself alone."""
    for row in rows:
        try:
            yield read(row)
        except (SealmarketError, ValueError, KeyError, TypeError) as error:
            log.warning("a row is left out: %s", error)
