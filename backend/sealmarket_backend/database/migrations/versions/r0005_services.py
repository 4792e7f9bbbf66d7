"""Where users reach services, and which assets they serve."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the tables and their indexes."""
    connection = op.get_bind()
    kind = "BLOB" if connection.dialect.name == "sqlite" else "BYTEA"
    connection.exec_driver_sql(
        f"CREATE TABLE services (job_id {kind} NOT NULL, workload {kind} NOT NULL, body {kind} NOT NULL, "
        "signed_at BIGINT NOT NULL, sequence BIGINT NOT NULL, PRIMARY KEY (job_id))"
    )
    connection.exec_driver_sql("CREATE UNIQUE INDEX services_by_sequence ON services (sequence)")
    connection.exec_driver_sql("CREATE INDEX services_of_workload ON services (workload, sequence)")
    connection.exec_driver_sql(
        f"CREATE TABLE served_assets (asset_id {kind} NOT NULL, job_id {kind} NOT NULL, PRIMARY KEY (asset_id, job_id))"
    )
    connection.exec_driver_sql("CREATE INDEX served_assets_by_job ON served_assets (job_id)")
