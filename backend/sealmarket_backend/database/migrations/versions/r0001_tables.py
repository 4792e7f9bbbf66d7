"""The tables as of the first release with migrations, and what a SQLite file of a release before it holds.

Such a file keeps every order, job, asset, upload and answer. What it could take back of the chain's last blocks it
forgets: after a deep reorganisation the index is read anew.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Connection

revision = "0001"
down_revision = None

_NEVER = 2**63 - 1
_TABLES = (
    "CREATE TABLE acknowledgements (job_id {BYTES} NOT NULL, body {BYTES} NOT NULL, PRIMARY KEY (job_id))",
    (
        "CREATE TABLE answers (proposal_hash {BYTES} NOT NULL, asset_id {BYTES} NOT NULL, version BIGINT NOT "
        "NULL, owner {BYTES} NOT NULL, signed_at BIGINT NOT NULL, body {BYTES} NOT NULL, sequence BIGINT NOT NULL, "
        "PRIMARY KEY (proposal_hash, asset_id, version))"
    ),
    (
        "CREATE TABLE asset_orders (order_hash {BYTES} NOT NULL, asset_id {BYTES} NOT NULL, version BIGINT NOT "
        "NULL, body {BYTES} NOT NULL, state TEXT DEFAULT 'open' NOT NULL, sequence BIGINT NOT NULL, reason TEXT "
        "DEFAULT '' NOT NULL, expiry BIGINT NOT NULL, PRIMARY KEY (order_hash))"
    ),
    (
        "CREATE TABLE assets (asset_id {BYTES} NOT NULL, version BIGINT NOT NULL, owner {BYTES} NOT NULL, seal "
        "{BYTES} NOT NULL, terms {BYTES} NOT NULL, terms_version BIGINT NOT NULL, revoked BIGINT DEFAULT 0 NOT "
        "NULL, suspended BIGINT DEFAULT 0 NOT NULL, sequence BIGINT NOT NULL, PRIMARY KEY (asset_id, version))"
    ),
    (
        "CREATE TABLE compute_orders (order_hash {BYTES} NOT NULL, body {BYTES} NOT NULL, account {BYTES} NOT "
        "NULL, state TEXT DEFAULT 'open' NOT NULL, sequence BIGINT NOT NULL, used BIGINT DEFAULT 0 NOT NULL, "
        "reason TEXT DEFAULT '' NOT NULL, expiry BIGINT NOT NULL, salt TEXT NOT NULL, PRIMARY KEY (order_hash))"
    ),
    (
        "CREATE TABLE cursor (id BIGINT NOT NULL, block BIGINT NOT NULL, hash {BYTES} NOT NULL, PRIMARY KEY (id), "
        "CONSTRAINT one_cursor CHECK (id = 1))"
    ),
    "CREATE TABLE cursors (block BIGINT NOT NULL, hash {BYTES} NOT NULL, PRIMARY KEY (block))",
    (
        "CREATE TABLE envelopes (job_id {BYTES} NOT NULL, evidence_hash {BYTES} NOT NULL, body {BYTES} NOT NULL, "
        "sequence BIGINT NOT NULL, PRIMARY KEY (job_id, evidence_hash))"
    ),
    (
        "CREATE TABLE interruptions (job_id {BYTES} NOT NULL, request_hash {BYTES} NOT NULL, stopped BIGINT "
        "DEFAULT 0 NOT NULL, excluded BIGINT DEFAULT 0 NOT NULL, posted BIGINT DEFAULT 0 NOT NULL, "
        "shares_deadline BIGINT DEFAULT 0 NOT NULL, settle_deadline BIGINT DEFAULT 0 NOT NULL, returned BIGINT "
        "DEFAULT 0 NOT NULL, PRIMARY KEY (job_id), CONSTRAINT interruptions_by_request UNIQUE (request_hash))"
    ),
    (
        "CREATE TABLE job_events (job_id {BYTES} NOT NULL, block BIGINT NOT NULL, log_index BIGINT NOT NULL, body "
        "{BYTES} NOT NULL, PRIMARY KEY (job_id, block, log_index))"
    ),
    (
        "CREATE TABLE jobs (job_id {BYTES} NOT NULL, request_hash {BYTES} NOT NULL, provider {BYTES} NOT NULL, "
        "consumer {BYTES} NOT NULL, status BIGINT NOT NULL, spec {BYTES} NOT NULL, facts {BYTES} NOT NULL, "
        "sequence BIGINT NOT NULL, PRIMARY KEY (job_id), CONSTRAINT jobs_by_request UNIQUE (request_hash))"
    ),
    "CREATE TABLE changes (id {COUNTED} NOT NULL, topic TEXT NOT NULL, subject {BYTES} NOT NULL, state TEXT NOT NULL, "
    "PRIMARY KEY (id))",
    (
        "CREATE TABLE changes_epoch (id BIGINT NOT NULL, epoch TEXT NOT NULL, PRIMARY KEY (id), "
        "CONSTRAINT one_changes_epoch CHECK (id = 1))"
    ),
    (
        "CREATE TABLE idempotency_keys (id {COUNTED} NOT NULL, name {BYTES} NOT NULL, fingerprint {BYTES} NOT NULL, "
        "peer TEXT NOT NULL, expires BIGINT NOT NULL, holder TEXT NOT NULL, held_until BIGINT NOT NULL, "
        "status BIGINT, answer {BYTES}, PRIMARY KEY (id), CONSTRAINT idempotency_keys_by_name UNIQUE (name))"
    ),
    "CREATE TABLE kept (name {BYTES} NOT NULL, PRIMARY KEY (name))",
    (
        "CREATE TABLE leadership (id BIGINT NOT NULL, term BIGINT NOT NULL, holder TEXT NOT NULL, PRIMARY KEY "
        "(id), CONSTRAINT one_leadership CHECK (id = 1))"
    ),
    ("CREATE TABLE parameters (request_hash {BYTES} NOT NULL, body {BYTES} NOT NULL, PRIMARY KEY (request_hash))"),
    (
        "CREATE TABLE proposals (proposal_hash {BYTES} NOT NULL, body {BYTES} NOT NULL, account {BYTES} NOT NULL, "
        "peer TEXT NOT NULL, expiry BIGINT NOT NULL, sequence BIGINT NOT NULL, PRIMARY KEY (proposal_hash))"
    ),
    (
        "CREATE TABLE proposed (owner {BYTES} NOT NULL, proposal_hash {BYTES} NOT NULL, PRIMARY KEY (owner, "
        "proposal_hash))"
    ),
    (
        "CREATE TABLE recording (id BIGINT NOT NULL, block BIGINT NOT NULL, PRIMARY KEY (id), CONSTRAINT "
        "one_recording CHECK (id = 1))"
    ),
    (
        "CREATE TABLE requests (request_hash {BYTES} NOT NULL, body {BYTES} NOT NULL, account {BYTES} NOT NULL, "
        "state TEXT DEFAULT 'open' NOT NULL, explanation TEXT DEFAULT '[]' NOT NULL, job_id {BYTES}, sequence "
        "BIGINT NOT NULL, expiry BIGINT NOT NULL, salt TEXT NOT NULL, PRIMARY KEY (request_hash))"
    ),
    (
        "CREATE TABLE nonces (id {COUNTED} NOT NULL, digest {BYTES} NOT NULL, peer TEXT NOT NULL, "
        "expires BIGINT NOT NULL, PRIMARY KEY (id), CONSTRAINT nonces_by_digest UNIQUE (digest))"
    ),
    "CREATE TABLE results (job_id {BYTES} NOT NULL, body {BYTES} NOT NULL, PRIMARY KEY (job_id))",
    "CREATE TABLE senders (request_hash {BYTES} NOT NULL, peer TEXT NOT NULL, PRIMARY KEY (request_hash))",
    (
        "CREATE TABLE sessions (id {COUNTED} NOT NULL, digest {BYTES} NOT NULL, account {BYTES} NOT NULL, "
        "expires BIGINT NOT NULL, PRIMARY KEY (id), CONSTRAINT sessions_by_digest UNIQUE (digest))"
    ),
    ("CREATE TABLE undo (id {COUNTED} NOT NULL, block BIGINT NOT NULL, statement TEXT NOT NULL, PRIMARY KEY (id))"),
    "CREATE TABLE unreadable (subject {BYTES} NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (subject))",
    (
        "CREATE TABLE uploads (kind TEXT NOT NULL, name {BYTES} NOT NULL, peer TEXT NOT NULL, bytes BIGINT NOT "
        "NULL, stored_at BIGINT NOT NULL, object TEXT DEFAULT '' NOT NULL, PRIMARY KEY (kind, name))"
    ),
    "CREATE UNIQUE INDEX answers_by_sequence ON answers (sequence)",
    "CREATE INDEX answers_of_owner ON answers (owner, signed_at)",
    "CREATE UNIQUE INDEX asset_orders_by_sequence ON asset_orders (sequence)",
    "CREATE INDEX open_asset_orders_by_expiry ON asset_orders (expiry) WHERE state = 'open'",
    "CREATE INDEX orders_of_asset ON asset_orders (asset_id, state)",
    "CREATE UNIQUE INDEX assets_by_sequence ON assets (sequence)",
    "CREATE INDEX assets_of_owner ON assets (owner, sequence)",
    "CREATE UNIQUE INDEX compute_orders_by_sequence ON compute_orders (sequence)",
    "CREATE INDEX compute_orders_of_account ON compute_orders (account, state)",
    "CREATE INDEX open_compute_orders ON compute_orders (sequence) WHERE state = 'open'",
    "CREATE INDEX open_compute_orders_by_expiry ON compute_orders (expiry) WHERE state = 'open'",
    "CREATE INDEX interruptions_to_return ON interruptions (shares_deadline) WHERE returned = 0",
    "CREATE UNIQUE INDEX jobs_by_sequence ON jobs (sequence)",
    "CREATE INDEX jobs_by_status ON jobs (status, sequence)",
    "CREATE INDEX jobs_of_consumer ON jobs (consumer, sequence)",
    "CREATE INDEX jobs_of_provider ON jobs (provider, sequence)",
    "CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires)",
    "CREATE INDEX idempotency_keys_of_peer ON idempotency_keys (peer, id)",
    "CREATE INDEX nonces_by_expiry ON nonces (expires)",
    "CREATE INDEX nonces_of_peer ON nonces (peer, id)",
    "CREATE INDEX proposals_by_expiry ON proposals (expiry)",
    "CREATE INDEX proposals_by_sequence ON proposals (sequence)",
    "CREATE INDEX proposals_of_account ON proposals (account)",
    "CREATE INDEX proposals_of_peer ON proposals (peer)",
    "CREATE INDEX proposed_by_hash ON proposed (proposal_hash)",
    "CREATE INDEX open_requests ON requests (sequence) WHERE state = 'open'",
    "CREATE INDEX open_requests_by_expiry ON requests (expiry) WHERE state = 'open'",
    "CREATE UNIQUE INDEX requests_by_sequence ON requests (sequence)",
    "CREATE INDEX requests_of_account ON requests (account, state)",
    "CREATE INDEX sessions_by_expiry ON sessions (expires)",
    "CREATE INDEX sessions_of_account ON sessions (account, id)",
    "CREATE INDEX undo_by_block ON undo (block)",
    "CREATE INDEX uploads_by_age ON uploads (stored_at)",
    "CREATE INDEX uploads_of_peer ON uploads (peer)",
)
_KEPT = {
    "requests": ("request_hash", "body", "account", "state", "explanation", "job_id", "sequence"),
    "senders": ("request_hash", "peer"),
    "compute_orders": ("order_hash", "body", "account", "state", "sequence", "used", "reason"),
    "asset_orders": ("order_hash", "asset_id", "version", "body", "state", "sequence", "reason"),
    "jobs": ("job_id", "request_hash", "provider", "consumer", "status", "spec"),
    "job_events": ("job_id", "block", "log_index", "body"),
    "assets": ("asset_id", "version", "owner", "seal", "terms", "terms_version", "revoked", "suspended"),
    "interruptions": (
        *("job_id", "request_hash", "stopped", "excluded", "posted", "shares_deadline", "settle_deadline", "returned"),
    ),
    "unreadable": ("subject", "reason"),
    "cursor": ("id", "block", "hash"),
    "parameters": ("request_hash", "body"),
    "envelopes": ("job_id", "evidence_hash", "body"),
    "results": ("job_id", "body"),
    "acknowledgements": ("job_id", "body"),
    "uploads": ("kind", "name", "peer", "bytes", "stored_at"),
    "proposals": ("proposal_hash", "body", "account", "peer", "expiry", "sequence"),
    "proposed": ("owner", "proposal_hash"),
    "answers": ("proposal_hash", "asset_id", "version", "owner", "signed_at", "body"),
    "kept": ("name",),
}
"""The columns that earlier releases had, of which the first ones lacked some."""
_ROW = "rowid"


def _field(path: str, else_: str) -> str:
    reads = "json_valid(CAST(body AS TEXT))"
    return f"COALESCE(CASE WHEN {reads} THEN json_extract(CAST(body AS TEXT), '{path}') END, {else_})"


def _expiry(path: str) -> str:
    return f"CAST({_field(path, str(_NEVER))} AS INTEGER)"


_MADE = {
    "requests": {"expiry": _expiry("$.request.expiry"), "salt": _field("$.request.salt", "''")},
    "compute_orders": {"expiry": _expiry("$.order.expiry"), "salt": _field("$.order.salt", "''")},
    "asset_orders": {"expiry": _expiry("$.order.expiry")},
    "jobs": {"facts": "CAST(facts AS BLOB)", "sequence": _ROW},
    "assets": {"sequence": _ROW},
    "envelopes": {"sequence": _ROW},
    "answers": {"sequence": _ROW},
}
"""What later columns are made of."""


def upgrade() -> None:
    """Make the tables, and fill them with what an earlier release left."""
    connection = op.get_bind()
    old = _set_aside(connection) if connection.dialect.name == "sqlite" else set()
    sqlite = connection.dialect.name == "sqlite"
    for statement in _TABLES:
        kinds = {"BYTES": "BLOB" if sqlite else "BYTEA", "COUNTED": "INTEGER" if sqlite else "BIGSERIAL"}
        connection.exec_driver_sql(statement.format(**kinds))
    connection.exec_driver_sql("INSERT INTO leadership (id, term, holder) VALUES (1, 0, '')")
    for table in sorted(old):
        if table in _KEPT:
            _take_over(connection, table)
        connection.exec_driver_sql(f"DROP TABLE old_{table}")


def _set_aside(connection: Connection) -> set[str]:
    """Rename the tables that are there; their indexes and triggers go."""
    query = "SELECT type, name FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
    found = [(row[0], row[1]) for row in connection.exec_driver_sql(query) if row[1] != "alembic_version"]
    for kind, name in found:
        if kind in {"trigger", "index"}:
            connection.exec_driver_sql(f"DROP {kind} {name}")
    tables = {name for kind, name in found if kind == "table"}
    for table in tables:
        connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO old_{table}")
    return tables


def _take_over(connection: Connection, table: str) -> None:
    there = {row[1] for row in connection.exec_driver_sql(f"PRAGMA table_info(old_{table})")}
    taken = {column: column for column in _KEPT[table] if column in there} | _MADE.get(table, {})
    into, values = ", ".join(taken), ", ".join(taken.values())
    connection.exec_driver_sql(f"INSERT INTO {table} ({into}) SELECT {values} FROM old_{table} ORDER BY rowid")  # noqa: S608
