"""An owner and a consumer who work together against an honest provider's stake, and an owner who sells junk.

Every party is the real program. The attackers choose price, workload and windows; what one pays the other is nothing
to them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sealmarket.chain import Fault, Reverted
from sealmarket.client import AssetWish, JobLimits, Owner
from sealmarket.client.errors import RequestInvalid
from sealmarket.client.requests import RequestHandle
from sealmarket.protocol.transitions import Status
from sealmarket.workloads.folders import read_bundle
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Wei
from sealmarket_localnet.market import ETHER
from tests.acceptance import workloads
from tests.acceptance.market import COMPUTE_PRICE, PENALTY, Rehearsal, changes
from tests.acceptance.workloads import MANIFEST, Workload
from tests.patience import until

SLEEP = "import time\n\ndef run(inputs, parameters):\n    time.sleep(900)\n    return {}\n"
SHORT = 30


def _sleeper(rehearsal: Rehearsal, folder: Path) -> Workload:
    """A workload that declares 900 seconds and sleeps for as long."""
    made = workloads.other(rehearsal.workload, folder, SLEEP)
    text = MANIFEST.replace("cpu_seconds = 20", "cpu_seconds = 900").replace("wall_seconds = 20", "wall_seconds = 900")
    (folder / "workload.toml").write_text(text)
    return replace(made, digest=read_bundle(folder).digest)


def _whole_stake(rehearsal: Rehearsal) -> Wei:
    """A price that, with the penalty, takes all of the provider's free stake."""
    view = rehearsal.chain.at(rehearsal.chain.head())
    return Wei(int(view.account(ZERO_ADDRESS, rehearsal.address("provider")).staked) - int(PENALTY))


def _attack(rehearsal: Rehearsal, sleeper: Workload, price: Wei, limits: JobLimits) -> RequestHandle:
    asset = rehearsal.publish("north", workloads=(sleeper.digest,), price=price)
    wish = AssetWish(asset_id=asset.asset_id, version=asset.version)
    return rehearsal.consumer.request(sleeper.bundle, {}, [wish], limits, rehearsal.result_key)


def test_a_window_in_which_a_dear_assets_workload_cannot_finish_is_refused(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    sleeper = _sleeper(rehearsal, tmp_path / "sleeper")
    limits = replace(rehearsal.limits("provider"), run_seconds=None, settle_window=SHORT)
    with pytest.raises(RequestInvalid, match=f"settleWindow is {SHORT}, expected at least"):
        _attack(rehearsal, sleeper, _whole_stake(rehearsal), limits)


def test_a_dear_asset_takes_no_more_of_the_stake_than_the_provider_signed(rehearsal: Rehearsal, tmp_path: Path) -> None:
    sleeper, before = _sleeper(rehearsal, tmp_path / "sleeper"), rehearsal.still()
    limits = replace(rehearsal.limits("provider"), run_seconds=None, settle_window=None)
    handle = _attack(rehearsal, sleeper, _whole_stake(rehearsal), limits)

    def explained() -> tuple[str, ...]:
        return rehearsal.api.orders.request(handle.request_hash).explanation

    words = until("an explanation", explained)
    assert any("the stake that the job locks (maxStake)" in line for line in words), words
    with pytest.raises(Reverted, match="maxStake"):
        rehearsal.match_around(handle, "provider")
    rehearsal.consumer.cancel(handle)
    assert changes(before, rehearsal.balances()) == {}


def test_junk_beside_a_dear_asset_of_one_owner_pays_nobody_and_is_suspended(
    rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    dear = rehearsal.publish("north", price=Wei(ETHER // 2))
    deal = Owner._deal
    monkeypatch.setattr(Owner, "_deal", lambda self, _key, *rest: deal(self, bytes(32), *rest))
    junk = rehearsal.publish("north", price=Wei(1))
    monkeypatch.undo()
    before = rehearsal.still()
    record = rehearsal.reach_status(rehearsal.job(dear, junk), Status.FAILED)
    assert record.fault is Fault.INPUT_FAILED
    assert changes(before, rehearsal.balances()) == {"consumer": -rehearsal.fees(2)}
    assert _suspended(rehearsal, junk.asset_id)
    assert not _suspended(rehearsal, dear.asset_id)

    with pytest.raises(RequestInvalid, match="suspended"):
        rehearsal.request(dear, junk)
    owner = rehearsal.owners["north"]
    price = owner.lift_price(junk.asset_id, 1)
    rehearsal.market.purses["north"].sender.send(rehearsal.chain.market.deposit(ZERO_ADDRESS, price))
    before = rehearsal.balances()
    owner.lift(junk.asset_id, 1)
    assert price == rehearsal.fees(2)
    assert changes(before, rehearsal.balances()) == {"north": -price, "burned": price}
    assert not _suspended(rehearsal, junk.asset_id)


def _suspended(rehearsal: Rehearsal, asset: object) -> bool:
    return rehearsal.chain.at(rehearsal.chain.head()).asset(asset, 1).suspended  # type: ignore[arg-type]


def test_a_provider_is_paid_for_the_time_that_a_workload_within_its_limits_used_up(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    sleeper = workloads.other(rehearsal.workload, tmp_path / "short", SLEEP)
    text = MANIFEST.replace("cpu_seconds = 20", "cpu_seconds = 5").replace("wall_seconds = 20", "wall_seconds = 5")
    (tmp_path / "short" / "workload.toml").write_text(text)
    sleeper = replace(sleeper, digest=read_bundle(tmp_path / "short").digest)
    before, price = rehearsal.still(), Wei(ETHER // 2)
    handle = _attack(rehearsal, sleeper, price, replace(rehearsal.limits("provider"), run_seconds=None))
    record = rehearsal.reach_status(rehearsal.consumer.wait_match(handle), Status.FAILED)
    assert record.fault is Fault.WORKLOAD_TIMED_OUT
    assert changes(before, rehearsal.balances()) == {
        "north": price,
        "consumer": -price - COMPUTE_PRICE - rehearsal.fees(2),
        "provider": COMPUTE_PRICE,
    }
