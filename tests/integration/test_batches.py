"""What the keeper sends in one batch takes effect on a chain entry by entry."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealmarket.chain.contracts import AssetOffer, Match
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import SignedComputeOrder
from sealmarket_backend.outgoing import Outgoing
from sealmarket_enclave.protocol.codec import decode
from sealmarket_localnet import chains
from sealmarket_localnet.processes import Supervisor
from tests.integration.market import Market
from tests.patience import until


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    with Supervisor(tmp_path / "logs") as programs:
        chain = chains.anvil(programs, "--block-time", "0.25")
        made = Market(chain.url, tmp_path, chain.finality)
        yield made
        made.chain.close()


def test_entries_of_a_batch_take_effect_although_one_of_them_fails(
    market: Market, caplog: pytest.LogCaptureFixture
) -> None:
    asset = market.ready()
    handles = [market.request(asset) for _ in range(2)]
    compute = decode(SignedComputeOrder, market.backend.posted["compute-orders"][-1])
    outgoing = Outgoing(market.anybody, market.chain.market)
    for what, handle in (("first", handles[0]), ("again", handles[0]), ("other", handles[1])):
        deal = Match(request=handle.signed, compute=compute, offers=(AssetOffer(), AssetOffer()))
        outgoing.add(what, market.chain.market.match(deal))
    with caplog.at_level(logging.INFO):
        outgoing.send()

        def is_over() -> bool:
            outgoing.look()
            return not outgoing.under_way

        until("the batch in a block", is_over)
    view = market.chain.at(market.chain.head())
    assert [view.job(handle.request_hash).status for handle in handles] == [Status.MATCHED] * 2
    assert "again: the contract refuses it for now" in caplog.text
    assert "has had its job" in caplog.text
