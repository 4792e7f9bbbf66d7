"""A database that takes no more rows of a table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sealmarket_backend.tables import Database

_REFUSES = {
    "sqlite": ("CREATE TRIGGER full_{action} BEFORE {action} ON {table} BEGIN SELECT RAISE(ABORT, 'disk full'); END",),
    "postgresql": (
        "CREATE OR REPLACE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'disk full'; END $$",
        "CREATE TRIGGER full_{action} BEFORE {action} ON {table} FOR EACH ROW EXECUTE FUNCTION full_disk()",
    ),
}


@contextmanager
def full_disk(database: Database, table: str) -> Iterator[None]:
    """Within the block, neither a new row nor another value of one is taken."""
    with database.write() as connection:
        for action in ("INSERT", "UPDATE"):
            for statement in _REFUSES[connection.kind]:
                connection.execute(statement.format(action=action, table=table))
    try:
        yield
    finally:
        with database.write() as connection:
            for action in ("INSERT", "UPDATE"):
                end = f" ON {table}" if connection.kind == "postgresql" else ""
                connection.execute(f"DROP TRIGGER full_{action}{end}")
