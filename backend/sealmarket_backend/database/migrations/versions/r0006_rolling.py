"""What processes of the release before still write while replicas are replaced one by one; senders by peer.

``sessions.peer`` gets a default, since a process of before names none. SQLite knows no change of a default, so there
the table is made again, with its rows.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
_OF_SQLITE = (
    "ALTER TABLE sessions RENAME TO sessions_before",
    (
        "CREATE TABLE sessions (id INTEGER NOT NULL, digest BLOB NOT NULL, account BLOB NOT NULL, "
        "peer TEXT DEFAULT '' NOT NULL, expires BIGINT NOT NULL, PRIMARY KEY (id), "
        "CONSTRAINT sessions_by_digest UNIQUE (digest))"
    ),
    "INSERT INTO sessions SELECT id, digest, account, peer, expires FROM sessions_before",
    "DROP TABLE sessions_before",
    "CREATE INDEX sessions_by_expiry ON sessions (expires)",
    "CREATE INDEX sessions_of_account ON sessions (account, id)",
)
_OF_POSTGRES = ("ALTER TABLE sessions ALTER COLUMN peer SET DEFAULT ''",)


def upgrade() -> None:
    """Give the default, and make the index."""
    connection = op.get_bind()
    for statement in _OF_SQLITE if connection.dialect.name == "sqlite" else _OF_POSTGRES:
        connection.exec_driver_sql(statement)
    connection.exec_driver_sql("CREATE INDEX senders_of_peer ON senders (peer, bytes)")
