"""The keeper reads and sends by an endpoint with one fault at a time: each job settles, each step of it once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sealmarket.chain.events import JobDecided, JobMatched, JobQuoted, JobSettled
from sealmarket.client import SealedAsset
from sealmarket.protocol.book import FinalityRule
from sealmarket.protocol.transitions import Status
from sealmarket_localnet import chains
from sealmarket_localnet.processes import Supervisor
from tests.chain.faults import CASES
from tests.chain.faulty_rpc import faulty, real
from tests.integration.keeping import Keeping
from tests.integration.market import Market
from tests.patience import PATIENCE, until


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    folder = tmp_path_factory.mktemp("market")
    with Supervisor(folder) as programs:
        url = chains.anvil(programs, "--block-time", "0.25").url
        made = Market(url, folder, FinalityRule(kind="depth", depth=1))
        yield made
        made.close()


@pytest.fixture(scope="module")
def sealed(market: Market) -> SealedAsset:
    return market.ready()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("tending.HEAL_SECONDS", 0.5), ("watch.RELOOK_SECONDS", 0.3)):
        monkeypatch.setattr(f"sealmarket.chain.{name}", seconds)


@pytest.mark.parametrize("name", CASES)
def test_a_job_settles_once_behind_each_fault(market: Market, sealed: SealedAsset, tmp_path: Path, name: str) -> None:
    """The case ``faulty_rpc``: of an endpoint that the keeper reads and sends by."""
    case = CASES[name]
    with faulty(real(market.rpc_url)) as proxy, Keeping(market, proxy.url, tmp_path) as keeping:
        keeping.index.advance()  # through the blocks of the cases before
        request = keeping.ask(sealed)
        proxy.fault = case.fault(proxy)
        if case.lasting:
            keeping.turn()
            assert keeping.troubles, "it says that it waits"
            proxy.fault = None
        until("the settlement", lambda: keeping.reaches(request, Status.SETTLED), 2 * PATIENCE)
        last = market.chain.head()
        until("the index", lambda: keeping.reaches(request, Status.SETTLED) and keeping.index.position() >= last.number)
        job_id = keeping.index.job_id_of(request)
        assert job_id is not None
        assert keeping.index.job(job_id).status == "settled"
        steps = [type(event) for event in market.chain.about_job(job_id, last)]
        assert steps == [JobMatched, JobQuoted, JobDecided, JobSettled]
        until("the end of what was sent", lambda: keeping.is_idle(request))
