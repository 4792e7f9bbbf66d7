"""An attacker's address book names a look-alike whose deposit keeps the coin: the client refuses before it sends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from sealmarket.chain import Chain, Sender
from sealmarket.client import Consumer, Provider
from sealmarket.client.errors import MarketNotVerified
from sealmarket.client.verified import VerifiedMarket
from sealmarket.protocol.book import AddressBook, FinalityRule
from sealmarket_enclave.protocol.codec import Address, Wei
from sealmarket_localnet import chains
from sealmarket_localnet.processes import Supervisor
from tests.integration.market import ETHER, Market, development_account
from tests.patience import until

KEEPS_THE_COIN = bytes.fromhex("6001600c60003960016000f3" + "00")
"""Creates a contract of one byte, STOP: every call succeeds, and what came with it stays."""


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    folder = tmp_path_factory.mktemp("market")
    with Supervisor(folder) as programs:
        rpc = chains.anvil(programs, "--block-time", "0.25").url
        made = Market(rpc, folder, FinalityRule(kind="depth", depth=1))
        yield made
        made.chain.close()


@pytest.fixture(scope="module")
def look_alike(market: Market) -> AddressBook:
    """The genuine book, but for the market."""
    attacker = Sender(market.chain, development_account(5), development=True)
    trap = attacker.create(KEEPS_THE_COIN).created
    assert trap is not None
    _wait_final(market, trap)
    return replace(market.book, market=trap)


def _wait_final(market: Market, address: Address) -> None:
    until("its code is final", lambda: market.chain.code(address, market.chain.final()))


def _nonce(market: Market, holder: Address) -> object:
    return market.chain.rpc.call("eth_getTransactionCount", holder.checksum, "pending")


def _count(chain: Chain, asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    call = chain.rpc.call

    def counted(method: str, *params: object) -> object:
        asked.append(method)
        return call(method, *params)

    monkeypatch.setattr(chain.rpc, "call", counted)


def test_the_trap_would_work(market: Market, look_alike: AddressBook) -> None:
    chain = Chain(look_alike, market.rpc_url)
    victim = Sender(chain, development_account(6), development=True)
    victim.send(chain.market.deposit(Address(bytes(20)), Wei(ETHER)))
    assert chain.balance(look_alike.market, chain.head()) >= ETHER
    chain.close()


def test_nothing_of_value_is_sent_to_a_look_alike(market: Market, look_alike: AddressBook) -> None:
    chain = Chain(look_alike, market.rpc_url)
    store, api = market.backend.store(), market.backend.api()
    consumer = Consumer(chain, development_account(7), store, api, development=True)
    provider = Provider(chain, development_account(7), api, development=True)
    before = _nonce(market, consumer.address), chain.balance(consumer.address, chain.head())
    for give in (lambda: consumer.deposit(Wei(ETHER)), lambda: provider.stake(Wei(ETHER))):
        with pytest.raises(MarketNotVerified, match="nothing was given to it"):
            give()
    assert (_nonce(market, consumer.address), chain.balance(consumer.address, chain.head())) == before
    chain.close()


def test_a_market_of_anothers_registry_gets_nothing(market: Market) -> None:
    """Genuine code everywhere; the contracts of two deployments are mixed."""
    other = Market(market.rpc_url, market.folder / "other", FinalityRule(kind="depth", depth=1))
    other.chain.close()
    mixed = replace(market.book, registry=other.book.registry)
    chain = Chain(mixed, market.rpc_url)
    consumer = Consumer(chain, development_account(7), market.backend.store(), market.backend.api(), development=True)
    with pytest.raises(MarketNotVerified, match="market of AssetRegistry"):
        consumer.deposit(Wei(ETHER))
    chain.close()


def test_the_market_that_was_deployed_is_verified_and_its_book_names_the_block(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert market.book.deployed_hash == market.chain.block(market.book.deployed_at).hash
    asked: list[str] = []
    chain = Chain(market.book, market.rpc_url)
    _count(chain, asked, monkeypatch)
    store, api = market.backend.store(), market.backend.api()
    consumer = Consumer(chain, development_account(8), store, api, development=True)
    VerifiedMarket(chain).require()
    assert len(asked) <= 11, asked
    consumer.deposit(Wei(ETHER))
    assert chain.at(chain.head()).account(Address(bytes(20)), consumer.address).free == ETHER
    chain.close()
