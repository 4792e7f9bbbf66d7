"""The one schema, for SQLite and PostgreSQL alike. A change of it is a migration beside this file.

Times are seconds since 1970, sizes bytes, flags 0 or 1. ``sequence`` numbers rows in the order in which they were
accepted or learnt. An ``expiry`` above what a signed 64-bit number holds is kept as the largest one.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

NEVER = 2**63 - 1
"""The expiry of what has none within the clock of any program."""
ORDERS = {"requests": "request_hash", "compute_orders": "order_hash", "asset_orders": "order_hash"}
"""The tables of orders that expire, and the key of each."""
metadata = MetaData()
_OPEN = text("state = 'open'")
_UNFINISHED = text("status IN (1, 2, 3, 4, 6)")
_SETTLED = text("settled_at > 0")
_COUNTED = BigInteger().with_variant(Integer, "sqlite")


def _bytes(name: str, default: str | None = None, *, key: bool = False, empty: bool = False) -> Column[bytes]:
    given = None if default is None else text(f"'{default}'")
    return Column(name, LargeBinary, primary_key=key, nullable=empty, server_default=given)


def _words(name: str, default: str | None = None, *, key: bool = False) -> Column[str]:
    given = None if default is None else text(f"'{default}'")
    return Column(name, Text, primary_key=key, nullable=False, server_default=given)


def _number(name: str, default: int | None = None, *, key: bool = False) -> Column[int]:
    given = None if default is None else text(str(default))
    return Column(name, BigInteger, primary_key=key, nullable=False, server_default=given, autoincrement=False)


# --- the order book: the only tables here whose content exists nowhere else -----------------------------------------
requests = Table(
    "requests", metadata,
    _bytes("request_hash", key=True), _bytes("body"), _bytes("account"), _words("state", "open"),
    _words("explanation", "[]"), _bytes("job_id", empty=True), _number("sequence"), _number("expiry"), _words("salt"),
    Index("requests_of_account", "account", "state"),
    Index("open_requests", "sequence", sqlite_where=_OPEN, postgresql_where=_OPEN),
    Index("requests_by_sequence", "sequence", unique=True),
    Index("open_requests_by_expiry", "expiry", sqlite_where=_OPEN, postgresql_where=_OPEN),
)  # fmt: skip
senders = Table(
    "senders", metadata, _bytes("request_hash", key=True), _words("peer"), _number("bytes", 0),
    Index("senders_of_peer", "peer", "bytes"),
)  # fmt: skip
compute_orders = Table(
    "compute_orders", metadata,
    _bytes("order_hash", key=True), _bytes("body"), _bytes("account"), _words("state", "open"), _number("sequence"),
    _number("used", 0), _words("reason", ""), _number("expiry"), _words("salt"),
    Index("compute_orders_of_account", "account", "state"),
    Index("open_compute_orders", "sequence", sqlite_where=_OPEN, postgresql_where=_OPEN),
    Index("compute_orders_by_sequence", "sequence", unique=True),
    Index("open_compute_orders_by_expiry", "expiry", sqlite_where=_OPEN, postgresql_where=_OPEN),
)  # fmt: skip
asset_orders = Table(
    "asset_orders", metadata,
    _bytes("order_hash", key=True), _bytes("asset_id"), _number("version"), _bytes("body"), _words("state", "open"),
    _number("sequence"), _words("reason", ""), _number("expiry"),
    Index("orders_of_asset", "asset_id", "state"),
    Index("asset_orders_by_sequence", "sequence", unique=True),
    Index("open_asset_orders_by_expiry", "expiry", sqlite_where=_OPEN, postgresql_where=_OPEN),
)  # fmt: skip
offer_senders = Table(
    "offer_senders", metadata, _bytes("order_hash", key=True), _words("peer"), _number("bytes"),
    Index("offer_senders_of_peer", "peer", "bytes"),
)  # fmt: skip

# --- the index: what final blocks say, built again from events ------------------------------------------------------
jobs = Table(
    "jobs", metadata,
    _bytes("job_id", key=True), _bytes("request_hash"), _bytes("provider"), _bytes("consumer"), _number("status"),
    _bytes("spec"), _bytes("facts"), _number("sequence"),
    _bytes("workload", ""), _number("tee", 0), _number("matched_at", 0), _number("settled_at", 0),
    UniqueConstraint("request_hash", name="jobs_by_request"),
    Index("jobs_of_provider", "provider", "sequence"),
    Index("jobs_of_consumer", "consumer", "sequence"),
    Index("jobs_by_status", "status", "sequence"),
    Index("unfinished_jobs", "sequence", sqlite_where=_UNFINISHED, postgresql_where=_UNFINISHED),
    Index("jobs_by_sequence", "sequence", unique=True),
    Index("settled_jobs", "settled_at", sqlite_where=_SETTLED, postgresql_where=_SETTLED),
    Index("settled_of_workload", "workload", "tee", "sequence", sqlite_where=_SETTLED, postgresql_where=_SETTLED),
    Index("settled_of_provider", "provider", "tee", "sequence", sqlite_where=_SETTLED, postgresql_where=_SETTLED),
    Index("settled_of_both", "workload", "provider", "tee", "sequence",
          sqlite_where=_SETTLED, postgresql_where=_SETTLED),
)  # fmt: skip
_SUBJECT, _ACCOUNT, _OTHER = (text(f"{one} IS NOT NULL") for one in ("subject", "account", "counterpart"))
_ANNOUNCED = text("name = 'EpochAnnounced'")
events = Table(
    "events", metadata,
    _number("block"), _number("log_index"), _bytes("block_hash"), _bytes("transaction_hash"), _number("block_time"),
    _words("name"), _bytes("subject", empty=True), _bytes("account", empty=True), _bytes("counterpart", empty=True),
    _bytes("body"),
    PrimaryKeyConstraint("block", "log_index"),
    Index("epochs_announced", "block", sqlite_where=_ANNOUNCED, postgresql_where=_ANNOUNCED),
    Index("events_of_subject", "subject", "block", "log_index", sqlite_where=_SUBJECT, postgresql_where=_SUBJECT),
    Index("events_of_account", "account", "block", "log_index", sqlite_where=_ACCOUNT, postgresql_where=_ACCOUNT),
    Index("events_of_counterpart", "counterpart", "block", "log_index", sqlite_where=_OTHER, postgresql_where=_OTHER),
)  # fmt: skip
assets = Table(
    "assets", metadata,
    _bytes("asset_id"), _number("version"), _bytes("owner"), _bytes("seal"), _bytes("terms"),
    _number("terms_version"), _number("revoked", 0), _number("suspended", 0), _number("sequence"),
    PrimaryKeyConstraint("asset_id", "version"),
    Index("assets_of_owner", "owner", "sequence"),
    Index("assets_by_sequence", "sequence", unique=True),
)  # fmt: skip
_UNRETURNED = text("returned = 0")
interruptions = Table(
    "interruptions", metadata,
    _bytes("job_id", key=True), _bytes("request_hash"), _number("stopped", 0), _number("excluded", 0),
    _number("posted", 0), _number("shares_deadline", 0), _number("settle_deadline", 0), _number("returned", 0),
    UniqueConstraint("request_hash", name="interruptions_by_request"),
    Index("interruptions_to_return", "shares_deadline", sqlite_where=_UNRETURNED, postgresql_where=_UNRETURNED),
)  # fmt: skip
unreadable = Table("unreadable", metadata, _bytes("subject", key=True), _words("reason"))
cursor = Table(
    "cursor", metadata, _number("id", key=True), _number("block"), _bytes("hash"),
    CheckConstraint("id = 1", name="one_cursor"),
)  # fmt: skip

# --- how the index is taken back ------------------------------------------------------------------------------------
cursors = Table("cursors", metadata, _number("block", key=True), _bytes("hash"))
undo = Table(
    "undo", metadata,
    Column("id", _COUNTED, primary_key=True, autoincrement=True), _number("block"), _words("statement"),
    Index("undo_by_block", "block"),
)  # fmt: skip
recording = Table(
    "recording", metadata, _number("id", key=True), _number("block"), CheckConstraint("id = 1", name="one_recording")
)

# --- what parties posted --------------------------------------------------------------------------------------------
parameters = Table("parameters", metadata, _bytes("request_hash", key=True), _bytes("body"))
envelopes = Table(
    "envelopes", metadata, _bytes("job_id"), _bytes("evidence_hash"), _bytes("body"), _number("sequence"),
    _words("peer", ""), _number("bytes", 0), _number("stored_at", 0),
    PrimaryKeyConstraint("job_id", "evidence_hash"),
    Index("envelopes_of_peer", "peer", "bytes"), Index("envelopes_by_age", "stored_at"),
)  # fmt: skip
results = Table("results", metadata, _bytes("job_id", key=True), _bytes("body"))
acknowledgements = Table("acknowledgements", metadata, _bytes("job_id", key=True), _bytes("body"))
proposals = Table(
    "proposals", metadata,
    _bytes("proposal_hash", key=True), _bytes("body"), _bytes("account"), _words("peer"), _number("expiry"),
    _number("sequence"),
    Index("proposals_of_account", "account"), Index("proposals_of_peer", "peer"),
    Index("proposals_by_expiry", "expiry"), Index("proposals_by_sequence", "sequence"),
)  # fmt: skip
proposed = Table(
    "proposed", metadata, _bytes("owner"), _bytes("proposal_hash"),
    PrimaryKeyConstraint("owner", "proposal_hash"), Index("proposed_by_hash", "proposal_hash"),
)  # fmt: skip
answers = Table(
    "answers", metadata,
    _bytes("proposal_hash"), _bytes("asset_id"), _number("version"), _bytes("owner"), _number("signed_at"),
    _bytes("body"), _number("sequence"), PrimaryKeyConstraint("proposal_hash", "asset_id", "version"),
    Index("answers_of_owner", "owner", "signed_at"), Index("answers_by_sequence", "sequence", unique=True),
)  # fmt: skip
services = Table(
    "services", metadata,
    _bytes("job_id", key=True), _bytes("workload"), _bytes("body"), _number("signed_at"), _number("sequence"),
    Index("services_by_sequence", "sequence", unique=True), Index("services_of_workload", "workload", "sequence"),
)  # fmt: skip
served_assets = Table(
    "served_assets", metadata, _bytes("asset_id"), _bytes("job_id"),
    PrimaryKeyConstraint("asset_id", "job_id"), Index("served_assets_by_job", "job_id"),
)  # fmt: skip
kept = Table("kept", metadata, _bytes("name", key=True))

# --- the store's account book ---------------------------------------------------------------------------------------
uploads = Table(
    "uploads", metadata, _words("kind"), _bytes("name"), _words("peer"), _number("bytes"), _number("stored_at"),
    _words("object", ""),
    PrimaryKeyConstraint("kind", "name"), Index("uploads_by_age", "stored_at"), Index("uploads_of_peer", "peer"),
)  # fmt: skip


# --- the API: keys of requests, who is signed in, what changed ------------------------------------------------------
def _counted() -> Column[int]:
    return Column("id", _COUNTED, primary_key=True, autoincrement=True)


idempotency_keys = Table(
    "idempotency_keys", metadata,
    _counted(), _bytes("name"), _bytes("fingerprint"), _words("peer"), _number("expires"), _words("holder"),
    _number("held_until"), Column("status", BigInteger), _bytes("answer", empty=True),
    UniqueConstraint("name", name="idempotency_keys_by_name"),
    Index("idempotency_keys_by_expiry", "expires"), Index("idempotency_keys_of_peer", "peer", "id"),
)  # fmt: skip
nonces = Table(
    "nonces", metadata, _counted(), _bytes("digest"), _words("peer"), _number("expires"),
    UniqueConstraint("digest", name="nonces_by_digest"), Index("nonces_of_peer", "peer", "id"),
    Index("nonces_by_expiry", "expires"),
)  # fmt: skip
sessions = Table(
    "sessions", metadata, _counted(), _bytes("digest"), _bytes("account"), _words("peer", ""), _number("expires"),
    UniqueConstraint("digest", name="sessions_by_digest"), Index("sessions_of_account", "account", "id"),
    Index("sessions_by_expiry", "expires"),
)  # fmt: skip
changes = Table("changes", metadata, _counted(), _words("topic"), _bytes("subject"), _words("state"))
changes_epoch = Table(
    "changes_epoch", metadata, _number("id", key=True), _words("epoch"),
    CheckConstraint("id = 1", name="one_changes_epoch"),
)  # fmt: skip

# --- what the keeper gave for gas; of all accounts together under the empty name ------------------------------------
gas_spent = Table(
    "gas_spent", metadata, _number("day"), _bytes("account"), _number("gwei"), PrimaryKeyConstraint("day", "account")
)

# --- who leads ------------------------------------------------------------------------------------------------------
leadership = Table(
    "leadership", metadata, _number("id", key=True), _number("term"), _words("holder"),
    CheckConstraint("id = 1", name="one_leadership"),
)  # fmt: skip
