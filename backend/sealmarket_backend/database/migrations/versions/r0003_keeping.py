"""What the keeper gave for gas, the jobs that it goes round, and the committees' epochs."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table and the index."""
    connection = op.get_bind()
    kind = "BLOB" if connection.dialect.name == "sqlite" else "BYTEA"
    connection.exec_driver_sql(
        f"CREATE TABLE gas_spent (day BIGINT NOT NULL, account {kind} NOT NULL, gwei BIGINT NOT NULL, "
        "PRIMARY KEY (day, account))"
    )
    connection.exec_driver_sql("CREATE INDEX epochs_announced ON events (block) WHERE name = 'EpochAnnounced'")
    connection.exec_driver_sql("CREATE INDEX unfinished_jobs ON jobs (sequence) WHERE status IN (1, 2, 3, 4, 6)")
