"""Whatever one sender posts, a request waits for one look at each other sender's."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket_backend import parts
from sealmarket_backend import rota as rota_module
from sealmarket_backend.book import WAITING
from sealmarket_backend.database.schema import ORDERS
from sealmarket_backend.rota import LEAST, SECONDS, Line, Rota, Waiting
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Bytes32


def posted(peer: str, count: int, first: int = 1) -> list[Waiting]:
    """Requests of one peer, named by their numbers and placed by them."""
    numbers = range(first, first + count)
    return [Waiting(number, Bytes32(f"{peer}{number}".encode().rjust(32)), peer) for number in numbers]


def one_after_another(*lists: list[Waiting]) -> list[Waiting]:
    """The same, at places in this order."""
    return [replace(one, sequence=place) for place, one in enumerate((one for some in lists for one in some), 1)]


class Book:
    """What is open, read in pages."""

    def __init__(self, *waiting: list[Waiting]) -> None:
        self.open = one_after_another(*waiting)
        self.last = len(self.open)
        self.read: list[int] = []
        """How many each page had."""

    def page(self, after: int, limit: int) -> list[Waiting]:
        found = sorted((one for one in self.open if one.sequence > after), key=lambda one: one.sequence)[:limit]
        self.read.append(len(found))
        return found

    def post(self, *waiting: list[Waiting]) -> None:
        self.open += [replace(one, sequence=self.last + one.sequence) for one in one_after_another(*waiting)]
        self.last += sum(map(len, waiting))


def turn(rota: Rota) -> list[Waiting]:
    rota.read()
    return list(rota.due())


def looks(rota: Rota) -> list[str]:
    """Whose requests one turn looks at."""
    return [one.peer for one in turn(rota)]


def hashes(waiting: list[Waiting]) -> list[Bytes32]:
    return sorted(one.request_hash for one in waiting)


def slow(book: Book) -> Rota:
    """On a chain where one look takes the whole turn."""
    ticks = iter(range(10**9))
    return Rota(book.page, lambda: next(ticks) * SECONDS)


def test_a_thousand_requests_of_one_peer_do_not_keep_the_only_one_of_another() -> None:
    rota = slow(Book(posted("flood", 1000), posted("honest", 1)))
    assert all("honest" in looks(rota) for _ in range(20))


def test_a_turn_reads_two_pages_however_many_requests_are_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rota_module, "PAGE", 10)
    book = Book(posted("flood", 100))
    rota = slow(book)
    for _ in range(30):
        turn(rota)
    assert len(book.read) == 2 * 30
    assert max(book.read) <= 10


def test_a_turn_ends_in_time_and_the_next_goes_on_where_it_ended() -> None:
    book = Book(posted("one", 3 * LEAST))
    rota, seen = slow(book), list[Waiting]()
    for _ in range(3):
        due = turn(rota)
        assert len(due) == LEAST
        seen += due
    assert hashes(seen) == hashes(book.open)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(1, 5))
def test_no_request_waits_longer_than_its_own_peers_requests_and_all_peers_explain(
    counts: list[int], turns: int
) -> None:
    book = Book(*(posted(str(peer), count) for peer, count in enumerate(counts)))
    rota = slow(book)
    for _ in range(turns):
        looks(rota)
    book.post(posted("new", 1))
    needed = -(-(len(counts) + 1) // LEAST)
    assert "new" in [peer for _ in range(needed) for peer in looks(rota)]


def test_a_peer_whose_requests_take_long_rests_and_holds_up_one_turn_in_many() -> None:
    """Sets of sixty thousand counterparts, another one for each request, took seconds to hash."""
    now = [0.0]
    rota = Rota(Book(posted("costly", 50), posted("honest", 1)).page, lambda: now[0])
    seen: list[str] = []
    for _ in range(20):
        rota.read()
        for one in rota.due():
            now[0] += 2.0 if one.peer == "costly" else 0.01
            seen.append(one.peer)
        now[0] += 0.5
    assert seen.count("costly") <= 2
    assert seen.count("honest") >= 18


def test_where_time_allows_a_turn_looks_at_every_request_once() -> None:
    book = Book(posted("a", 7), posted("b", 2))
    rota = Rota(book.page, lambda: 0.0)
    for _ in range(3):
        assert hashes(turn(rota)) == hashes(book.open)


def test_what_is_open_no_more_is_forgotten_and_named() -> None:
    book = Book(posted("gone", 50), posted("there", 1))
    rota = Rota(book.page, lambda: 0.0)
    turn(rota)
    gone, book.open = book.open[:50], book.open[50:]
    assert hashes(rota.read()) == hashes(gone)
    assert looks(rota) == ["there"]
    book.open = []
    turn(rota)
    assert (rota._waiting, rota._peers, rota._served) == ([], {}, {})


def test_a_request_that_opens_again_has_its_turn_again() -> None:
    book = Book(posted("a", 3))
    rota = Rota(book.page, lambda: 0.0)
    turn(rota)
    was, book.open = book.open, book.open[1:]
    for one in turn(rota):
        assert one != was[0]
    book.open = was
    assert hashes(turn(rota)) == hashes(was)


@pytest.mark.parametrize("swept", [False, True])
def test_a_request_that_was_dropped_and_is_open_has_its_turn_again(swept: bool) -> None:
    """It was matched in a block that is gone, before or after the round through all came by."""
    book = Book(posted("a", 3))
    rota = Rota(book.page, lambda: 0.0)
    [matched, *others] = turn(rota)
    rota.drop(matched)
    if swept:
        book.open = others
        assert hashes(turn(rota)) == hashes(others)
    book.open = [matched, *others]
    assert hashes(turn(rota)) == hashes(book.open)


changes = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 6), st.integers(0, 12), st.booleans()), min_size=1, max_size=25
)


@given(changes, st.integers(1, 5))
def test_after_a_round_exactly_what_is_open_has_its_turns_whatever_opened_and_closed(
    steps: list[tuple[str, int, int, bool]], page: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rota_module, "PAGE", page)
        book = Book()
        rota, was = Rota(book.page, lambda: 0.0), list[Waiting]()
        for number, (peer, count, closed, reopens) in enumerate(steps):
            book.post(posted(peer, count, 100 * number))
            if reopens:
                book.open, was = book.open + was, []
            was += book.open[closed:]
            book.open = book.open[:closed]
            looked = hashes(turn(rota))
            assert len(set(looked)) == len(looked)
        for _ in range(2 * (len(book.open) + len(was)) // page + 3):
            turn(rota)
        assert hashes(turn(rota)) == hashes(book.open)


@pytest.fixture
def plans(database: Database) -> dict[str, str]:
    queries = {
        table: f"SELECT {key} FROM {table} WHERE state = 'open' AND expiry <= 7" for table, key in ORDERS.items()
    }
    queries |= {f"newest of {table}": f"SELECT MAX(sequence) FROM {table}" for table in list(queries)}
    queries["a page of requests that wait"] = WAITING.replace("?", "7")
    queries["jobs settled lately"] = parts.ALL.replace("?", "7")
    queries["their parties"] = parts.PARTIES.replace("?", "7")
    if database.dialect.name == "sqlite":
        rows = {name: database.rows(f"EXPLAIN QUERY PLAN {query}") for name, query in queries.items()}
        return {name: " ".join(row["detail"] for row in found) for name, found in rows.items()}
    with database.write() as connection:  # it scans empty tables unless it is told not to
        connection.execute("SET LOCAL enable_seqscan = off")
        plans = {name: connection.execute(f"EXPLAIN {query}").fetchall() for name, query in queries.items()}
    return {name: " ".join(str(row[0]) for row in rows) for name, rows in plans.items()}


def test_no_turn_and_no_post_reads_the_whole_book(plans: dict[str, str]) -> None:
    assert all("SEARCH" in plan or "Index" in plan for plan in plans.values()), plans
    assert not any("Seq Scan" in plan or "SCAN jobs" in plan for plan in plans.values()), plans


def there(one: Waiting) -> bool:
    """Every request is open."""
    return True


def a_request_of_each(*peers: str) -> list[Waiting]:
    return [one for peer in peers for one in posted(peer, 1)]


def test_peers_get_what_is_given_in_the_order_in_which_they_came_for_it() -> None:
    line, served = Line(), []
    asked = a_request_of_each("one", "two", "three")
    for _ in range(7):
        line.begin(there)
        left = 1
        for one in asked:
            if not line.is_next(one):
                continue
            if left:
                left -= 1
                served.append(one.peer)
                line.took(one)
            else:
                line.wait(one)
    assert served[:2] == ["one", "two"]
    assert all(set(served[n : n + 3]) == {"one", "two", "three"} for n in range(len(served) - 2))


def test_a_peer_that_asked_and_took_nothing_holds_up_no_other() -> None:
    line = Line()
    empty, other = a_request_of_each("empty", "other")
    assert line.is_next(empty)
    line.wait(empty)
    assert not line.is_next(other)
    for _ in range(2):
        line.begin(there)
        asked = line.is_next(empty), line.is_next(other)
    assert asked == (False, True)


def test_a_peer_whose_request_is_open_no_more_has_no_place_whatever_else_it_has_posted() -> None:
    line = Line()
    gone, other = a_request_of_each("gone", "other")
    line.wait(gone)
    assert line.begin(lambda one: one != gone) is None
    assert line.is_next(other)


def test_a_peer_that_was_looked_at_first_and_does_not_ask_keeps_no_place() -> None:
    line = Line()
    silent, other = a_request_of_each("silent", "other")
    line.wait(silent)
    assert not line.is_next(other)
    first = line.begin(there)
    assert first == silent
    line.looks_at(first)
    assert line.begin(there) == other
    assert line.is_next(other)


def test_a_request_that_waits_for_nothing_ends_its_own_place_alone() -> None:
    line = Line()
    waits, paid = posted("shared", 2)
    line.wait(waits)
    line.leave(paid)
    assert line.begin(there) == waits
    line.leave(waits)
    assert line.begin(there) is None


def test_the_first_in_the_line_is_looked_at_in_each_turn_whatever_new_its_peer_posts() -> None:
    """New requests of a peer come before its others: it posted as many as a turn looks at, and its first one waited."""
    book = Book(posted("first", 1), posted("second", 1))
    rota = slow(book)
    [first, _] = turn(rota)
    for number in range(1, 20):
        book.post(posted("first", 2 * LEAST, 100 * number))
        rota.read()
        assert next(rota.due(first)) == first


def test_a_first_one_that_is_open_no_more_or_whose_peer_rests_is_not_looked_at() -> None:
    now = [0.0]
    book = Book(posted("costly", 1), posted("other", 1))
    rota = Rota(book.page, lambda: now[0])
    rota.read()
    [first] = book.open[:1]
    for _ in rota.due():
        now[0] += 2.0
    assert [one.peer for one in rota.due(first)] == ["other"]
    now[0] += 100.0
    assert [one.peer for one in rota.due(first)] == ["costly", "other"]
    book.open = [one for one in book.open if one != first]
    rota.read()
    assert [one.peer for one in rota.due(first)] == ["other"]
