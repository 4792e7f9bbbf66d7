"""Jobs by the time of their settlement, of which the keeper counts those of the last week; and who sent each offer.

Offers that are kept already count for no peer: who sent them is not known.
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the table and the indexes."""
    connection = op.get_bind()
    kind = "BLOB" if connection.dialect.name == "sqlite" else "BYTEA"
    for statement in (
        "CREATE INDEX settled_jobs ON jobs (settled_at) WHERE settled_at > 0",
        f"CREATE TABLE offer_senders (order_hash {kind} NOT NULL, peer TEXT NOT NULL, bytes BIGINT NOT NULL,"
        " PRIMARY KEY (order_hash))",
        "CREATE INDEX offer_senders_of_peer ON offer_senders (peer, bytes)",
    ):
        connection.exec_driver_sql(statement)
