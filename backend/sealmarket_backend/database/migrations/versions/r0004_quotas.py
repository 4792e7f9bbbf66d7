"""Whose bytes lie in the tables, how many, and since when; how long jobs took; sessions, which begin anew, by peers."""

from __future__ import annotations

import json
import time
from contextlib import suppress

from alembic import op
from sqlalchemy import Connection

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
    "ALTER TABLE jobs ADD COLUMN workload {BYTES} DEFAULT '' NOT NULL",
    "ALTER TABLE jobs ADD COLUMN tee BIGINT DEFAULT 0 NOT NULL",
    "ALTER TABLE jobs ADD COLUMN matched_at BIGINT DEFAULT 0 NOT NULL",
    "ALTER TABLE jobs ADD COLUMN settled_at BIGINT DEFAULT 0 NOT NULL",
    (
        "UPDATE jobs SET settled_at = COALESCE((SELECT MAX(block_time) FROM events"
        " WHERE subject = jobs.job_id AND name = 'JobSettled'), 0)"
    ),
    "CREATE INDEX settled_of_workload ON jobs (workload, tee, sequence) WHERE settled_at > 0",
    "CREATE INDEX settled_of_provider ON jobs (provider, tee, sequence) WHERE settled_at > 0",
    "CREATE INDEX settled_of_both ON jobs (workload, provider, tee, sequence) WHERE settled_at > 0",
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
    """Add the columns, say of each job what its specification says, and make the sessions' table anew."""
    connection = op.get_bind()
    words = {"BYTES": "BYTEA", "COUNTED": "BIGSERIAL"}
    if connection.dialect.name == "sqlite":
        words = {"BYTES": "BLOB", "COUNTED": "INTEGER"}
    for statement in _STATEMENTS:
        connection.exec_driver_sql(statement.format(NOW=int(time.time()), **words))
    _describe_jobs(connection)


def _describe_jobs(connection: Connection) -> None:
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    query = f"UPDATE jobs SET workload = {mark}, tee = {mark}, matched_at = {mark} WHERE job_id = {mark}"  # noqa: S608
    for job_id, spec in connection.exec_driver_sql("SELECT job_id, spec FROM jobs").fetchall():
        with suppress(ValueError, KeyError, TypeError):  # a row that does not read stays, and counts for no time
            said = json.loads(bytes(spec))
            workload = bytes.fromhex(said["workloadDigest"].removeprefix("0x"))
            connection.exec_driver_sql(query, (workload, int(said["tee"]), int(said["matchedAt"]), bytes(job_id)))
