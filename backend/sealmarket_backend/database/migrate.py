"""Brings tables to the schema of this release, step by step, in one transaction.

An empty database gets every table. A SQLite file of a release from before there were migrations is taken over by the
first one. A database whose revision this release does not know is refused: an older program must not write into it.
"""

from __future__ import annotations

from contextlib import closing
from functools import lru_cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from sealmarket_backend.database.dialects import Dialect
from sealmarket_backend.database.schema import metadata
from sealmarket_backend.database.triggers import triggers
from sealmarket_enclave.protocol.errors import SealmarketError

_SCRIPTS = Path(__file__).with_name("migrations")


class ForeignTables(SealmarketError):
    """The database is of another release."""

    exit_code = 2

    def __init__(self, found: str) -> None:
        super().__init__(
            f"the database is at revision {found[:40]!r}, expected one of {', '.join(revisions())}",
            remedy="run the release that wrote it, or a later one",
        )


def migrate(dialect: Dialect, engine: Engine) -> None:
    """Raises :class:`ForeignTables`, and the errors of driver and SQLAlchemy; then nothing was changed."""
    if dialect.in_memory:
        with closing(engine.raw_connection()) as raw:
            for statement in statements(dialect.name):
                dialect.execute(raw.driver_connection, statement, ())
        return
    alone = dialect.engine(pooled=False)
    with alone.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in dialect.begin.split("; "):
            connection.exec_driver_sql(statement)
        try:
            _upgrade(connection)
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise
        connection.exec_driver_sql("COMMIT")


def revisions() -> list[str]:
    """Every revision that this release knows, the oldest first."""
    scripts = ScriptDirectory.from_config(_config())
    return [one.revision for one in reversed(list(scripts.walk_revisions()))]


@lru_cache
def statements(kind: str) -> tuple[str, ...]:
    """What makes the schema in an empty database."""
    dialect = sqlite.dialect() if kind == "sqlite" else postgresql.dialect()  # type: ignore[no-untyped-call]
    made = [str(CreateTable(table).compile(dialect=dialect)) for table in metadata.sorted_tables]
    for table in metadata.sorted_tables:
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        made += [str(CreateIndex(index).compile(dialect=dialect)) for index in indexes]
    return (*made, *triggers(kind), "INSERT INTO leadership (id, term, holder) VALUES (1, 0, '')")


def _upgrade(connection: Connection) -> None:
    found = MigrationContext.configure(connection).get_current_heads()
    if unknown := set(found) - set(revisions()):
        raise ForeignTables(", ".join(sorted(unknown)))
    if set(found) == {revisions()[-1]}:
        return
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    for statement in triggers(connection.dialect.name):
        connection.connection.driver_connection.execute(statement)  # type: ignore[union-attr]


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
