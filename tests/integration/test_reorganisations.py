"""Reorganisations on Anvil while orders flow: of any depth, index and follower end as if they had begun afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sealmarket.chain.follow import Follower
from sealmarket.client import SealedAsset
from sealmarket.protocol.book import FinalityRule, Windows
from sealmarket.protocol.transitions import Status
from sealmarket_localnet import chains
from sealmarket_localnet.processes import Supervisor
from tests.acceptance.money import assert_conserved
from tests.chain.test_follow import Reader
from tests.integration.keeping import Keeping, rebuilt, until
from tests.integration.market import Market

DEEPEST = 64
STAGES = (Status.MATCHED, Status.QUOTED, Status.ACCEPTED, Status.SETTLED)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    folder = tmp_path_factory.mktemp("market")
    with Supervisor(folder) as programs:
        url = chains.anvil(programs, "--block-time", "0.25").url
        made = Market(url, folder, FinalityRule(kind="depth", depth=1), Windows(60, 60, 320, 60))
        yield made
        made.close()


@pytest.fixture(scope="module")
def sealed(market: Market) -> SealedAsset:
    return market.ready()


@pytest.fixture
def keeping(market: Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keeping]:
    monkeypatch.setattr("sealmarket.chain.sender.HEAL_SECONDS", 0.5)
    with Keeping(market, market.rpc_url, tmp_path) as made:
        yield made


def reorganise(market: Market, depth: int) -> None:
    """Take the newest blocks away, with all that was in them; as many others come, and one more."""
    market.chain.rpc.call("anvil_reorg", depth, [])
    market.chain.rpc.call("anvil_mine", "0x1")


DEPTHS = [
    pytest.param(depth, marks=() if depth in (1, 2, 5, 17, DEEPEST) else pytest.mark.long)
    for depth in range(1, DEEPEST + 1)
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("depth", DEPTHS)
def test_a_job_settles_through_a_reorganisation_and_readers_end_as_rebuilt(
    market: Market, sealed: SealedAsset, keeping: Keeping, depth: int
) -> None:
    """Blocks that were read as final are rewritten: the address book's depth is 1."""
    market.chain.rpc.call("anvil_mine", hex(DEEPEST))  # the deployment itself stays
    reader = Reader(keeping=True)
    follower = Follower(market.chain, reader)
    request = keeping.ask(sealed)
    stage = STAGES[depth % len(STAGES)]
    until(f"stage {stage.name}", lambda: keeping.reaches(request, stage))
    follower.advance()
    before = keeping.index.cursor()
    reorganise(market, depth)
    assert before is not None
    assert depth < 10 or market.chain.block(before.number).hash != before.hash, "blocks that were read are rewritten"
    until("the settlement", lambda: keeping.reaches(request, Status.SETTLED))
    settled = market.chain.head().number
    until("the index", lambda: keeping.reaches(request, Status.SETTLED) and keeping.index.position() >= settled)
    assert keeping.index.job(keeping.index.job_id_of(request) or request).status == "settled"
    assert keeping.told() == rebuilt(market, keeping.index.position())[1]
    anew = Reader()
    until("the follower", lambda: follower.advance().number >= settled)
    Follower(market.chain, anew).advance()
    shared = reader.last.number if reader.last else 0
    assert reader.events == [event for event in anew.events if event.at.block_number <= shared]
    assert_conserved(market.chain)
