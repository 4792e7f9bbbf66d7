"""Tables for each test, on every kind of database, closed with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from sealmarket_backend.tables import Database
from tests.backend.postgres import Server, missing

KINDS = ("sqlite", "postgresql")
_NUMBERS = count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A server of this process."""
    if why := missing():
        pytest.skip(why)
    with closing(Server()) as server:
        yield server


@pytest.fixture(scope="session")
def _emptied(postgres: Server) -> Iterator[Callable[[], Database]]:
    """Tables in PostgreSQL, made once and emptied for each test."""
    with Database(postgres.make_schema("emptied")) as database:
        names = [
            row["name"] for row in database.rows("SELECT tablename AS name FROM pg_tables WHERE schemaname = 'emptied'")
        ]
        kept = {"alembic_version", "leadership"}
        statement = f"TRUNCATE {', '.join(name for name in names if name not in kept)} RESTART IDENTITY"

        def emptied() -> Database:
            with database.write() as connection:
                connection.execute(statement)
            return database

        yield emptied


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """Empty tables: in memory, as SQLite keeps them, and in a PostgreSQL."""
    if request.param == "sqlite":
        with Database(None) as made:
            yield made
    else:
        yield request.getfixturevalue("_emptied")()


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where tables can be opened several times: a file, and a schema of a PostgreSQL."""
    if request.param == "sqlite":
        return tmp_path / "backend.sqlite"
    server: Server = request.getfixturevalue("postgres")
    return server.make_schema(f"test_{next(_NUMBERS)}")
