"""What failed waits, twice as long each time, and no number of failures makes the memory grow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket_backend import waits as waits_module
from sealmarket_backend.waits import FIRST_SECONDS, FORGET_SECONDS, LONGEST_SECONDS, Waits


def test_each_failure_waits_twice_as_long_as_the_one_before_up_to_a_bound() -> None:
    now = [0.0]
    waits, seen = Waits(lambda: now[0]), []
    for _ in range(12):
        waits.failed("key")
        seen.append(waits.left("key"))
        now[0] += waits.left("key")
        assert waits.left("key") == 0
    assert seen[:4] == [FIRST_SECONDS * 2**n for n in range(4)]
    assert seen[-1] == LONGEST_SECONDS


def test_what_did_not_fail_for_a_day_is_as_new() -> None:
    now = [0.0]
    waits = Waits(lambda: now[0])
    for _ in range(3):
        waits.failed("key")
    now[0] += FORGET_SECONDS + 1
    assert (waits.failures("key"), waits.left("key")) == (0, 0)
    waits.failed("key")
    assert waits.left("key") == FIRST_SECONDS


def test_a_failure_concerns_its_own_key() -> None:
    waits = Waits(lambda: 0.0)
    waits.failed("one")
    assert (waits.left("one") > 0, waits.left("other")) == (True, 0)


def test_of_how_many_keys_it_is_known_that_they_failed_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits_module, "MOST", 2)
    waits = Waits(lambda: 0.0)
    for key in ("one", "two", "one", "three"):
        waits.failed(key)
    assert [waits.failures(key) for key in ("one", "two", "three")] == [2, 0, 1]


@given(st.lists(st.floats(0, 7200), max_size=60))
def test_however_often_a_key_asks_it_fails_few_times_a_day(pauses: list[float]) -> None:
    """Eleven doublings of a minute are more than a day; the longest pause allows four more."""
    now, failed = [0.0], 0
    waits = Waits(lambda: now[0])
    for pause in pauses:
        now[0] += pause
        if now[0] < FORGET_SECONDS and not waits.left("key"):
            waits.failed("key")
            failed += 1
    assert failed <= 13
