"""A provider makes a service on a real chain: refused before a signature where it cannot stand, and else matched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace as changed
from functools import cached_property
from pathlib import Path

import pytest
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from sealmarket.chain import Reverted
from sealmarket.client import PolicyDraft, read_job
from sealmarket.client.requests import AssetWish
from sealmarket.client.sealed_asset import SealedAsset
from sealmarket.client.services import TERMS, ServiceMaker, ServicePlan, ServiceRefused, pending_service
from sealmarket.protocol.book import FinalityRule
from sealmarket.protocol.orders import Purpose
from sealmarket.protocol.transitions import Status
from sealmarket.workloads.fetch import lock_environment
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.meters import make_meter
from sealmarket.workloads.wheels import build
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Bytes32, Uint64, Wei, decode_canonical
from sealmarket_enclave.protocol.numbers import Grade
from sealmarket_enclave.protocol.policy import Serving
from sealmarket_enclave.protocol.session import SessionTerms
from sealmarket_enclave.workload.bundle import Bundle
from sealmarket_localnet import chains
from sealmarket_localnet.market import ETHER
from sealmarket_localnet.processes import Supervisor
from tests.enclave.session.services import ECHO, MANIFEST
from tests.integration.market import Market, development_account, draft

pytestmark = [pytest.mark.loopback, pytest.mark.timeout(300)]

SERVING = Serving(
    per_unit=Wei(2),
    max_lease=Uint64(1_000),
    max_prompt_units=Uint64(400),
    max_answer_units=Uint64(100),
    unit_bytes=64,
    endpoints=("chat",),
)
PLAN = ServicePlan(
    unit_price=Wei(5),
    lease=Uint64(500),
    seconds=3600,
    penalty=Wei(700),
    grade=Grade.SIMULATED,
    purpose=Purpose.QUERY,
)


class Hosting(Market):
    """A market whose owner allows services of one asset, priced at a lease of 500 units."""

    @cached_property
    def echo(self) -> Bundle:
        """A workload of kind session."""
        folder = self.folder / "echo"
        (folder / "code").mkdir(parents=True)
        (folder / "workload.toml").write_text(MANIFEST.format(load=60, processes=1, seconds=60))
        (folder / "requirements.lock").write_text("")
        (folder / "code" / "count.py").write_text(ECHO)
        (folder / "environment.json").write_bytes(build(b"", []).canonical())
        return read_bundle(folder)

    def asset(self, name: str, serving: Serving | UnsetType, steps: Sequence[Path] = ()) -> SealedAsset:
        drafted: PolicyDraft = draft(self.echo, self.chain.head().timestamp + 30 * 86_400, price=1000)
        drafted = replace(drafted, serving=serving)
        sealed = self.owner.seal(b"a,b\n1,2\n", drafted, self.folder / name, confirm_unencrypted_key=True)
        self.owner.publish(sealed, steps=steps)
        return sealed

    @cached_property
    def serving(self) -> SealedAsset:
        """The asset of an owner that allows services."""
        return self.asset("served", SERVING)

    def maker(self) -> ServiceMaker:
        store, api = self.backend.store(), self.backend.api()
        return ServiceMaker(self.chain, development_account(3), store, api, development=True)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosting]:
    folder = tmp_path_factory.mktemp("market")
    with Supervisor(folder / "logs") as programs:
        made = Hosting(chains.anvil(programs).url, folder, FinalityRule(kind="depth", depth=1))
        with closing(made):
            made.provider.stake(Wei(ETHER))
            made.provider_sender.send(made.chain.market.deposit(ZERO_ADDRESS, Wei(ETHER)))
            yield made


@pytest.mark.parametrize(("plan", "why"), [
    (changed(PLAN, lease=Uint64(501)), "price of asset"),
    (changed(PLAN, lease=Uint64(1_001)), "the lease"),
    (changed(PLAN, unit_price=Wei(1)), "the price of a unit"),
    (changed(PLAN, bucket=Uint64(500)), "the bucket: expected less than the lease of 500"),
    (changed(PLAN, seconds=31 * 86_400), "the market"),
    (changed(PLAN, penalty=Wei(0)), "the market"),
])  # fmt: skip
def test_a_plan_that_cannot_stand_is_refused_before_anything_is_signed(
    market: Hosting, plan: ServicePlan, why: str
) -> None:
    sealed = market.serving
    with pytest.raises(ServiceRefused, match=why):
        market.maker().compose(market.echo, {}, [AssetWish(asset_id=sealed.asset_id)], plan, market.result_key)


def test_a_workload_for_batch_jobs_is_refused(market: Hosting) -> None:
    with pytest.raises(ServiceRefused, match="of kind session"):
        market.maker().compose(market.workload, {}, [], PLAN, market.result_key)


def test_a_plan_whose_bond_the_free_balance_does_not_reach_is_warned_of(market: Hosting) -> None:
    wishes = [AssetWish(asset_id=market.serving.asset_id)]
    made = changed(market.maker().compose(market.echo, {}, wishes, PLAN, market.result_key), most_units=1)
    needed = made.opening_price + made.bond
    assert changed(made, free=Wei(needed)).warnings == ()
    (said,) = changed(made, free=Wei(needed - 7)).warnings
    assert "deposit 7 more for this account" in said


def test_an_asset_whose_owner_allows_no_services_is_refused(market: Hosting) -> None:
    sealed = market.asset("without", UNSET)
    with pytest.raises(ServiceRefused, match="`serving`"):
        market.maker().compose(market.echo, {}, [AssetWish(asset_id=sealed.asset_id)], PLAN, market.result_key)


def test_assets_whose_owners_name_different_meters_make_no_service_and_one_meter_is_named(market: Hosting) -> None:
    make_meter(market.folder / "counted", None)
    digest = lock_environment(market.folder / "counted", market.folder / "no-wheels")
    sealed = market.asset("metered", replace(SERVING, meter=digest), steps=[market.folder / "counted"])
    wish = AssetWish(asset_id=sealed.asset_id)
    assert market.maker().compose(market.echo, {}, [wish], PLAN, market.result_key).meter == digest
    with pytest.raises(ServiceRefused, match="the owners' meters"):
        market.maker()._require_meter([replace(SERVING, meter=digest), SERVING])
    with pytest.raises(ServiceRefused, match="the store: expected the meter"):
        market.maker()._require_meter([replace(SERVING, meter=Bytes32(b"\x4d" * 32))])


@pytest.mark.parametrize(("bucket", "warned"), [
    (200, ["up to 199 of the 500 units", "requests of 500 units"]),
    (100, ["requests of 500 units"]),
])  # fmt: skip
def test_terms_under_which_a_service_stops_early_are_warned_of(market: Hosting, bucket: int, warned: list[str]) -> None:
    wish, plan = AssetWish(asset_id=market.serving.asset_id), changed(PLAN, bucket=Uint64(bucket))
    made = market.maker().compose(market.echo, {}, [wish], plan, market.result_key)
    assert len(made.warnings) == len(warned)
    assert all(words in one for words, one in zip(warned, made.warnings, strict=True))
    roomy = changed(made, terms=replace(made.terms, lease=Uint64(1_000), bucket=Uint64(250)))
    assert roomy.warnings == ()


class Interrupted(Exception):
    """The program was killed here."""


def test_a_call_that_was_killed_after_it_signed_is_finished_by_the_next_which_names_its_service(
    market: Hosting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Interrupted

    maker, wish = market.maker(), AssetWish(asset_id=market.serving.asset_id)
    pending = pending_service(tmp_path, market.chain.book, maker._party.address)
    assert maker.earlier(pending) is None
    for where in ("_post_parameters", "_matched"):  # behind the match, and before it
        made = maker.compose(market.echo, {}, [wish], PLAN, market.result_key)
        with monkeypatch.context() as patched:
            patched.setattr(ServiceMaker, where, killed)
            with pytest.raises(Interrupted):
                maker.make(made, tmp_path, pending)
        job_id = market.maker().earlier(pending)
        assert job_id is not None
        for _ in range(2):
            market.chain.rpc.call("evm_mine")
        assert read_job(market.chain, job_id).spec.request_hash == made.unsigned.request.struct_hash()
        assert market.maker().earlier(pending) is None
    made = maker.compose(market.echo, {}, [wish], PLAN, market.result_key)
    with pytest.raises(Reverted):
        # Of one that the market refuses for good nothing is kept.
        maker.make(changed(made, order=replace(made.order, volume=0)), tmp_path, pending)
    assert pending.read() is None


def test_a_service_is_matched_with_its_own_account_on_every_side_and_its_terms_lie_ready(
    market: Hosting, tmp_path: Path
) -> None:
    sealed = market.serving
    maker = market.maker()
    made = maker.compose(market.echo, {}, [AssetWish(asset_id=sealed.asset_id)], PLAN, market.result_key)
    assert (made.opening_price, made.bond) == (1000, 1000)
    job_id = maker.make(made, tmp_path)
    for _ in range(2):
        market.chain.rpc.call("evm_mine")
    record = read_job(market.chain, job_id)
    assert record.status is Status.MATCHED
    spec = record.spec
    assert spec.kind == 2
    assert {spec.consumer, spec.payer, spec.provider} == {maker._party.address}
    assert (spec.compute_price, spec.unit_price) == (0, 0)
    kept = decode_canonical(SessionTerms, (tmp_path / TERMS / f"{spec.extension_hash.hex()}.json").read_bytes())
    assert kept.struct_hash() == spec.extension_hash
    # The job can be accepted as late as it may be, and still stands at the end of the service.
    assert kept.end <= spec.matched_at + spec.settle_window
