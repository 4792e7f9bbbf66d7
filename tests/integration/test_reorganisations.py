"""Reorganisations on Anvil while orders flow: of any depth, index and follower end as if they had begun afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sealmarket.chain.follow import Follower
from sealmarket.client import SealedAsset
from sealmarket.protocol.book import FinalityRule
from sealmarket.protocol.transitions import Status
from sealmarket_localnet import chains
from sealmarket_localnet.processes import Supervisor
from tests.acceptance.money import assert_conserved
from tests.chain.test_follow import Reader
from tests.integration.keeping import Keeping, Miner, rebuilt
from tests.integration.market import Market, development_account
from tests.patience import until

DEEPEST = 64
STAGES = (Status.MATCHED, Status.QUOTED, Status.ACCEPTED, Status.SETTLED)


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A chain of its own for each depth: Anvil forgets states of a chain that was reorganised again and again."""
    with Supervisor(tmp_path / "anvil") as programs:
        yield chains.anvil(programs, "--block-time", "100000").url


@pytest.fixture
def miner(url: str) -> Iterator[Miner]:
    made = Miner(url)
    yield made
    made.close()


@pytest.fixture
def market(url: str, miner: Miner, tmp_path: Path) -> Iterator[Market]:
    made = Market(url, tmp_path, FinalityRule(kind="depth", depth=1))
    yield made
    made.close()


@pytest.fixture
def sealed(market: Market) -> SealedAsset:
    return market.ready()


@pytest.fixture
def keeping(market: Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keeping]:
    monkeypatch.setattr("sealmarket.chain.tending.HEAL_SECONDS", 0.5)
    with Keeping(market, market.rpc_url, tmp_path) as made:
        yield made


def reorganise(market: Market, depth: int) -> None:
    """Take the newest blocks away, with all that was in them; as many others come, and one more.

    The first of them holds another payment: blocks without anything in them would come back with the same hashes.
    """
    payer = development_account(9).address
    market.chain.rpc.call("anvil_reorg", depth, [[{"from": payer, "to": payer, "value": "0x1", "gas": "0x5208"}, 0]])
    market.chain.rpc.call("anvil_mine", "0x1")


DEPTHS = [
    pytest.param(depth, marks=() if depth in (1, 6, 31, DEEPEST) else pytest.mark.long)
    for depth in range(1, DEEPEST + 1)
]


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_job_settles_through_a_reorganisation_and_readers_end_as_rebuilt(
    market: Market, miner: Miner, sealed: SealedAsset, keeping: Keeping, depth: int
) -> None:
    """Blocks that were read as final are rewritten: the address book's depth is 1."""
    market.chain.rpc.call("anvil_mine", hex(DEEPEST))  # the deployment itself stays
    reader = Reader(keeping=True)
    follower = Follower(market.chain, reader)
    request = keeping.ask(sealed)
    stage = STAGES[depth % len(STAGES)]
    until(f"stage {stage.name}", lambda: keeping.reaches(request, stage))
    with miner.paused():
        keeping.index.advance()
        follower.advance()
        before = keeping.index.cursor()
        reorganise(market, depth)
    assert before is not None
    assert (market.chain.block(before.number).hash != before.hash) == (depth > 1), "what was read is rewritten"
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
