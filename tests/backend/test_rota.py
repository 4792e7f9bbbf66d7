"""Whatever one sender posts, a request waits for one look at each other sender's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket_backend.database.schema import ORDERS
from sealmarket_backend.rota import LEAST, SECONDS, Line, Rota, Waiting
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Bytes32


def posted(peer: str, count: int) -> list[Waiting]:
    return [Waiting(Bytes32(f"{peer}{number}".encode().rjust(32)), peer) for number in range(count)]


def looks(rota: Rota, waiting: list[Waiting]) -> list[str]:
    """Whose requests one turn looks at."""
    owners = {one.request_hash: one.peer for one in waiting}
    return [owners[request_hash] for request_hash in rota.due(waiting)]


def slow() -> Rota:
    """On a chain where one look takes the whole turn."""
    ticks = iter(range(10**9))
    return Rota(lambda: next(ticks) * SECONDS)


def test_a_thousand_requests_of_one_peer_do_not_keep_the_only_one_of_another() -> None:
    waiting = posted("flood", 1000) + posted("honest", 1)
    rota = slow()
    assert all("honest" in looks(rota, waiting) for _ in range(20))


def test_a_turn_ends_in_time_and_the_next_goes_on_where_it_ended() -> None:
    waiting, rota = posted("one", 3 * LEAST), slow()
    seen: list[Bytes32] = []
    for _ in range(3):
        turn = list(rota.due(waiting))
        assert len(turn) == LEAST
        seen += turn
    assert sorted(seen) == sorted(one.request_hash for one in waiting)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(1, 5))
def test_no_request_waits_longer_than_its_own_peers_requests_and_all_peers_explain(
    counts: list[int], turns: int
) -> None:
    waiting = [one for peer, count in enumerate(counts) for one in posted(str(peer), count)]
    rota = slow()
    for _ in range(turns):
        looks(rota, waiting)
    newest = Waiting(Bytes32(b"new".rjust(32)), "new")
    needed = -(-(len(counts) + 1) // LEAST)
    found: list[Bytes32] = []
    for _ in range(needed):
        found += rota.due([*waiting, newest])
    assert newest.request_hash in found


def test_a_peer_whose_requests_take_long_rests_and_holds_up_one_turn_in_many() -> None:
    """Sets of sixty thousand counterparts, another one for each request, took seconds to hash."""
    now = [0.0]
    rota = Rota(lambda: now[0])
    waiting = posted("costly", 50) + posted("honest", 1)
    seen: list[str] = []
    for _ in range(20):
        for request_hash in rota.due(waiting):
            peer = next(one.peer for one in waiting if one.request_hash == request_hash)
            now[0] += 2.0 if peer == "costly" else 0.01
            seen.append(peer)
        now[0] += 0.5
    assert seen.count("costly") <= 2
    assert seen.count("honest") >= 18


def test_where_time_allows_a_turn_looks_at_every_request_once() -> None:
    waiting = posted("a", 7) + posted("b", 2)
    assert sorted(Rota(lambda: 0.0).due(waiting)) == sorted(one.request_hash for one in waiting)


def test_what_is_open_no_more_is_forgotten() -> None:
    rota = Rota(lambda: 0.0)
    looks(rota, posted("gone", 50))
    looks(rota, [])
    assert (rota._requests, rota._peers) == ({}, {})


@pytest.fixture
def plans(database: Database) -> dict[str, str]:
    queries = {
        table: f"SELECT {key} FROM {table} WHERE state = 'open' AND expiry <= 7" for table, key in ORDERS.items()
    }
    queries |= {f"newest of {table}": f"SELECT MAX(sequence) FROM {table}" for table in list(queries)}
    if database.dialect.name == "sqlite":
        return {name: database.rows(f"EXPLAIN QUERY PLAN {query}")[0]["detail"] for name, query in queries.items()}
    with database.write() as connection:  # it scans empty tables unless it is told not to
        connection.execute("SET LOCAL enable_seqscan = off")
        plans = {name: connection.execute(f"EXPLAIN {query}").fetchall() for name, query in queries.items()}
    return {name: " ".join(str(row[0]) for row in rows) for name, rows in plans.items()}


def test_no_turn_and_no_post_reads_the_whole_book(plans: dict[str, str]) -> None:
    assert all("SEARCH" in plan or "Index" in plan for plan in plans.values()), plans
    assert not any("Seq Scan" in plan for plan in plans.values()), plans


def test_peers_get_what_is_given_in_the_order_in_which_they_came_for_it() -> None:
    line, served = Line(), []
    peers = ["one", "two", "three"]
    for _ in range(7):
        line.begin(peers)
        left = 1
        for peer in peers:
            if not line.is_next(peer):
                continue
            if left:
                left -= 1
                served.append(peer)
                line.leave(peer)
            else:
                line.wait(peer)
    assert served[:2] == ["one", "two"]
    assert all(set(served[n : n + 3]) == set(peers) for n in range(len(served) - 2))


def test_a_peer_that_asked_and_took_nothing_holds_up_no_other() -> None:
    line = Line()
    assert line.is_next("empty")
    line.wait("empty")
    assert not line.is_next("other")
    for _ in range(2):
        line.begin(["empty", "other"])
        asked = line.is_next("empty"), line.is_next("other")
    assert asked == (False, True)


def test_a_peer_that_has_no_request_any_more_has_no_place() -> None:
    line = Line()
    line.wait("gone")
    line.begin(["other"])
    assert line.is_next("other")
