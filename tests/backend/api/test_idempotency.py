"""A key belongs to one route and one body; who sends it again gets the same answer, and nothing is done twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.protocol.problems import Problem
from sealmarket_backend.api import idempotency
from sealmarket_backend.api.idempotency import HEADER, HELD_SECONDS, KEPT_SECONDS, Idempotency, Keep, KeptAnswer
from sealmarket_backend.errors import KeyInUse, KeyReused, Rejected
from sealmarket_backend.service import Backend
from sealmarket_backend.tables import Connection, Database
from sealmarket_backend.together import Together
from sealmarket_enclave.protocol.codec import Uint, canonical_json, decode
from sealmarket_enclave.protocol.errors import MalformedDocument
from tests.backend.orders import posted_request
from tests.backend.test_api import SOON, Client
from tests.patience import PATIENCE

ROUTE, BODY, PEER = "/v1/requests", b"{}", "10.0.0.1"
MADE = KeptAnswer(201, b'{"requestHash":"0x"}')


class Clock:
    """Seconds since 1970, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(database: Database, clock: Clock) -> Idempotency:
    return Idempotency(database, clock)


def never() -> KeptAnswer:
    pytest.fail("it was done again")


def test_another_body_under_a_key_is_refused_and_nothing_is_done(keys: Idempotency) -> None:
    keys.once(ROUTE, "k", BODY, PEER, lambda: MADE)
    with pytest.raises(KeyReused):
        keys.once(ROUTE, "k", b"[]", PEER, never)


@given(st.text(max_size=70).filter(lambda key: not (0 < len(key) <= 64 and all("!" <= one <= "~" for one in key))))
def test_what_is_no_key_is_refused(key: str) -> None:
    with Database(None) as database, pytest.raises(MalformedDocument):
        Idempotency(database, Clock()).once(ROUTE, key, BODY, PEER, never)


def test_the_same_key_and_body_give_the_same_answer_once_it_was_done(keys: Idempotency) -> None:
    assert keys.once(ROUTE, "k", BODY, PEER, lambda: MADE) == MADE
    assert keys.once(ROUTE, "k", BODY, "10.0.0.2", never) == MADE


def test_a_key_of_another_route_is_another_key(keys: Idempotency) -> None:
    keys.once(ROUTE, "k", BODY, PEER, lambda: MADE)
    assert keys.once("/v1/results", "k", b"[]", PEER, lambda: KeptAnswer(201, b"")).body == b""


def test_while_a_request_is_under_way_the_second_is_told_to_wait(keys: Idempotency) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slowly() -> KeptAnswer:
        begun.set()
        assert go_on.wait(PATIENCE)
        return MADE

    first = threading.Thread(target=keys.once, args=(ROUTE, "k", BODY, PEER, slowly))
    first.start()
    try:
        assert begun.wait(PATIENCE)
        with pytest.raises(KeyInUse):
            keys.once(ROUTE, "k", BODY, PEER, never)
    finally:
        go_on.set()
        first.join()
    assert keys.once(ROUTE, "k", BODY, PEER, never) == MADE


def test_while_one_process_carries_a_request_out_another_on_the_database_does_not(
    keys: Idempotency, database: Database, clock: Clock
) -> None:
    other = Idempotency(database, clock)

    def meanwhile() -> KeptAnswer:
        if database.dialect.is_shared:
            with pytest.raises(KeyInUse):
                other.once(ROUTE, "k", BODY, PEER, never)
        return MADE

    assert keys.once(ROUTE, "k", BODY, PEER, meanwhile) == MADE
    assert other.once(ROUTE, "k", BODY, PEER, never) == MADE


def test_the_key_of_what_was_refused_is_free_again(keys: Idempotency) -> None:
    def refuse() -> KeptAnswer:
        raise Rejected("no")

    with pytest.raises(Rejected):
        keys.once(ROUTE, "k", BODY, PEER, refuse)
    assert keys.once(ROUTE, "k", b"[]", PEER, lambda: MADE) == MADE


def noted(database: Database, *, number: int = 1, refused: bool = False) -> Callable[[Keep], KeptAnswer]:
    """What keeps a number and its answer in one transaction."""

    def do(keep: Keep) -> KeptAnswer:
        with database.write() as connection:
            connection.execute("INSERT INTO kept (name) VALUES (?)", (number.to_bytes(32),))
            keep(connection, MADE)
            if refused:
                raise Rejected("no")
        return MADE

    return do


def not_again(_keep: Keep) -> KeptAnswer:
    pytest.fail("it was done again")


def test_what_is_done_in_one_transaction_has_its_key_there_or_neither_is_kept(
    keys: Idempotency, database: Database, clock: Clock
) -> None:
    with pytest.raises(Rejected):
        keys.within(ROUTE, "k", BODY, PEER, noted(database, refused=True))
    assert database.rows("SELECT name FROM kept") == database.rows("SELECT name FROM idempotency_keys") == []
    assert keys.within(ROUTE, "k", b"[]", PEER, noted(database)) == MADE, "the key of what was refused is free"
    restarted = Idempotency(database, clock)
    assert restarted.within(ROUTE, "k", b"[]", PEER, not_again) == MADE
    with pytest.raises(KeyReused):
        restarted.within(ROUTE, "k", BODY, PEER, not_again)


def test_a_key_that_another_process_took_meanwhile_for_another_body_refuses_what_is_done(
    keys: Idempotency, database: Database, clock: Clock
) -> None:
    other = Idempotency(database, clock)

    def meanwhile(keep: Keep) -> KeptAnswer:
        assert other.within(ROUTE, "k", b"[]", PEER, noted(database)) == MADE
        return noted(database, number=2)(keep)

    with pytest.raises(KeyReused):
        keys.within(ROUTE, "k", BODY, PEER, meanwhile)
    assert [int.from_bytes(row["name"]) for row in database.rows("SELECT name FROM kept")] == [1]

    def same(keep: Keep) -> KeptAnswer:
        assert other.within(ROUTE, "same", BODY, PEER, noted(database, number=3)) == MADE
        return noted(database, number=4)(keep)

    assert keys.within(ROUTE, "same", BODY, PEER, same) == MADE, "the same body is the same twice as once"


def test_the_key_of_what_is_done_in_one_transaction_holds_for_a_day_and_a_peer_has_so_many(
    keys: Idempotency, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "MOST_OF_PEER", 4)
    for number in range(9):
        keys.within(ROUTE, f"k{number}", BODY, PEER, noted(database, number=number))
    assert len(database.rows("SELECT name FROM idempotency_keys")) == 4
    clock.now += KEPT_SECONDS
    assert keys.within(ROUTE, "k8", b"[]", PEER, noted(database, number=99)) == MADE
    assert len(database.rows("SELECT name FROM idempotency_keys")) == 1


class Killed(BaseException):
    """The process ends here."""


def test_after_a_crash_before_the_answer_was_kept_the_same_body_is_done_again_and_no_other(
    keys: Idempotency, database: Database, clock: Clock
) -> None:
    def die() -> KeptAnswer:
        raise Killed

    with pytest.raises(Killed):
        keys.once(ROUTE, "k", BODY, PEER, die)
    restarted = Idempotency(database, clock)
    with pytest.raises(KeyReused):
        restarted.once(ROUTE, "k", b"[]", PEER, never)
    if database.dialect.is_shared:
        with pytest.raises(KeyInUse):
            restarted.once(ROUTE, "k", BODY, PEER, never)
        clock.now += HELD_SECONDS
    assert restarted.once(ROUTE, "k", BODY, PEER, lambda: MADE) == MADE


def test_a_key_holds_for_a_day(keys: Idempotency, clock: Clock) -> None:
    keys.once(ROUTE, "k", BODY, PEER, lambda: MADE)
    clock.now += KEPT_SECONDS - 1
    assert keys.once(ROUTE, "k", BODY, PEER, never) == MADE
    clock.now += 1
    other = KeptAnswer(201, b"again")
    assert keys.once(ROUTE, "k", b"[]", PEER, lambda: other) == other


@pytest.mark.parametrize(
    ("limit", "peers"), [("MOST_OF_PEER", [PEER] * 9), ("MOST_KEYS", [f"10.0.0.{n}" for n in range(9)])]
)
def test_keys_are_bounded_and_the_oldest_go_first(
    keys: Idempotency, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch, limit: str, peers: list[str]
) -> None:
    monkeypatch.setattr(idempotency, limit, 4)
    for number, peer in enumerate(peers):
        clock.now += 1
        keys.once(ROUTE, f"k{number}", BODY, peer, lambda: MADE)
    assert len(database.rows("SELECT name FROM idempotency_keys")) == 4
    for number in range(5, 9):
        assert keys.once(ROUTE, f"k{number}", BODY, PEER, never) == MADE


def test_a_flood_of_one_peer_pushes_no_other_peers_key_out(
    keys: Idempotency, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "MOST_OF_PEER", 4)
    monkeypatch.setattr(idempotency, "MOST_KEYS", 10)
    keys.once(ROUTE, "mine", BODY, PEER, lambda: MADE)
    for number in range(20):
        clock.now += 1
        keys.once(ROUTE, f"k{number}", BODY, "10.0.0.66", lambda: MADE)
    assert keys.once(ROUTE, "mine", BODY, PEER, never) == MADE


def test_over_http_a_key_gives_one_answer_and_refuses_another_body(client: Client, backend: Backend) -> None:
    first, other = (canonical_json(posted_request(expiry=SOON, salt=Uint(salt))) for salt in (1, 2))

    def post(body: bytes, **headers: Any) -> Any:
        return client.send("POST", "/v1/requests", body, {HEADER: "one", **headers})

    accepted = post(first)
    assert accepted.status_code == 201
    assert post(first).content == accepted.content
    refused = post(other)
    assert (refused.status_code, decode(Problem, refused.content).type) == (422, "/v1/problems/key-reused")
    assert post(other, **{HEADER: "two"}).status_code == 201
    rows = backend.database.rows("SELECT request_hash FROM requests")
    assert len(rows) == 2
    assert msgspec.json.decode(accepted.content)["requestHash"] in {"0x" + row["request_hash"].hex() for row in rows}


def test_an_answer_is_given_again_before_it_is_on_disk(database: Database, clock: Clock) -> None:
    together, begun, go_on = Together(database, nullcontext), threading.Event(), threading.Event()
    keys = Idempotency(database, clock, together)

    def occupy(_connection: Connection) -> None:
        begun.set()
        assert go_on.wait(PATIENCE)

    def do() -> KeptAnswer:
        others.append(posters.submit(together.write, occupy))  # another's change is being written as the answer is made
        assert begun.wait(PATIENCE)
        return MADE

    others: list[Future[None]] = []
    with ThreadPoolExecutor(1) as posters:
        assert keys.once(ROUTE, "k", BODY, PEER, do) == MADE
        assert keys.once(ROUTE, "k", BODY, PEER, never) == MADE
        with pytest.raises(KeyReused):
            keys.once(ROUTE, "k", b"[]", PEER, never)
        go_on.set()
        others[0].result(PATIENCE)
    assert database.row("SELECT answer FROM idempotency_keys WHERE status = 201") is not None
    assert keys.once(ROUTE, "k", BODY, PEER, never) == MADE
    assert not keys._unwritten
