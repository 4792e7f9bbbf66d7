"""One process on a database leads, in numbered terms; one that was overtaken changes nothing any more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import pytest

from sealmarket_backend.book import OrderBook
from sealmarket_backend.database.leadership import Leadership
from sealmarket_backend.database.notices import EVERYTHING, ORDERS, Notices
from sealmarket_backend.errors import Deposed, StorageFailed
from sealmarket_backend.standing import Standing
from sealmarket_backend.tables import Connection, Database
from sealmarket_enclave.protocol.codec import Uint
from tests.backend.orders import NOW, RULES, compute, keys_only, offer_state
from tests.backend.postgres import Server
from tests.patience import PATIENCE, until


class Process:
    """What one process on a database has."""

    def __init__(self, place: Path | str) -> None:
        self.database = Database(place)
        self.leadership = Leadership(self.database)
        self.notices = Notices(self.database)
        self.orders = OrderBook(self.database, keys_only(), RULES, leading=False, tell=self.tell)

    def tell(self, connection: Connection) -> None:
        self.notices.tell(connection, ORDERS)

    def close(self) -> None:
        self.leadership.lose()
        self.notices.close()
        self.database.close()


@pytest.fixture
def processes(place: Path | str) -> Iterator[tuple[Process, Process]]:
    """Two on one database."""
    with ExitStack() as closing:
        made = Process(place), Process(place)
        for one in made:
            closing.callback(one.close)
        yield made


def kept(process: Process) -> int:
    return len(process.database.rows("SELECT name FROM kept"))


def keep(process: Process, name: bytes) -> None:
    with process.database.lead() as connection:
        connection.execute("INSERT INTO kept (name) VALUES (?)", (name,))


def test_a_process_that_does_not_lead_writes_nothing_as_a_leader(processes: tuple[Process, Process]) -> None:
    first, second = processes
    with pytest.raises(Deposed):
        keep(first, b"1")
    assert first.leadership.hold()
    assert [second.leadership.hold() for _ in range(3)] == [False] * 3
    with pytest.raises(Deposed, match="term 1 is under way"):
        keep(second, b"2")
    keep(first, b"3")
    assert (kept(first), kept(second)) == (1, 1)


def test_a_leader_that_lets_go_makes_room_for_the_next_term(processes: tuple[Process, Process]) -> None:
    first, second = processes
    assert first.leadership.hold()
    first.leadership.lose()
    assert second.leadership.hold()
    assert (first.leadership.term, second.leadership.term) == (0, 2)
    assert not first.leadership.hold()
    keep(second, b"1")


def test_a_leader_that_was_overtaken_without_knowing_changes_nothing(processes: tuple[Process, Process]) -> None:
    first, second = processes
    assert first.leadership.hold()
    key = first.orders.add_compute_order(compute(), NOW)
    first.leadership._lock.let_go()  # as when its session ends and it has not looked yet
    assert second.leadership.hold()
    assert first.leadership.leads
    acts: tuple[Callable[[], None], ...] = (
        lambda: keep(first, b"1"),
        lambda: first.orders.close_expired(NOW + 10**6),
        lambda: first.orders.stand("compute_orders", {key: Standing("cancelled", "a lie")}),
        first.leadership.require,
    )
    for act in acts:
        with pytest.raises(Deposed, match="led in term 1, and term 2 is under way"):
            act()
    assert (kept(first), offer_state(first.orders, key).state) == (0, "open")


def test_a_leader_whose_session_the_server_ended_leads_no_more(postgres: Server) -> None:
    place = postgres.make_schema("ended")
    first, second = Process(place), Process(place)
    try:
        assert first.leadership.hold()
        postgres.run(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND NOT pid = pg_backend_pid()"
        )
        until("the second leads", second.leadership.hold)
        assert not first.leadership.hold()
    finally:
        for one in (first, second):
            one.close()


# --- orders of other processes --------------------------------------------------------------------------------------


def test_an_order_that_a_replica_accepted_rests_at_the_leader(processes: tuple[Process, Process]) -> None:
    leader, replica = processes
    assert leader.leadership.hold()
    leader.orders.load()
    keys = [
        process.orders.add_compute_order(compute(salt=Uint(salt)), NOW)
        for salt, process in enumerate((replica, leader, replica))
    ]
    assert (len(replica.orders.offers), len(leader.orders.offers)) == (0, 1)
    assert leader.orders.take_new() == 3
    assert [row[-1] for row, _ in leader.orders.offers.rows()] == keys
    assert leader.orders.take_new() == 0
    assert replica.orders.open_compute_orders() == leader.orders.open_compute_orders()


def test_an_order_that_the_leader_could_not_keep_rests_once_another_process_accepts_it(
    processes: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_told: object) -> None:
        raise StorageFailed("the connection is gone")

    leader, replica = processes
    assert leader.leadership.hold()
    leader.orders.load()
    with monkeypatch.context() as patch:
        patch.setattr(leader.notices, "tell", fail)
        with pytest.raises(StorageFailed):
            leader.orders.add_compute_order(compute(), NOW)
    assert len(leader.orders.offers) == 0
    key = replica.orders.add_compute_order(compute(), NOW)
    assert leader.orders.take_new() == 1
    assert key in leader.orders.offers
    assert not replica.orders._own, "a replica remembers nothing of what it accepts"


def test_an_offer_that_was_matched_in_the_turn_in_which_it_came_is_not_offered_again(place: Path | str) -> None:
    with Database(place) as database:
        orders = OrderBook(database, keys_only(), RULES)
        key = orders.add_compute_order(compute(volume=1), NOW)
        orders.offers.set_left(key, 0)  # its match is sent
        assert orders.take_new() == 1
        assert key not in orders.offers


def test_a_replica_that_leads_offers_what_the_leader_did(processes: tuple[Process, Process]) -> None:
    first, second = processes
    first.leadership.hold()
    first.orders.load()
    for salt in range(3):
        (first, second)[salt % 2].orders.add_compute_order(compute(salt=Uint(salt)), NOW)
    first.orders.take_new()
    before = first.orders.offers.rows()
    first.leadership.lose()
    first.orders.follow()
    until("the lead is free", second.leadership.hold)
    second.orders.load()
    assert second.orders.offers.rows() == before
    assert len(first.orders.offers) == 0


# --- notices --------------------------------------------------------------------------------------------------------


def test_an_order_is_told_to_the_other_process(postgres: Server) -> None:
    place = postgres.make_schema("told")
    leader, replica = Process(place), Process(place)
    heard: list[str] = []
    try:
        leader.notices.subscribe(heard.append)
        assert leader.notices.listening.wait(PATIENCE)
        replica.orders.add_compute_order(compute(), NOW)
        until("the order is heard", lambda: ORDERS in heard)
    finally:
        for one in (leader, replica):
            one.close()


def tell_and_fail(database: Database, notices: Notices) -> None:
    with database.write() as connection:
        notices.tell(connection, "never")
        connection.execute("INSERT INTO kept (name) VALUES (NULL)")


def test_what_was_not_committed_is_told_to_nobody(database: Database) -> None:
    notices, heard = Notices(database), list[str]()
    try:
        end = notices.subscribe(heard.append)
        assert notices.listening.wait(PATIENCE)
        with pytest.raises(StorageFailed):
            tell_and_fail(database, notices)
        with database.write() as connection:
            notices.tell(connection, "done")
        until("the notice is heard", lambda: "done" in heard)
        assert "never" not in heard
        end()
    finally:
        notices.close()


def test_a_listener_whose_session_was_lost_hears_that_anything_may_have_changed(postgres: Server) -> None:
    process, heard = Process(postgres.make_schema("lost")), list[str]()
    try:
        process.notices.subscribe(heard.append)
        assert process.notices.listening.wait(PATIENCE)
        heard.clear()
        postgres.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN %'")
        until("it listens again", lambda: EVERYTHING in heard)
    finally:
        process.close()


def test_a_process_that_waited_for_its_turn_in_vain_writes_and_reads_once_the_other_has_ended(
    postgres: Server,
) -> None:
    url = postgres.make_schema("patience")
    with Database(url) as first, Database(f"{url}%20-clock_timeout%3D10") as second:
        with first.write(), pytest.raises(StorageFailed, match="just now") as failed, second.write():
            pass
        assert "lock timeout" in failed.value.detail
        assert second.rows("SELECT name FROM kept") == []
        with second.write() as connection:
            connection.execute("INSERT INTO kept (name) VALUES (?)", (b"second",))
        assert len(first.rows("SELECT name FROM kept")) == 1


def test_an_offer_whose_connection_died_after_its_commit_is_matched_all_the_same(database: Database) -> None:
    book = OrderBook(database, keys_only(), RULES)
    write = book.together.write

    def torn(make: Callable[[Connection], object]) -> None:
        write(make)
        book.offers.take(compute().order.struct_hash())  # as the offers' change is taken back
        book.take_new()
        raise StorageFailed("the connection died")

    with patch.object(book.together, "write", torn), pytest.raises(StorageFailed):
        book.add_compute_order(compute(), NOW)
    book.take_new()
    assert compute().order.struct_hash() in book.offers
