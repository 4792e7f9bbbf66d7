"""The doctor names each thing that keeps a provider from jobs, with the next step, and complains of nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.chain.model import Account
from sealmarket.client.doctor import (
    DEVICES,
    MOST_SKEW,
    QUOTE_GAS,
    QUOTES_OF_GAS,
    STANDS_STILL,
    State,
    clock_check,
    device_checks,
    gas_check,
    no_offer_check,
    offer_checks,
    worker_check,
)
from sealmarket.serving.lock import holder_of, only_process
from sealmarket_enclave.protocol.codec import Uint, Wei
from sealmarket_enclave.protocol.numbers import Grade, Tee
from tests import samples
from tests.client.test_quote import NOW, RULES

RICH = Account(Wei(0), Wei(10**7))


@pytest.mark.parametrize(
    ("changes", "account", "used", "state", "said", "remedy"),
    [
        ({"penalty": Wei(1)}, RICH, 0, State.FAILED, "penalty is 1 wei, expected at least 21 wei", "provider offer"),
        ({"expiry": NOW}, RICH, 0, State.FAILED, "expiry is 2023", "provider offer"),
        ({}, RICH, 100, State.FAILED, "used up (volume 100)", "provider offer"),
        ({"salt": Uint(1 << 192)}, RICH, 0, State.FAILED, "cancelled with all orders of before", "provider offer"),
        ({}, Account(Wei(0), Wei(99)), 0, State.FAILED, "1 wei of stake are missing", "provider stake"),
        ({}, Account(Wei(0), Wei(100)), 0, State.WARNING, "100 wei of stake are free", "provider stake"),
        ({"expiry": NOW + 60}, RICH, 0, State.WARNING, "(in 1 minute)", "provider offer"),
    ],
)
def test_an_offer_that_brings_no_job_is_named_with_the_next_step(
    changes: dict[str, Any], account: Account, used: int, state: State, said: str, remedy: str
) -> None:
    order = samples.compute_order(**({"penalty": Wei(100), "expiry": NOW + 10**6} | changes))
    (check,) = offer_checks(order, account, used, RULES, NOW)
    assert (check.state, said in check.found, remedy in check.remedy) == (state, True, True), check


def test_an_offer_that_can_be_matched_is_in_order() -> None:
    order = samples.compute_order(penalty=Wei(100), expiry=NOW + 10**6)
    (check,) = offer_checks(order, RICH, 3, RULES, NOW)
    assert (check.state, "97 jobs left" in check.found) == (State.OK, True)


def test_an_account_without_an_offer_is_reported() -> None:
    check = no_offer_check([])
    assert check is not None
    assert check.state is State.FAILED
    assert no_offer_check([samples.compute_order()]) is None


@given(now=st.integers(0, 2**40), ahead=st.integers(-(10**6), 10**6))
def test_a_clock_is_judged_by_the_newest_block(now: int, ahead: int) -> None:
    assert (clock_check(now, now + ahead).state is State.OK) is (-STANDS_STILL <= ahead <= MOST_SKEW)


@given(coin=st.integers(0, 10**20), price=st.integers(1, 10**12))
def test_coin_for_gas_is_judged_by_what_quotes_cost_now(coin: int, price: int) -> None:
    check = gas_check(coin, price)
    assert (check.state is State.OK) is (coin >= QUOTES_OF_GAS * QUOTE_GAS * price)
    assert (check.state is State.FAILED) is (coin < QUOTE_GAS * price)


def test_a_tee_without_its_device_is_named_and_a_virtual_one_is_called_simulated() -> None:
    offered = [samples.compute_order(tee=tee, grade=Grade.HARDWARE) for tee in (Tee.TDX, Tee.SNP)]
    offered.append(samples.compute_order(tee=Tee.SGX, grade=Grade.SIMULATED))
    found = {check.name: check for check in device_checks(offered, [DEVICES[Tee.TDX]])}
    states = {name: check.state for name, check in found.items()}
    assert states == {
        "device for sgx": State.WARNING,
        "device for tdx": State.OK,
        "device for snp": State.FAILED,
    }
    assert "SIMULATED" in found["device for sgx"].found


def test_a_worker_is_known_by_who_holds_its_state_and_by_jobs_that_wait(tmp_path: Any) -> None:
    assert worker_check(holder_of(tmp_path), 0).state is State.FAILED
    with only_process(tmp_path):
        holder = holder_of(tmp_path)
        assert worker_check(holder, 0).state is State.OK
        assert worker_check(holder, 2).state is State.FAILED
    assert holder_of(tmp_path) is None
    assert worker_check("", 0).state is State.OK
