"""A row for each event of the contracts. The index is read again from the deployment, since it kept few of them.

Orders, what parties posted and the store's account book stay. The numbers of changes begin anew, so that a reader of
the stream asks for everything once more.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

_EVENTS = (
    "CREATE TABLE events (block BIGINT NOT NULL, log_index BIGINT NOT NULL, block_hash {BYTES} NOT NULL, "
    "transaction_hash {BYTES} NOT NULL, block_time BIGINT NOT NULL, name TEXT NOT NULL, subject {BYTES}, "
    "account {BYTES}, counterpart {BYTES}, body {BYTES} NOT NULL, PRIMARY KEY (block, log_index))"
)
_INDEX = "CREATE INDEX events_of_{0} ON events ({0}, block, log_index) WHERE {0} IS NOT NULL"
_READ_AGAIN = ("jobs", "assets", "interruptions", "unreadable", "cursor", "cursors", "undo", "changes", "changes_epoch")


def upgrade() -> None:
    """Make the table, and empty what is read again."""
    connection = op.get_bind()
    sqlite = connection.dialect.name == "sqlite"
    connection.exec_driver_sql(_EVENTS.format(BYTES="BLOB" if sqlite else "BYTEA"))
    for column in ("subject", "account", "counterpart"):
        connection.exec_driver_sql(_INDEX.format(column))
    connection.exec_driver_sql("DROP TABLE job_events")
    if not sqlite:
        for action in ("insert", "update"):
            connection.exec_driver_sql(f"DROP FUNCTION IF EXISTS undo_{action}_job_events()")
    for table in _READ_AGAIN:
        connection.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608 - names are ours
