"""The backend's part that speaks to a chain does its work on each local chain: match, decide, settle, close, rebuild.

Each chain has another way to count finality, to price gas and to answer calls at its head.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sealmarket.chain.events import JobEnded
from sealmarket.client import SealedAsset
from sealmarket.protocol.transitions import Status
from sealmarket_backend import event_rows
from sealmarket_backend.spending import KeeperSettings, Spending
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_localnet import chains
from sealmarket_localnet.processes import Supervisor
from tests.acceptance.money import assert_conserved
from tests.integration.keeping import Keeping, rebuilt
from tests.integration.market import WINDOWS, Market
from tests.patience import until

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture(scope="module", params=chains.LOCAL)
def market(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    folder = tmp_path_factory.mktemp(request.param)
    with Supervisor(folder) as programs:
        chain = chains.start(programs, request.param, block_time=0.25)
        with closing(Market(chain.url, folder, chain.finality)) as made:
            yield made


@pytest.fixture(scope="module")
def sealed(market: Market) -> SealedAsset:
    return market.ready()


@pytest.fixture
def keeping(market: Market, tmp_path: Path) -> Iterator[Keeping]:
    with Keeping(market, market.rpc_url, tmp_path) as made:
        yield made


def over(keeping: Keeping, request: Bytes32, stage: Status) -> None:
    """The job of a request comes to a stage, and that stage's time passes."""
    until(f"stage {stage.name}", lambda: keeping.reaches(request, stage))
    keeping.market.chain.rpc.call("evm_increaseTime", 1 + max(WINDOWS.quote, WINDOWS.challenge))


def ended(keeping: Keeping, request: Bytes32) -> bool:
    """Take a turn; whether the index has the end of a request's job."""
    keeping.turn()
    job_id = keeping.index.job_id_of(request)
    return job_id is not None and bool(event_rows.page(keeping.database, subject=job_id, name="JobEnded"))


def test_a_job_goes_to_its_end_and_the_index_is_as_rebuilt(
    market: Market, sealed: SealedAsset, keeping: Keeping
) -> None:
    request = keeping.ask(sealed)
    over(keeping, request, Status.SETTLED)
    until("the end of the job", lambda: ended(keeping, request))
    assert market.chain.at(market.chain.head()).job(request).status is Status.MATURED
    position, tables = rebuilt(market, keeping.index.position())
    until("as many blocks", lambda: keeping.index.advance().number >= position)
    assert keeping.told() == rebuilt(market, keeping.index.position())[1]
    assert tables["jobs"]
    assert_conserved(market.chain)


def test_a_job_that_its_provider_forgets_is_closed_at_its_cost(
    market: Market, sealed: SealedAsset, keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "provide", lambda: None)
    request = keeping.ask(sealed)
    over(keeping, request, Status.MATCHED)
    until("the end of the job", lambda: ended(keeping, request))
    job_id = keeping.index.job_id_of(request)
    (row,) = event_rows.page(keeping.database, subject=job_id, name="JobEnded")
    assert isinstance(row.event, JobEnded)
    assert row.event.status is Status.EXPIRED
    assert_conserved(market.chain)


def test_what_the_keeper_gave_is_what_its_blocks_say_it_cost(
    market: Market, sealed: SealedAsset, keeping: Keeping
) -> None:
    spending = Spending(keeping.database, KeeperSettings(), keeping.sender)
    keeping.keeper._outgoing.spending = spending
    before = market.chain.balance(keeping.sender.address, market.chain.head())
    request = keeping.ask(sealed)
    over(keeping, request, Status.SETTLED)
    until("the end of the job", lambda: ended(keeping, request))
    until("the end of what was sent", lambda: keeping.is_idle(request))
    cost = before - market.chain.balance(keeping.sender.address, market.chain.head())
    steps = cost // 10**9
    assert steps <= spending.today() <= steps + 10, "each step is rounded up to a billionth"
