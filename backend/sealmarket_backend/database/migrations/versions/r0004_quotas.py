"""Whose bytes lie in the tables, how many, and since when; sessions, which all begin anew, by their peers."""

from __future__ import annotations

import time

from alembic import op

revision = "0004"
down_revision = "0003"
_SIZE = "COALESCE((SELECT LENGTH(body) FROM {table} WHERE {table}.request_hash = senders.request_hash), 0)"
_STATEMENTS = (
    "ALTER TABLE senders ADD COLUMN bytes BIGINT DEFAULT 0 NOT NULL",
    f"UPDATE senders SET bytes = {_SIZE.format(table='requests')} + {_SIZE.format(table='parameters')}",  # noqa: S608
    "ALTER TABLE envelopes ADD COLUMN peer TEXT DEFAULT '' NOT NULL",
    "ALTER TABLE envelopes ADD COLUMN bytes BIGINT DEFAULT 0 NOT NULL",
    "ALTER TABLE envelopes ADD COLUMN stored_at BIGINT DEFAULT 0 NOT NULL",
    "UPDATE envelopes SET bytes = LENGTH(body), stored_at = {NOW}",
    "CREATE INDEX envelopes_of_peer ON envelopes (peer, bytes)",
    "CREATE INDEX envelopes_by_age ON envelopes (stored_at)",
    "DROP TABLE sessions",
    (
        "CREATE TABLE sessions (id {COUNTED} NOT NULL, digest {BYTES} NOT NULL, account {BYTES} NOT NULL, "
        "peer TEXT NOT NULL, expires BIGINT NOT NULL, PRIMARY KEY (id), "
        "CONSTRAINT sessions_by_digest UNIQUE (digest))"
    ),
    "CREATE INDEX sessions_by_expiry ON sessions (expires)",
    "CREATE INDEX sessions_of_account ON sessions (account, id)",
)


def upgrade() -> None:
    """Add the columns, and make the sessions' table anew."""
    connection = op.get_bind()
    words = {"BYTES": "BYTEA", "COUNTED": "BIGSERIAL"}
    if connection.dialect.name == "sqlite":
        words = {"BYTES": "BLOB", "COUNTED": "INTEGER"}
    for statement in _STATEMENTS:
        connection.exec_driver_sql(statement.format(NOW=int(time.time()), **words))
