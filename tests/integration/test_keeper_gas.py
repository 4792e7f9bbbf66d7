"""On a real chain: coin that is gone in the block of a match costs the keeper one transaction, and its owner a wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sealmarket.chain.calls import Call
from sealmarket.protocol.transitions import Status
from sealmarket_backend.spending import GWEI, KeeperSettings, Spending
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Bytes32, Wei
from sealmarket_localnet import chains
from sealmarket_localnet.processes import Supervisor
from tests.integration.keeping import Keeping
from tests.integration.market import Market
from tests.patience import until

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
DEAR = {"gas": hex(200_000), "maxFeePerGas": hex(90 * GWEI), "maxPriorityFeePerGas": hex(20 * GWEI)}
"""Who pays more is earlier in a block."""


def send(market: Market, call: Call) -> None:
    """The consumer sends, whatever a simulation behind the match would say."""
    sent = {"from": market.consumer.address.checksum, "to": call.to.checksum, "data": "0x" + call.data.hex()}
    market.chain.rpc.call("eth_sendTransaction", {**sent, "value": hex(call.value), **DEAR})


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[tuple[Keeping, Bytes32]]:
    """A keeper with a budget over Anvil, which mines when it is told to, and a request in its book."""
    with Supervisor(tmp_path) as programs:
        chain = chains.start(programs, "anvil", block_time=0.25)
        with closing(Market(chain.url, tmp_path, chain.finality)) as market:
            sealed = market.ready()
            until("final blocks", lambda: market.chain.final().number >= market.chain.head().number - 2)
            market.chain.rpc.call("evm_setIntervalMining", 0)
            market.chain.rpc.call("anvil_mine", "0x4")
            with Keeping(market, market.rpc_url, tmp_path) as made:
                made.keeper._outgoing.spending = Spending(made.database, KeeperSettings(), made.sender)
                yield made, made.ask(sealed)


def test_who_takes_its_coin_away_in_the_block_of_its_match_is_named_and_waits(asked: tuple[Keeping, Bytes32]) -> None:
    keeping, request = asked
    market = keeping.market
    consumer, outgoing = market.consumer.address, keeping.keeper._outgoing
    before = market.chain.balance(keeping.sender.address, market.chain.head())
    free = Wei(market.free(market.consumer))
    keeping.keeper.turn()
    assert len(outgoing.under_way) == 1, "simulated, the match holds"
    send(market, market.chain.market.withdraw(ZERO_ADDRESS, free, consumer))
    market.chain.rpc.call("anvil_mine", "0x1")

    def ended() -> bool:
        keeping.keeper.turn()
        return not outgoing.under_way

    until("the end of the match", ended)
    assert market.chain.at(market.chain.head()).job(request).status is Status.NONE
    assert outgoing.waits.failures(consumer) == 1
    assert outgoing.waits.failures(market.provider.address) == 0
    cost = before - market.chain.balance(keeping.sender.address, market.chain.head())
    assert outgoing.spending is not None
    assert 0 < cost <= outgoing.spending.today() * GWEI <= cost + GWEI
    send(market, market.chain.market.deposit(ZERO_ADDRESS, free))
    market.chain.rpc.call("anvil_mine", "0x1")
    until("the coin is back", lambda: market.free(market.consumer) == free)
    keeping.keeper.turn()
    assert not outgoing.under_way
    (why,) = keeping.orders.request_states([request])[request].explanation
    assert why.startswith(f"a match failed in its block by the doing of {consumer.checksum}")
