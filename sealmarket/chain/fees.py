"""What a transaction offers for its gas: read from the chain, bounded by what people allow.

1. Where blocks have a base fee, the tip is the median that recent blocks paid (``eth_feeHistory``), at least what the
   node suggests (``eth_maxPriorityFeePerGas``); the most is twice the base fee and the tip, so that it outlives several
   full blocks. Elsewhere it is ``eth_gasPrice``.
2. A node could name any price, and a tip is paid in full. So there is always a limit; above it nothing is signed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from statistics import median_low
from typing import Any

from sealmarket.chain.errors import FeeAboveLimit, RpcRefused
from sealmarket.chain.rpc import Rpc, quantity
from sealmarket_enclave.protocol.errors import MalformedDocument

GWEI = 10**9
DEFAULT_MAX_FEE = 1_000 * GWEI
"""Wei for one gas, tip included, where no limit is set."""
_HISTORY_BLOCKS = 20
_PERCENTILE = 50.0
_BUMP = (9, 8)
"""Pools take a replacement that offers 10% more, some 12.5%."""

Fees = dict[str, int]
"""``maxFeePerGas`` and ``maxPriorityFeePerGas``, or ``gasPrice``; in wei for one gas."""


@dataclass(frozen=True, slots=True)
class FeeLimits:
    """In wei for one gas. ``max_fee`` holds for everything, replacements too; ``priority_fee`` is the first tip."""

    max_fee: int = DEFAULT_MAX_FEE
    priority_fee: int | None = None


def parse_fee(text: str) -> int:
    """Wei for one gas: ``1500`` is in wei, ``1.5gwei`` in billions of them. Exact, never a float.

    Raises:
        MalformedDocument: neither of the two.
    """
    found = re.fullmatch(r"([0-9]{1,30})|([0-9]{1,20}(?:\.[0-9]{1,9})?) ?gwei", text)
    if not found:
        raise MalformedDocument(f"{text[:80]!r} is no fee", remedy="write 30gwei, or 1500 for wei")
    return int(found[1]) if found[1] else int(Decimal(found[2]) * GWEI)


def parse_limits(max_fee: str | None, priority_fee: str | None) -> FeeLimits:
    """Limits as people write them; what is absent or empty has its default. Raises :class:`MalformedDocument`."""
    return FeeLimits(
        parse_fee(max_fee) if max_fee else DEFAULT_MAX_FEE, parse_fee(priority_fee) if priority_fee else None
    )


def suggest(rpc: Rpc, limits: FeeLimits) -> Fees:
    """Fees for a new transaction. Raises :class:`FeeAboveLimit` where the chain asks for more than allowed."""
    head = rpc.call("eth_getBlockByNumber", "latest", False)
    base = head.get("baseFeePerGas") if isinstance(head, dict) else None
    if base is None:
        price = quantity(rpc.call("eth_gasPrice"), "gas price")
        _require(price, limits)
        return {"gasPrice": price}
    least = quantity(base, "base fee")
    tip = _tip(rpc, least) if limits.priority_fee is None else limits.priority_fee
    _require(least + tip, limits)
    return {"maxFeePerGas": min(2 * least + tip, limits.max_fee), "maxPriorityFeePerGas": tip}


def raised(offered: Mapping[str, int], present: Mapping[str, int], limits: FeeLimits) -> Fees | None:
    """Fees that replace ``offered``: an eighth more, or the present ones. None where that is above the limit."""
    up, down = _BUMP
    fees = {name: max(-(-value * up // down) + 1, present.get(name, 0)) for name, value in offered.items()}
    return fees if max(fees.values()) <= limits.max_fee else None


def _require(asked: int, limits: FeeLimits) -> None:
    if asked > limits.max_fee:
        raise FeeAboveLimit(asked, limits.max_fee)


def _tip(rpc: Rpc, base: int) -> int:
    suggested = _asked(rpc, "eth_maxPriorityFeePerGas")
    paid = _paid(rpc)
    if suggested is None and paid is None:
        price = _asked(rpc, "eth_gasPrice")
        return max(0, (price or base) - base)
    return max(suggested or 0, paid or 0)


def _asked(rpc: Rpc, method: str) -> int | None:
    try:
        return quantity(rpc.call(method), method)
    except RpcRefused:
        return None  # not every node has it


def _paid(rpc: Rpc) -> int | None:
    """The median tip of recent blocks that had transactions."""
    try:
        history: Any = rpc.call("eth_feeHistory", hex(_HISTORY_BLOCKS), "latest", [_PERCENTILE])
    except RpcRefused:
        return None
    rows = history.get("reward") if isinstance(history, dict) else None
    rewards = rows[:_HISTORY_BLOCKS] if isinstance(rows, list) else []
    tips = [quantity(row[0], "tip") for row in rewards if isinstance(row, list) and row]
    paid = [tip for tip in tips if tip]
    return median_low(paid) if paid else None
