"""Inspect an existing chain: its id, block times and gas price, and whether it can be read by a finality rule."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sealmarket.chain.endpoints import printable
from sealmarket.chain.errors import ChainUnavailable, NodeDistrusted, RpcRefused
from sealmarket.chain.rpc import Rpc, quantity
from sealmarket.protocol.book import FinalityRule
from sealmarket_enclave.protocol.errors import SealmarketError

FINALIZED = FinalityRule(kind="finalized")
_SAMPLE_BLOCKS = 20
_MARGIN = 1.5


class UnsuitableChain(SealmarketError):
    """A chain lacks what a market on it needs, or does not fit the finality rule."""

    def __init__(self, url: str, why: str, remedy: str) -> None:
        super().__init__(f"the chain at {printable(url)} cannot carry a market as asked: {why}", remedy=remedy)
        self.url, self.why = printable(url), why


def parse_finality(text: str) -> FinalityRule:
    """``finalized`` or ``depth:N``. Raises ``ValueError``."""
    kind, _, depth = text.partition(":")
    if kind == "finalized" and not depth:
        return FINALIZED
    if kind == "depth" and depth.isdecimal() and int(depth) > 0:
        return FinalityRule(kind="depth", depth=int(depth))
    raise ValueError(f"{text!r} is no finality rule: expected `finalized` or `depth:N` with N of at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """What was found of an existing chain."""

    url: str
    chain_id: int
    block_seconds: float
    """Between two blocks, on average lately."""
    final_seconds: float
    """About how long a block waits until it is final by the rule."""
    gas_price: int
    finality: FinalityRule

    @property
    def finality_seconds(self) -> int:
        """What a market may count on: half as much again as is measured now. Finality comes in steps, and is late at
        times."""
        return max(1, math.ceil(self.final_seconds * _MARGIN))


def inspect(url: str, finality: FinalityRule) -> Remote:
    """Ask a chain what it is, and whether it can be read by this rule.

    Raises:
        UnsuitableChain: it names no final block, or it does not move.
        ChainUnavailable: no node answers there.
    """
    rpc = Rpc(url)
    try:
        chain_id = quantity(rpc.call("eth_chainId"), "chain id")
        number, newest = _block(rpc, "latest")
        sample = max(0, number - _SAMPLE_BLOCKS)
        _, earlier = _block(rpc, hex(sample))
        block_seconds = (newest - earlier) / max(1, number - sample)
        if finality.kind == "depth":
            final_seconds = block_seconds * finality.depth
        else:
            final_seconds = float(newest - _finalized(rpc, url))
        return Remote(
            url=printable(url),
            chain_id=chain_id,
            block_seconds=block_seconds,
            final_seconds=final_seconds,
            gas_price=quantity(rpc.call("eth_gasPrice"), "gas price"),
            finality=finality,
        )
    finally:
        rpc.close()


def _finalized(rpc: Rpc, url: str) -> int:
    try:
        return _block(rpc, "finalized")[1]
    except (RpcRefused, NodeDistrusted, ChainUnavailable) as error:
        why, remedy = f"it names no finalized block ({error})", "name a depth that you trust: `--finality depth:N`"
        raise UnsuitableChain(url, why, remedy) from error


def _block(rpc: Rpc, tag: str) -> tuple[int, int]:
    """Number and timestamp."""
    found = rpc.call("eth_getBlockByNumber", tag, False)
    if not isinstance(found, dict):
        raise NodeDistrusted(f"block {tag}", "a block", found)
    return quantity(found.get("number"), "number"), quantity(found.get("timestamp"), "timestamp")
