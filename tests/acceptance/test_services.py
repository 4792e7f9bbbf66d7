"""A service over real processes: sealed with `serving`, served, asked by a user, paid on chain, revoked, and gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.chain.sessions import ServiceState
from sealmarket.client import AssetWish
from sealmarket.client.services import ServiceMaker, ServicePlan
from sealmarket.client.tabs import Tabs
from sealmarket.inference.errors import RequestRefused
from sealmarket.inference.host import ServiceHost
from sealmarket.inference.opening import opened, prove
from sealmarket.inference.pool import Asker, Spending
from sealmarket.protocol.orders import Purpose
from sealmarket.protocol.transitions import Status
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.wheels import build
from sealmarket_devices.driver import VIRTUAL
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Uint64, Wei, to_builtins
from sealmarket_enclave.protocol.numbers import Grade, JobId
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_localnet.market import ETHER
from sealmarket_localnet.processes import Supervisor, free_port
from sealmarket_worker.image import base_interpreter, build_image
from tests.acceptance.market import Rehearsal, raise_curtain
from tests.enclave.session.services import ECHO, MANIFEST, RULES
from tests.inference.enclave import said
from tests.patience import PATIENCE, until

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

PLAN = ServicePlan(
    unit_price=Wei(5),
    lease=Uint64(500),
    seconds=3600,
    penalty=Wei(ETHER // 10),
    lease_seconds=120,
    grade=Grade.SIMULATED,
    purpose=Purpose.INFER,
)


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Rehearsal]:
    with Supervisor(tmp_path / "logs") as programs:
        made = raise_curtain(programs, tmp_path / "m")
        yield made
        made.close()


def _served(market: Rehearsal) -> tuple[JobId, ServiceHost]:
    """The owner seals, the provider makes the service, and its worker serves it."""
    folder = market.folder / "echo"
    (folder / "code").mkdir(parents=True)
    (folder / "workload.toml").write_text(MANIFEST.format(load=60, processes=2, seconds=60))
    (folder / "requirements.lock").write_text("")
    (folder / "code" / "count.py").write_text(ECHO)
    (folder / "environment.json").write_bytes(build(b"", []).canonical())
    bundle = read_bundle(folder)
    image = build_image(market.folder / "session-image", "session")
    measured = VIRTUAL.expected_measurement(market.market.tee, image, base_interpreter())
    rules = AppraisalPolicy(measurements=(measured,), platforms="any", lowest_grade="simulated")
    asset = market.publish(
        "north",
        b"the weights",
        evidence=to_builtins(rules),
        workloads=(bundle.digest,),
        purposes=("infer",),
        serving=RULES,
        price=Wei(1000),
    )
    purse, listen = market.market.purses["host"], f"127.0.0.1:{free_port()}"
    purse.sender.send(market.chain.market.deposit(ZERO_ADDRESS, Wei(5 * ETHER)))
    market.market.start_worker(purse, market.workload.wheels, name="serving", image=image, listen=listen)
    maker = ServiceMaker(market.chain, purse.account, market.store, market.api)
    wishes = [AssetWish(asset_id=asset.asset_id, version=asset.version)]
    made = maker.compose(bundle, {}, wishes, PLAN, PrivateKey.generate())
    job_id = maker.make(made, market.market.folder / "serving")
    market.reach_status(job_id, Status.ACCEPTED)
    market.sealed["served"] = asset
    until("the service is open and bonded", lambda: _state(market, job_id).bond >= made.bond)
    return job_id, ServiceHost(f"http://{listen}", job_id)


def _state(market: Rehearsal, job_id: JobId) -> ServiceState:
    return market.chain.sessions_at(market.chain.head()).service(job_id)


def _answered(asker: Asker, body: bytes) -> bytes | None:
    try:
        return said(asker, body, most=20)
    except RequestRefused:
        return None


def test_a_service_is_sealed_served_asked_paid_revoked_and_gone(market: Rehearsal, tmp_path: Path) -> None:
    job_id, host = _served(market)
    user = market.market.purses["consumer"].account
    tabs = Tabs(market.chain, user, market.store)
    roots = TrustAnchors.production().with_development(*(one.read_bytes() for one in market.market.root_files))
    with closing(host):
        proven = prove(market.chain, host, job_id, roots, None, simulated=True)
        tabs.open(proven.spec, proven.terms, Wei(ETHER))
        spending = Spending(grants=1, cap=200, budget=400)
        with opened(market.chain, host, proven, user, spending, tmp_path / "user") as asker:
            assert until("the tab is in a renewal", lambda: _answered(asker, b"hello"), PATIENCE) == b"hello"
        until("a statement is redeemed", lambda: tabs.status(job_id).tab.paid)
        market.owners["north"].revoke(market.sealed["served"].asset_id, market.sealed["served"].version)
        until("the service is over", lambda: _state(market, job_id).last)
    # Statements count for a while after the end; only then does a tab return.
    market.pass_time(_state(market, job_id).redemption_window + 1)
    until("the rest returned", lambda: tabs.close(job_id)[1].returned)
    until("the bond returned", lambda: not _state(market, job_id).bond)
