"""An account's part of the keeper's gas follows from settled jobs, and no number of accounts makes it larger."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealmarket_backend import parts as parts_module
from sealmarket_backend.parts import LOOK_SECONDS, WINDOW_SECONDS, Parts
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Address
from tests.backend.orders import NOW, STRANGER, account
from tests.backend.turncoats import settled_jobs

PEOPLE = [Address(bytes([n]) * 20) for n in range(1, 6)]
ONE, TWO, THREE, *_ = PEOPLE


def test_who_has_no_settled_job_has_no_part(database: Database) -> None:
    assert Parts(database, lambda: NOW).of(ONE, 1000) == 0
    settled_jobs(database, ONE, TWO, 1, NOW)
    settled_jobs(database, THREE, TWO, 3, 0)  # matched, and never settled
    parts = Parts(database, lambda: NOW)
    assert [parts.of(one, 1000) for one in (ONE, TWO, THREE, account(STRANGER))] == [500, 500, 0, 0]


def test_jobs_count_for_a_week(database: Database) -> None:
    settled_jobs(database, ONE, TWO, 2, NOW - WINDOW_SECONDS - 1)
    settled_jobs(database, TWO, THREE, 1, NOW - WINDOW_SECONDS + 1)
    parts = Parts(database, lambda: NOW)
    assert [parts.of(one, 1000) for one in (ONE, TWO, THREE)] == [0, 500, 500]


def test_jobs_are_counted_now_and_then(database: Database) -> None:
    now = [float(NOW)]
    parts = Parts(database, lambda: now[0])
    assert parts.of(ONE, 1000) == 0
    settled_jobs(database, ONE, TWO, 1, NOW)
    assert parts.of(ONE, 1000) == 0
    now[0] += LOOK_SECONDS + 1
    assert parts.of(ONE, 1000) == 500


def test_the_accounts_that_have_a_part_are_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "MOST", 2)
    settled_jobs(database, ONE, TWO, 2, NOW)
    settled_jobs(database, THREE, TWO, 1, NOW)
    parts = Parts(database, lambda: NOW)
    assert [parts.of(one, 600) for one in (ONE, TWO, THREE)] == [200, 300, 0]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PEOPLE), st.sampled_from(PEOPLE), st.integers(1, 4)), max_size=8))
def test_all_parts_together_are_no_more_than_the_whole(jobs: list[tuple[Address, Address, int]]) -> None:
    with Database(None) as database:
        for consumer, provider, count in jobs:
            settled_jobs(database, consumer, provider, count, NOW)
        parts = Parts(database, lambda: NOW)
        assert 1000 - len(PEOPLE) <= sum(parts.of(one, 1000) for one in PEOPLE) <= 1000 or not jobs
