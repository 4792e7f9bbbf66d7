"""A workload that only takes time: it is refused, or ends in its time, and the provider keeps its stake and is paid.

Every party is the real program. Owner and consumer work together: the owner allows a workload that sleeps.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from sealmarket.chain import Fault
from sealmarket.client import AssetWish, requests
from sealmarket.client.errors import RequestInvalid
from sealmarket.client.limits import time_of
from sealmarket.client.requests import RequestHandle
from sealmarket.protocol.transitions import Status
from sealmarket.workloads.folders import read_bundle
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Wei
from sealmarket_localnet.market import ETHER
from sealmarket_worker.limits import OperatorLimits
from tests.acceptance import workloads
from tests.acceptance.host import Host
from tests.acceptance.market import COMPUTE_PRICE, Rehearsal, changes, names_of
from tests.acceptance.workloads import MANIFEST, Workload

AT_IMPORT = "import time\ntime.sleep(900)\n\ndef run(inputs, parameters):\n    return {}\n"
AT_RUN = "import time\n\ndef run(inputs, parameters):\n    time.sleep(900)\n    return {}\n"


def _sleeper(rehearsal: Rehearsal, folder: Path, code: str, seconds: int) -> Workload:
    """A workload that declares so many seconds and sleeps for longer."""
    made = workloads.other(rehearsal.workload, folder, code)
    text = MANIFEST
    for limit in ("cpu_seconds", "wall_seconds"):
        text = text.replace(f"{limit} = 20", f"{limit} = {seconds}")
    (folder / "workload.toml").write_text(text)
    return replace(made, digest=read_bundle(folder).digest)


def _attack(rehearsal: Rehearsal, sleeper: Workload, price: Wei, provider: str = "provider") -> RequestHandle:
    asset = rehearsal.publish("north", workloads=(sleeper.digest,), price=price)
    limits = rehearsal.limits(provider)
    wish = AssetWish(asset_id=asset.asset_id, version=asset.version)
    return rehearsal.consumer.request(sleeper.bundle, {}, [wish], limits, rehearsal.result_key)


def _free_places(rehearsal: Rehearsal) -> None:
    """The worker serves another job to its end: the attack kept no place on it."""
    rehearsal.reach_status(rehearsal.job(), Status.SETTLED)


def test_a_consumer_who_grants_less_time_than_the_workload_declares_signs_nothing(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    sleeper = _sleeper(rehearsal, tmp_path / "sleeper", AT_RUN, 900)
    asset = rehearsal.sealed["north"]
    wish = AssetWish(asset_id=asset.asset_id, version=asset.version)
    with pytest.raises(RequestInvalid, match="may run 900 s by its manifest, run_seconds is 300"):
        rehearsal.consumer.request(sleeper.bundle, {}, [wish], rehearsal.limits("provider"), rehearsal.result_key)


def test_a_request_that_grants_less_time_than_the_workload_declares_is_refused_and_costs_the_provider_nothing(
    rehearsal: Rehearsal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unasked(limits, manifest, timing, assets, rules):  # type: ignore[no-untyped-def]
        quick = msgspec.structs.replace(manifest.limits, wall_seconds=1)
        return time_of(limits, msgspec.structs.replace(manifest, limits=quick), timing, assets, rules)

    monkeypatch.setattr(requests, "time_of", unasked)  # the attackers' client asks nothing
    sleeper = _sleeper(rehearsal, tmp_path / "sleeper", AT_RUN, 900)
    before = rehearsal.still()
    job_id = rehearsal.consumer.wait_match(_attack(rehearsal, sleeper, Wei(ETHER)))
    record = rehearsal.reach_status(job_id, Status.REFUSED)
    assert record.fault is Fault.REQUEST_REFUSED
    assert names_of(record.reasons) == {"run_seconds_too_few"}
    lost = changes(before, rehearsal.balances())
    assert lost.keys() == {"consumer", "burned"}
    _free_places(rehearsal)


@pytest.mark.parametrize("code", [AT_IMPORT, AT_RUN], ids=["at import", "at run"])
def test_a_workload_that_outsleeps_its_time_is_timed_out_and_the_provider_is_paid_for_it(
    rehearsal: Rehearsal, tmp_path: Path, code: str
) -> None:
    sleeper = _sleeper(rehearsal, tmp_path / "sleeper", code, 5)
    before, price = rehearsal.still(), Wei(ETHER)
    job_id = rehearsal.consumer.wait_match(_attack(rehearsal, sleeper, price))
    record = rehearsal.reach_status(job_id, Status.FAILED)
    assert record.fault is Fault.WORKLOAD_TIMED_OUT
    assert changes(before, rehearsal.balances()) == {
        "north": price,
        "consumer": -price - record.spec.timeout_fee - rehearsal.fees(2),
        "provider": record.spec.timeout_fee,
    }
    assert record.spec.timeout_fee == COMPUTE_PRICE
    _free_places(rehearsal)


def test_a_job_beyond_its_operators_limits_is_declined_at_no_cost_to_the_provider(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    sleeper = _sleeper(rehearsal, tmp_path / "sleeper", AT_RUN, 5)
    before, price = rehearsal.still(), Wei(ETHER)
    most = OperatorLimits(max_stake={ZERO_ADDRESS: price})  # with the penalty, the job takes more
    with Host(rehearsal, tmp_path / "host", limits=most) as host:
        handle = _attack(rehearsal, sleeper, price, "host")
        record = rehearsal.reach_status(rehearsal.consumer.wait_match(handle), Status.REFUSED)
        assert "raise limits.max_stake" in host.words()
    assert record.fault is Fault.INPUT_REFUSED
    assert names_of(record.reasons) == {"material_late"}
    assert changes(before, rehearsal.balances()) == {"consumer": -rehearsal.fees(2)}
