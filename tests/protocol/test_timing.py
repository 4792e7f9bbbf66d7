"""Windows follow from finality: what a deployment may ask for, and how long a job holds things."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from sealmarket.chain.deploy import timing
from sealmarket.chain.errors import DeploymentFailed
from sealmarket.protocol.book import Windows
from sealmarket.protocol.timing import (
    DAY,
    HOLD_RATE,
    YEAR,
    least_settle_window,
    least_windows,
    longest_hold,
    longest_use,
    minimum_windows,
)


def test_the_least_windows_are_those_that_the_contracts_take() -> None:
    assert least_windows(150, 300) == Windows(300, 300, 900, 300)


def test_minimum_windows_leave_time_for_the_work_of_a_step() -> None:
    assert minimum_windows(150, 300) == Windows(420, 420, 1020, DAY)


def test_the_challenge_window_is_never_shorter_than_finality_allows() -> None:
    assert minimum_windows(DAY, 300).challenge == 2 * DAY


@pytest.mark.parametrize(("name", "shortest"), [("quote", 300), ("decide", 300), ("settle", 900), ("challenge", 300)])
def test_a_deployment_with_a_window_too_short_for_finality_is_refused_with_the_numbers(
    name: str, shortest: int
) -> None:
    windows = replace(minimum_windows(150, 300), **{name: shortest - 1})
    with pytest.raises(DeploymentFailed) as refused:
        timing(150, transfer_allowance=300, windows=windows)
    assert f"the {name} window is {shortest - 1} s, expected {shortest} s" in str(refused.value)
    assert "150 of finality" in str(refused.value)


def test_a_settle_window_fits_every_stage_of_the_job() -> None:
    fixed = timing(150, transfer_allowance=300)
    assert least_settle_window(fixed, 10, 20, 30) == fixed.windows.settle
    assert least_settle_window(fixed, 1000, 200, 30) == 1000 + 200 + 30 + 300 + 4 * 150


def test_a_job_holds_stake_longer_than_uses() -> None:
    windows = Windows(1, 10, 100, 1000)
    assert longest_use(windows) == 1 + 2 * 10 + 2 * 100
    assert longest_hold(windows) == 1 + 3 * 10 + 2 * 100 + 1000


def test_the_default_hold_rate_is_ten_percent_a_year() -> None:
    assert 10**18 // 10 - int(HOLD_RATE) * YEAR < YEAR
