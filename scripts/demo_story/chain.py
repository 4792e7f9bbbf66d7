"""The chain that the story runs on: one that the demo starts, or an existing one by its URL."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from scripts.demo_story.money import Money
from sealmarket.chain.model import Account
from sealmarket.chain.rpc import Rpc, quantity
from sealmarket.client.accounts import load_account
from sealmarket.operate.inspect import FINALIZED, UnsuitableChain, inspect, parse_finality
from sealmarket.protocol.book import FinalityRule
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Wei
from sealmarket_localnet import chains
from sealmarket_localnet.market import ETHER, LocalMarket, Purse, coin
from sealmarket_localnet.processes import Supervisor

FOREIGN_UNIT = ETHER // 10_000
"""One coin of the story where coin costs something: the whole story then moves less than a hundredth of a coin."""

PURSES = 5
"""The hospitals, the insurer, the provider, and the backend's keeper."""
GAS_OF_A_PURSE = 4_000_000
GAS_OF_DEPLOYMENT = 16_000_000
_PRICE_MARGIN = 2
_FINAL_WAITS = 4
_TRANSFER_GAS = 21_000
_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoChain:
    """A chain that the story runs on."""

    url: str
    about: str
    """Its name, block time and finality, for people."""
    finality: FinalityRule
    final_seconds: int
    """Until a block of it is final, at most."""
    money: Money = field(default_factory=Money)
    patience: float = 0.0
    """Seconds that everything which waits for final blocks may take longer than on a chain of our own."""
    bank_key: str | None = None
    """Whose coin fills the purses; None on a chain that we started, where the accounts with coin are publicly known."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that choose the chain."""
    local = ", ".join(chains.LOCAL)
    parser.add_argument("--chain", default="anvil", metavar="NAME|URL", help=f"{local}, or a JSON-RPC address")
    parser.add_argument("--block-time", type=float, metavar="SECONDS", help="between blocks of a local chain (1)")
    parser.add_argument("--finality", type=_rule, metavar="RULE", help="`finalized` or `depth:N`")
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="with a URL: whose coin fills the purses")


def check_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End the program over options that contradict each other."""
    if is_url(options.chain):
        if options.key_file is None:
            parser.error("--chain URL needs --key-file: an account on that chain that pays for everything")
        if options.block_time is not None:
            parser.error("--block-time is for chains that the demo starts; this one has its own")
        return
    if options.chain not in chains.LOCAL:
        parser.error(f"--chain {options.chain}: expected {', '.join(chains.LOCAL)}, or http://… or https://…")
    if options.key_file is not None:
        parser.error("--key-file is for an existing chain; local ones have accounts with coin")
    if options.block_time is not None and not 0 < options.block_time <= 60:
        parser.error("--block-time: expected seconds, above 0 and up to 60")
    if options.chain != "anvil" and options.finality == FINALIZED:
        parser.error(f"{options.chain} has no finality of its own; name a depth: --finality depth:N")


def is_url(chain: str) -> bool:
    """Whether a chain is named by its address."""
    return urlsplit(chain).scheme in {"http", "https"}


def choose(options: argparse.Namespace, programs: Supervisor, notify: Callable[[str], None]) -> DemoChain:
    """Start the chosen local chain, or inspect the existing one.

    Raises:
        UnsuitableChain: it has no final blocks, or the account has too little coin.
        AccountFileRefused, ChainUnavailable, ProcessError: the account, the node or a program.
    """
    if is_url(options.chain):
        return _foreign(options.chain, options.finality or FINALIZED, options.key_file)
    block_time = chains.BLOCK_SECONDS if options.block_time is None else options.block_time
    notes: list[str] = []
    chain = chains.start(programs, options.chain, block_time=block_time, said=notes.append)
    finality = options.finality or chain.finality
    if chain.name != "anvil" and finality == FINALIZED:
        finality = chain.finality
    for note in notes:
        notify(note)
    return DemoChain(
        url=chain.url,
        about=f"{chain.name.capitalize()}, a block each {block_time:g} s; final: {finality.describe()}",
        finality=finality,
        final_seconds=math.ceil(max(finality.depth, chains.DEPTH) * block_time),
        patience=max(0.0, block_time - 1) * max(finality.depth, chains.DEPTH) * _FINAL_WAITS,
    )


def _foreign(url: str, finality: FinalityRule, key_file: Path) -> DemoChain:
    account = load_account(key_file)
    found = inspect(url, finality)
    price = found.gas_price * _PRICE_MARGIN
    money = Money(unit=FOREIGN_UNIT, gas=GAS_OF_A_PURSE * price)
    needed = PURSES * money.purse + GAS_OF_DEPLOYMENT * price
    owned = _balance(url, account.address)
    if owned < needed:
        raise UnsuitableChain(
            url,
            f"{account.address} has {coin(owned)} coins, and the story needs {coin(needed)} at present gas prices",
            "give that account more, or wait for lower prices; what is left returns to it at the end",
        )
    return DemoChain(
        url=url,
        about=f"Chain {found.chain_id} at {url}, a block each {found.block_seconds:.1f} s; "
        f"final: {finality.describe()}, about {found.final_seconds:.0f} s behind",
        finality=finality,
        final_seconds=found.finality_seconds,
        money=money,
        patience=_FINAL_WAITS * (found.final_seconds + found.block_seconds),
        bank_key="0x" + bytes(account.key).hex(),
    )


def _balance(url: str, address: str) -> int:
    rpc = Rpc(url)
    try:
        return quantity(rpc.call("eth_getBalance", address, "latest"), "balance")
    finally:
        rpc.close()


def return_coin(market: LocalMarket) -> int:
    """Send all coin that is left in the market and in the purses to the bank; returns how much, in wei."""
    chain, contract = market.chain, market.chain.market
    for purse in market.purses.values():
        if staked := _account(market, purse).staked:
            purse.sender.send(contract.unstake(ZERO_ADDRESS, Wei(staked)))
    returned = 0
    for purse in market.purses.values():
        unbonding = chain.at(chain.head()).unbonding(ZERO_ADDRESS, purse.address)
        if unbonding.amount:
            while chain.head().timestamp < unbonding.ready_at:
                time.sleep(_POLL_SECONDS)
            purse.sender.send(contract.finish_unstake(ZERO_ADDRESS))
        if free := _account(market, purse).free:
            purse.sender.send(contract.withdraw(ZERO_ADDRESS, Wei(free), purse.address))
        price = quantity(chain.rpc.call("eth_gasPrice"), "gas price")
        left = chain.balance(purse.address, chain.head()) - 4 * _PRICE_MARGIN * _TRANSFER_GAS * price
        if left > 0:
            purse.sender.transfer(market.bank.address, left)
            returned += left
    return returned


def _account(market: LocalMarket, purse: Purse) -> Account:
    return market.chain.at(market.chain.head()).account(ZERO_ADDRESS, purse.address)


def _rule(text: str) -> FinalityRule:
    try:
        return parse_finality(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
