"""A transaction that waited for its turn sees what the one before it wrote, whatever the server's default is."""

from __future__ import annotations

from sealmarket_backend.tables import Database
from tests.backend.postgres import Server


def test_a_server_whose_default_is_repeatable_read_changes_nothing(postgres: Server) -> None:
    postgres.run("ALTER ROLE postgres SET default_transaction_isolation = 'repeatable read'")
    try:
        with Database(postgres.make_schema("isolation")) as database, database.write() as connection:
            found = connection.execute("SHOW transaction_isolation").fetchone()
            assert found[0] == "read committed"
    finally:
        postgres.run("ALTER ROLE postgres RESET default_transaction_isolation")
