"""One schema on every database: migrations lead to it, also from a file of the release before there were any."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from sealmarket.chain.memory import MemoryChain
from sealmarket_backend.book import OrderBook
from sealmarket_backend.database.dialects import UnknownDatabase, dialect_of
from sealmarket_backend.database.migrate import ForeignTables, revisions
from sealmarket_backend.database.schema import NEVER, metadata
from sealmarket_backend.database.triggers import triggers
from sealmarket_backend.errors import StorageFailed
from sealmarket_backend.index import Index
from sealmarket_backend.parts import Parts
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Address, Bytes32
from tests.backend.orders import BOOK, NOW, RULES, compute, keys_only, posted_request, state_of
from tests.backend.turncoats import settled_jobs

PARTY, FAR = Address(b"\1" * 20), 1 << 40
KEPT = {"requests": "request_hash", "compute_orders": "order_hash"}
RELEASE = Path(__file__).with_name("data") / "release_0_1_0.sql"
"""What the release before migrations wrote: orders, a job with its events, an asset, uploads, answers, and one order
that does not read."""
READ_AGAIN = {"jobs", "assets", "interruptions", "unreadable", "cursor", "cursors", "undo", "recording"}
"""What is emptied, since the chain says it again: the release before kept few of the events."""


@pytest.mark.parametrize(
    "url",
    ["", "backend.sqlite", "mysql://root:secret@h/d", "postgresql://u:secret@h/d", "sqlite://", "sqlite:///"],
)
def test_a_url_of_no_known_database_is_refused(url: str) -> None:
    with pytest.raises(UnknownDatabase) as refused:
        dialect_of(url)
    assert "secret" not in str(refused.value)


def test_a_database_of_a_later_release_is_refused_and_left_as_it_is(place: Path | str) -> None:
    with Database(place) as database, database.write() as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ForeignTables, match=r"'9999', expected one of 0001"):
        Database(place)


def test_a_migration_that_fails_half_way_leaves_the_file_of_before(tmp_path: Path) -> None:
    path = release(tmp_path)
    with opened(path) as connection:
        connection.execute("CREATE TABLE copy AS SELECT * FROM jobs")
        connection.execute("DROP TABLE jobs")
        connection.execute("ALTER TABLE copy RENAME TO jobs")
        connection.execute("UPDATE jobs SET provider = NULL")  # what no release wrote
    before = dump(path)
    with pytest.raises(StorageFailed) as failed:
        Database(path)
    assert "NOT NULL" in failed.value.detail
    assert dump(path) == before


def test_migrations_from_nothing_lead_to_the_schema(place: Path | str) -> None:
    with Database(place) as database, database._engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        found = {row[0] for row in database.rows(_TRIGGERS[database.dialect.name])}
        assert {name.lower() for name in found} == {name.lower() for name in made_triggers(database.dialect.name)}


_TRIGGERS = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
    "postgresql": "SELECT tgname AS name FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
    " WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace",
}


def made_triggers(kind: str) -> set[str]:
    words = [statement.split() for statement in triggers(kind) if " TRIGGER " in statement and "DROP" not in statement]
    return {one[one.index("TRIGGER") + 1] for one in words}


def test_the_tables_in_memory_are_those_of_a_file(tmp_path: Path) -> None:
    query = "SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' AND name != 'alembic_version'"
    with Database(None) as twin, Database(tmp_path / "backend.sqlite") as file:
        assert {row[0] for row in twin.rows(query)} == {row[0] for row in file.rows(query)}
        assert compare_metadata(MigrationContext.configure(twin._engine.connect()), metadata) == []


def test_what_was_migrated_is_opened_again_as_it_is(place: Path | str) -> None:
    with Database(place) as first:
        OrderBook(first, keys_only(), RULES).add_request(posted_request(), NOW)
    with Database(place) as again:
        assert len(OrderBook(again, keys_only(), RULES).open_requests()) == 1
        assert [row[0] for row in again.rows("SELECT version_num FROM alembic_version")] == revisions()[-1:]


def test_steps_follow_one_another_and_none_forks(place: Path | str) -> None:
    assert revisions() == [f"{number:04}" for number in range(1, len(revisions()) + 1)]


def test_tables_of_the_step_before_the_last_keep_their_rows(place: Path | str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = revisions()[-2]
    to_revision = command.upgrade
    with monkeypatch.context() as patch:
        patch.setattr(command, "upgrade", lambda config, _head: to_revision(config, before))
        with Database(place) as database:
            assert [row[0] for row in database.rows("SELECT version_num FROM alembic_version")] == [before]
            settled_jobs(database, PARTY, PARTY, 3, NOW)
            settled_jobs(database, PARTY, PARTY, 2, 0)
            with database.write() as connection:
                for table, key in KEPT.items():
                    columns = f"({key}, body, account, sequence, expiry, salt) VALUES (?, ?, ?, 1, ?, '')"
                    connection.execute(f"INSERT INTO {table} {columns}", (bytes(32), b"{}", bytes(20), FAR))
    with Database(place) as database, database._engine.connect() as opened:
        assert compare_metadata(MigrationContext.configure(opened), metadata) == []
        assert [len(database.rows(f"SELECT * FROM {table}")) for table in ("jobs", *KEPT)] == [5, 1, 1]
        assert Parts(database, lambda: NOW).of(PARTY, 1000) == 1000


# --- a file of the release before -----------------------------------------------------------------------------------


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A file, with what is done in the block."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.row_factory = sqlite3.Row
        yield connection


def release(folder: Path) -> Path:
    with opened(folder / "backend.sqlite") as connection:
        connection.executescript(RELEASE.read_text())
    return folder / "backend.sqlite"


def dump(path: Path) -> list[str]:
    with opened(path) as connection:
        return list(connection.iterdump())


def rows_of(path: Path) -> dict[str, list[dict[str, object]]]:
    """Every row of every table, the oldest first; texts and bytes alike."""
    with opened(path) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: [
                {column: as_text(row[column]) for column in row.keys()}  # noqa: SIM118 - a row is no mapping
                for row in connection.execute(f"SELECT * FROM {name} ORDER BY rowid")
            ]
            for name in names
        }


LATER = {
    *("alembic_version", "changes", "changes_epoch", "events", "gas_spent", "idempotency_keys", "leadership"),
    *("nonces", "offer_senders", "served_assets", "services", "sessions"),
}
"""Tables that releases after it brought."""


def test_a_file_of_the_release_before_keeps_every_row(tmp_path: Path) -> None:
    path = release(tmp_path)
    before = rows_of(path)
    Database(path).close()
    after = rows_of(path)
    assert set(after) == set(before) - {"job_events"} | LATER
    for table in set(after) & set(before) - READ_AGAIN:
        assert before[table], f"the old file has nothing in {table}"
        pairs = zip(before[table], after[table], strict=True)
        assert [{name: new[name] for name in old} for old, new in pairs] == before[table]
    assert all(after[table] == [] for table in READ_AGAIN)


def as_text(value: object) -> object:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def test_a_file_of_the_release_before_goes_on_where_it_was(tmp_path: Path) -> None:
    with Database(release(tmp_path)) as database:
        book = OrderBook(database, keys_only(), RULES)
        assert len(book.open_compute_orders()) == 3
        assert [state_of(book, one).state for one in keys(database, "requests")] == ["matched", "open", "expired"]
        expiries = [row[0] for row in database.rows("SELECT expiry FROM compute_orders ORDER BY sequence")]
        assert expiries == [*[compute().order.expiry] * 3, NEVER]
        index = Index(database, MemoryChain(BOOK), start=3)
        assert (index.jobs(), index.assets(), index.position()) == ([], [], 2)
        key = book.add_compute_order(compute(volume=7), NOW)
        assert database.rows("SELECT sequence FROM compute_orders WHERE order_hash = ?", key)[0][0] == 100


def keys(database: Database, table: str) -> list[Bytes32]:
    return [Bytes32(row[0]) for row in database.rows(f"SELECT request_hash FROM {table} ORDER BY sequence")]


def test_a_file_that_lacks_what_the_last_releases_added_is_taken_over_too(tmp_path: Path) -> None:
    path = release(tmp_path)
    with opened(path) as connection:
        for action in ("INSERT", "UPDATE", "DELETE"):
            connection.execute(f"DROP TRIGGER undo_{action}_compute_orders")
        for column in ("used", "reason"):
            connection.execute(f"ALTER TABLE compute_orders DROP COLUMN {column}")
        connection.execute("DROP TABLE answers")
    with Database(path) as database:
        assert len(OrderBook(database, keys_only(), RULES).offers) == 3
        assert database.rows("SELECT * FROM answers") == []
