"""Several backends on one PostgreSQL, each a process: what one has accepted is matched once, whoever ends meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from sealmarket_backend.book import OrderBook
from sealmarket_backend.database.notices import ORDERS, Notices
from sealmarket_backend.errors import StorageFailed
from sealmarket_backend.tables import Connection, Database
from sealmarket_enclave.protocol.codec import Bytes32, Uint
from tests.backend.orders import NOW, RULES, compute, keys_only, posted_request
from tests.backend.postgres import Server
from tests.backend.replica import SharedJobs, replica
from tests.patience import until

REQUESTS = 40


@contextmanager
def running(place: str, folder: Path, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A backend, as a process that is killed where the block ends."""
    command = [sys.executable, "-m", "tests.backend.replica", place, str(folder), name, str(os.getpid())]
    with (folder / f"log-{name}").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            until(f"{name} runs", lambda: (folder / f"ready-{name}").exists() or process.poll() is not None)
            assert process.poll() is None, (folder / f"log-{name}").read_text()
            yield process
        finally:
            process.kill()


class Poster:
    """Accepts orders, as a backend that does not lead."""

    def __init__(self, place: str) -> None:
        self.database = Database(place)
        self.notices = Notices(self.database)
        self.orders = OrderBook(self.database, keys_only(), RULES, leading=False, tell=self._tell)

    def _tell(self, connection: Connection) -> None:
        self.notices.tell(connection, ORDERS)

    def offer(self) -> None:
        self.orders.add_compute_order(compute(volume=1000), NOW)

    def ask(self, number: int) -> Bytes32:
        """One request; where the database is away it is posted again, as a client does."""
        while True:
            try:
                return self.orders.add_request(posted_request(salt=Uint(number)), NOW)
            except StorageFailed:
                continue

    def close(self) -> None:
        self.notices.close()
        self.database.close()


@pytest.fixture
def place(postgres: Server) -> str:
    return postgres.make_schema("replicas")


@pytest.fixture
def poster(place: str) -> Iterator[Poster]:
    with closing(Poster(place)) as made:
        made.offer()
        yield made


def test_a_leader_that_is_killed_while_orders_flow_loses_none_and_none_is_matched_twice(
    place: str, poster: Poster, tmp_path: Path
) -> None:
    jobs = SharedJobs(tmp_path)
    with running(place, tmp_path, "first") as first, running(place, tmp_path, "second"):
        with ThreadPoolExecutor(4) as posters:
            asked = [posters.submit(poster.ask, number) for number in range(REQUESTS)]
            until("the first matches", jobs.rows)
            first.send_signal(signal.SIGKILL)
            accepted = {one.result() for one in asked}
        accepted |= {poster.ask(number) for number in range(REQUESTS, 2 * REQUESTS)}
        until("all are matched", lambda: {request for request, _ in jobs.rows()} >= accepted)
    matched = jobs.rows()
    assert Counter(request for request, _ in matched) == Counter(accepted)
    assert {name for _, name in matched} == {"first", "second"}
    assert len(accepted) == 2 * REQUESTS == len(poster.orders.open_requests())


def test_a_leader_that_is_overtaken_in_the_midst_of_a_turn_sends_nothing(
    place: str, poster: Poster, postgres: Server, tmp_path: Path
) -> None:
    jobs, hold = SharedJobs(tmp_path), tmp_path / "hold-first"
    hold.touch()
    with running(place, tmp_path, "first"), running(place, tmp_path, "second"):
        request = poster.ask(0)
        until("the first is about to send", (tmp_path / "held-first").exists)
        postgres.run(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = 24226"  # LEADERS
        )
        until("the second matches", jobs.rows)
        hold.unlink()
        until("the first knows", lambda: "term 2 is under way" in (tmp_path / "log-first").read_text())
        poster.ask(1)
        until("both are matched", lambda: len(jobs.rows()) > 1)
    assert [name for _, name in jobs.rows()] == ["second", "second"]
    assert request in {found for found, _ in jobs.rows()}


def test_a_database_that_is_restarted_under_load_loses_no_accepted_order(tmp_path: Path) -> None:
    with closing(Server()) as server:
        place, jobs = server.url(), SharedJobs(tmp_path)
        with closing(Poster(place)) as poster, replica(place, tmp_path, "only") as backend:
            poster.offer()
            backend.start()
            with ThreadPoolExecutor(4) as posters:
                asked = [posters.submit(poster.ask, number) for number in range(2 * REQUESTS)]
                until("some are matched", jobs.rows)
                server.stop(signal.SIGINT)
                server.start()
                accepted = {one.result() for one in asked}
            until("all are matched", lambda: {request for request, _ in jobs.rows()} >= accepted)
            assert Counter(request for request, _ in jobs.rows()) == Counter(accepted)
            assert len(poster.orders.open_requests()) == 2 * REQUESTS
            until("the keeper is well", lambda: backend.health()["ok"] and backend.health()["leads"])
