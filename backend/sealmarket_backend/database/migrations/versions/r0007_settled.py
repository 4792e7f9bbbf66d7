"""Jobs by the time of their settlement: the keeper counts those of the last week."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the index."""
    op.get_bind().exec_driver_sql("CREATE INDEX settled_jobs ON jobs (settled_at) WHERE settled_at > 0")
