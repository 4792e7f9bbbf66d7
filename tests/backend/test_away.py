"""A PostgreSQL that is away: what needs it is refused at once, and goes on by itself when it is back."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from sealmarket.chain.memory import MemoryChain
from sealmarket.protocol.problems import Problem
from sealmarket_backend import tables
from sealmarket_backend.api import create_app
from sealmarket_backend.errors import StorageFailed
from sealmarket_backend.service import Backend
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Bytes32, decode
from tests.backend.orders import BOOK
from tests.backend.postgres import Server, missing
from tests.backend.test_api import Client
from tests.patience import PATIENCE, until

CALLERS = 8


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    if why := missing():
        pytest.skip(why)
    with closing(Server(durable=True)) as made:
        yield made


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often a connection was opened; a look comes when a test asks for it."""
    monkeypatch.setattr(tables, "LOOK_SECONDS", PATIENCE)
    return []


def count_openings(database: Database, looks: list[int], patch: pytest.MonkeyPatch) -> None:
    opened = database._engine.raw_connection

    def counted() -> object:
        looks.append(1)
        return opened()

    patch.setattr(database._engine, "raw_connection", counted)


def keep(database: Database, number: int) -> None:
    with database.write() as connection:
        connection.execute("INSERT INTO kept (name) VALUES (?)", (Bytes32(number.to_bytes(32)),))


def read(database: Database) -> None:
    database.rows("SELECT name FROM kept")


def look_now(database: Database) -> None:
    assert database._next_look is not None
    database._next_look = 0.0


def test_once_it_is_away_nobody_waits_for_it_and_one_call_at_a_time_looks(
    server: Server, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Database(server.make_schema("away"), patience=0) as database, ThreadPoolExecutor(CALLERS) as callers:
        keep(database, 1)
        server.stop()
        try:
            with pytest.raises(StorageFailed):
                keep(database, 2)
            count_openings(database, looks, monkeypatch)
            asked = [callers.submit(keep, database, number) for number in range(3, 3 + CALLERS)]
            asked += [callers.submit(read, database) for _ in range(CALLERS)]
            assert all(isinstance(one.exception(PATIENCE), StorageFailed) for one in asked)
            assert looks == [], "a call waited for a database that was known to be away"
            look_now(database)
            asked = [callers.submit(keep, database, 2) for _ in range(CALLERS)]
            assert all(isinstance(one.exception(PATIENCE), StorageFailed) for one in asked)
            assert looks == [1]
        finally:
            server.start()
        with pytest.raises(StorageFailed):
            keep(database, 2)
        look_now(database)
        keep(database, 2)
        assert len(database.rows("SELECT name FROM kept")) == 2, "what was refused was kept"


def test_it_is_found_to_be_back_without_a_restart_of_the_backend(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "LOOK_SECONDS", 0.1)
    with Database(server.make_schema("back"), patience=0) as database:
        server.stop()
        try:
            with pytest.raises(StorageFailed):
                database.rows("SELECT name FROM kept")
        finally:
            server.start()

        def answers() -> bool:
            try:
                keep(database, 1)
            except StorageFailed:
                return False
            return True

        until("it takes what is written", answers)
        assert len(database.rows("SELECT name FROM kept")) == 1


def test_a_short_absence_is_waited_for(server: Server) -> None:
    with Database(server.make_schema("short"), patience=PATIENCE) as database, ThreadPoolExecutor(1) as callers:
        server.stop()
        try:
            waiting = callers.submit(keep, database, 1)
        finally:
            server.start()
        assert waiting.exception(PATIENCE) is None
        assert database._next_look is None


def test_a_client_is_told_to_come_back_later(server: Server, looks: list[int], tmp_path: Path) -> None:
    assert looks == []
    with Backend(MemoryChain(BOOK), object(), tmp_path, database=server.make_schema("told")) as backend:  # type: ignore[arg-type]
        client = Client(create_app(backend))
        backend.database._patience = 0
        server.stop()
        try:
            for _ in range(2):
                answer = client.get("/v1/orders/0x" + "00" * 32)
                assert answer.status_code == 503
                assert int(answer.headers["retry-after"]) > 0
                assert decode(Problem, answer.content).type.endswith("storage-failed")
        finally:
            server.start()
        look_now(backend.database)
        assert client.get("/v1/orders/0x" + "00" * 32).status_code == 404
