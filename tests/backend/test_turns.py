"""However many jobs there are, one turn looks at a bounded number for a bounded time, and each has its turn."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from sealmarket_backend.turns import LEAST, MOST, SECONDS, Turns


def page_of(places: list[int]) -> Callable[[int, int], list[tuple[int, int | None]]]:
    """What stands at these places now; each is its own place, and a negative one cannot be read."""

    def page(after: int, limit: int) -> list[tuple[int, int | None]]:
        behind = sorted((abs(place), place) for place in places if abs(place) > after)
        return [(place, one if one > 0 else None) for place, one in behind[:limit]]

    return page


def test_a_turn_looks_at_no_more_than_its_bound() -> None:
    turns = Turns(page_of(list(range(1, 3 * MOST))), lambda: 0.0)
    assert list(turns.due()) == list(range(1, MOST + 1))
    assert list(turns.due()) == list(range(MOST + 1, 2 * MOST + 1))


def test_a_turn_ends_after_its_time_however_slow_each_look_is() -> None:
    now = [0.0]
    turns = Turns(page_of(list(range(1, 100))), lambda: now[0])
    seen = []
    for one in turns.due():
        seen.append(one)
        now[0] += SECONDS
    assert seen == list(range(1, LEAST + 1))
    assert next(iter(turns.due())) == LEAST + 1


def test_nothing_to_look_at_ends_the_turn() -> None:
    assert list(Turns(page_of([])).due()) == []


def test_what_cannot_be_read_holds_nothing_up() -> None:
    turns = Turns(page_of([*(-n for n in range(1, 200)), 300]))
    assert list(turns.due()) == [300]


@given(places=st.sets(st.integers(1, 60)), most=st.integers(1, 20), gone=st.sets(st.integers(1, 60)))
def test_each_has_its_turn_and_none_twice_before_all_had_it(places: set[int], most: int, gone: set[int]) -> None:
    standing = sorted(places)
    turns = Turns(page_of(standing), lambda: 0.0)
    rounds = -(-len(standing) // most)
    seen = [one for _ in range(rounds) for one in turns.due(most)]
    assert set(seen) == places
    assert len(seen) <= rounds * most
    for one in gone & places:
        standing.remove(one)
    after = [one for _ in range(rounds + 1) for one in turns.due(most)]
    assert set(after) == places - gone
    for turn in (list(turns.due(most)) for _ in range(3)):
        assert len(turn) == len(set(turn)) == min(most, len(standing))
