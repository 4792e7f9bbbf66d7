"""A service over real processes: sealed with `serving`, served, asked by a user, paid on chain, revoked, and gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.client.tabs import Tabs
from sealmarket.inference.errors import RequestRefused
from sealmarket.inference.host import ServiceHost
from sealmarket.inference.opening import opened, prove
from sealmarket.inference.pool import Asker, Spending
from sealmarket_enclave.protocol.codec import Wei
from sealmarket_localnet.market import ETHER
from sealmarket_localnet.processes import Supervisor
from tests.acceptance.market import Rehearsal, raise_curtain
from tests.acceptance.services import serve
from tests.inference.enclave import said
from tests.patience import PATIENCE, until

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Rehearsal]:
    with Supervisor(tmp_path / "logs") as programs:
        made = raise_curtain(programs, tmp_path / "m")
        yield made
        made.close()


def _answered(asker: Asker, body: bytes) -> bytes | None:
    try:
        return said(asker, body, most=20)
    except RequestRefused:
        return None


def test_a_service_is_sealed_served_asked_paid_revoked_and_gone(market: Rehearsal, tmp_path: Path) -> None:
    served = serve(market)
    job_id, host = served.job_id, ServiceHost(served.url, served.job_id)
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
        market.owners["north"].revoke(served.asset.asset_id, served.asset.version)
        until("the service is over", lambda: served.state.last)
    # The last statement names every account: its tab closes with it, and no window has to pass.
    until("the rest returned", lambda: tabs.close(job_id)[1].returned)
    until("the bond returned", lambda: not served.state.bond)
