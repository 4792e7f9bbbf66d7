"""An owner and a consumer who work together, and a workload that only takes time: the provider keeps its stake.

Every party is the real program. The attackers publish an asset priced just below the provider's stake, allow a workload
of their own that sleeps, and choose the settle window. They are one, so what the consumer pays the owner is nothing to
them; the stake of the provider is all that they could win.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sealmarket.chain import Fault
from sealmarket.client import AssetWish, consumer
from sealmarket.client.consumer import RequestHandle
from sealmarket.client.jobs import JobRecord
from sealmarket.protocol.transitions import Status
from sealmarket.workloads.folders import read_bundle
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Wei
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.workload.errors import WindowTooShort
from sealmarket_localnet.market import ETHER
from sealmarket_worker.limits import OperatorLimits
from tests.acceptance import workloads
from tests.acceptance.host import Host
from tests.acceptance.market import COMPUTE_PRICE, PENALTY, Rehearsal, changes, names_of
from tests.acceptance.workloads import MANIFEST, Workload

AT_IMPORT = "import time\ntime.sleep(900)\n\ndef run(inputs, parameters):\n    return {}\n"
AT_RUN = "import time\n\ndef run(inputs, parameters):\n    time.sleep(900)\n    return {}\n"
SHORT = 30


def _sleeper(rehearsal: Rehearsal, folder: Path, code: str, seconds: int) -> Workload:
    """A workload that declares so many seconds and sleeps for longer."""
    made = workloads.other(rehearsal.workload, folder, code)
    text = MANIFEST
    for limit in ("cpu_seconds", "wall_seconds"):
        text = text.replace(f"{limit} = 20", f"{limit} = {seconds}")
    (folder / "workload.toml").write_text(text)
    return replace(made, digest=read_bundle(folder).digest)


def _priced_at_the_stake(rehearsal: Rehearsal) -> Wei:
    """A price that, with the penalty, takes all of the provider's free stake."""
    view = rehearsal.chain.at(rehearsal.chain.head())
    return Wei(int(view.account(ZERO_ADDRESS, rehearsal.address("provider")).staked) - int(PENALTY))


def _attack(
    rehearsal: Rehearsal, sleeper: Workload, price: Wei, settle_window: int, provider: str = "provider"
) -> RequestHandle:
    asset = rehearsal.publish("north", workloads=(sleeper.digest,), price=price)
    limits = replace(rehearsal.limits(provider), settle_window=settle_window)
    wish = AssetWish(asset_id=asset.asset_id, version=asset.version)
    return rehearsal.consumer.request(sleeper.bundle, {}, [wish], limits, rehearsal.result_key)


def _end(rehearsal: Rehearsal, job_id: JobId) -> JobRecord:
    return rehearsal.reach_status(job_id, Status.FAILED, timeout=90)


def _free_places(rehearsal: Rehearsal) -> None:
    """The worker serves another job to its end: the attack kept no place on it."""
    rehearsal.reach_status(rehearsal.job(), Status.SETTLED)


def test_a_consumer_is_told_of_a_window_that_is_too_short_before_anything_is_signed(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    sleeper = _sleeper(rehearsal, tmp_path / "sleeper", AT_RUN, 900)
    asset = rehearsal.sealed["north"]
    limits = replace(rehearsal.limits("provider"), settle_window=SHORT)
    wish = AssetWish(asset_id=asset.asset_id, version=asset.version)
    with pytest.raises(WindowTooShort, match=r"30 s leaves this workload too little time, expected at least 2\d\d\d s"):
        rehearsal.consumer.request(sleeper.bundle, {}, [wish], limits, rehearsal.result_key)


@pytest.mark.parametrize("code", [AT_IMPORT, AT_RUN], ids=["at import", "at run"])
def test_a_workload_that_outsleeps_a_short_settle_window_takes_nothing_from_the_provider(
    rehearsal: Rehearsal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(consumer, "require_time", lambda manifest, window: None)  # the attackers' client asks nothing
    sleeper = _sleeper(rehearsal, tmp_path / "sleeper", code, 900)
    before, price = rehearsal.still(), _priced_at_the_stake(rehearsal)
    handle = _attack(rehearsal, sleeper, price, SHORT)
    record = _end(rehearsal, rehearsal.consumer.wait_match(handle))
    assert record.fault is Fault.WORKLOAD_FAILED
    assert changes(before, rehearsal.balances()) == {
        "north": price,
        "consumer": -price - COMPUTE_PRICE - rehearsal.fees(2),
        "provider": COMPUTE_PRICE,
    }
    _free_places(rehearsal)


@pytest.mark.parametrize("code", [AT_IMPORT, AT_RUN], ids=["at import", "at run"])
def test_a_workload_that_outsleeps_the_time_that_it_declared_fails_in_time(
    rehearsal: Rehearsal, tmp_path: Path, code: str
) -> None:
    sleeper = _sleeper(rehearsal, tmp_path / "sleeper", code, 5)
    before, price = rehearsal.still(), Wei(ETHER)
    handle = _attack(rehearsal, sleeper, price, 300)
    record = _end(rehearsal, rehearsal.consumer.wait_match(handle))
    assert record.fault is Fault.WORKLOAD_FAILED
    assert changes(before, rehearsal.balances())["provider"] == COMPUTE_PRICE


def test_a_job_beyond_its_operators_limits_is_declined_at_no_cost_to_the_provider(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    sleeper = _sleeper(rehearsal, tmp_path / "sleeper", AT_RUN, 5)
    before, price = rehearsal.still(), Wei(ETHER)
    most = OperatorLimits(max_stake={ZERO_ADDRESS: price})  # with the penalty, the job takes more
    with Host(rehearsal, tmp_path / "host", limits=most) as host:
        handle = _attack(rehearsal, sleeper, price, 300, "host")
        record = rehearsal.reach_status(rehearsal.consumer.wait_match(handle), Status.REFUSED)
        assert "raise limits.max_stake" in host.words()
    assert record.fault is Fault.INPUT_REFUSED
    assert names_of(record.reasons) == {"material_late"}
    assert changes(before, rehearsal.balances()) == {"consumer": -rehearsal.fees(2)}
