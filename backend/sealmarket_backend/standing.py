"""Whether an order in the book can be matched, by what the chain says of its signer. Pure: facts are arguments.

An order leaves for good where it can never be matched again: its generation is past, or its volume is used up. It rests
with a reason where it cannot be matched now and may be later: the stake behind it is gone, or at work in other jobs.
"""

from __future__ import annotations

from dataclasses import dataclass

from sealmarket.chain.model import Account
from sealmarket.protocol.amounts import written
from sealmarket.protocol.orders import AssetOrder, ComputeOrder
from sealmarket.protocol.salts import generations_of
from sealmarket_enclave.protocol.codec import Uint

CANCELLED = 2**256 - 1
"""As many uses as the market notes for an order that its signer cancelled."""


@dataclass(frozen=True, slots=True)
class Standing:
    """``state``: of a row of the book. ``reason``: for people; empty where the order can be matched."""

    state: str = "open"
    reason: str = ""
    used: int = 0

    @property
    def matchable(self) -> bool:
        """Whether a request may get it."""
        return self.state == "open" and not self.reason


def compute_standing(order: ComputeOrder, provider: Account, used: int) -> Standing:
    """Of a provider's order, ``used`` for so many jobs."""
    if (over := _over(order.salt, provider.generation, order.volume, used)) is not None:
        return over
    if provider.staked < order.penalty:
        found, least = written(provider.staked, order.token), written(order.penalty, order.token)
        reason = f"its provider has {found} staked outside of running jobs, expected the penalty, {least}"
        return Standing(reason=reason, used=used)
    return Standing(used=used)


def asset_standing(order: AssetOrder, owner: Account, used: int, *, revoked: bool) -> Standing:
    """Of an owner's order."""
    if revoked:
        return Standing("cancelled", "its owner revoked the version")
    return _over(order.salt, owner.generation, order.volume, used) or Standing()


def _over(salt: Uint, generation: int, volume: int, used: int) -> Standing | None:
    if used == CANCELLED:
        return Standing("cancelled", "its signer cancelled it")
    if (found := generations_of(salt).signer) != generation:
        reason = f"its signer cancelled all orders of generation {found} and is at {generation}"
        return Standing("cancelled", reason)
    if used >= volume:
        return Standing("filled", f"all of its {volume} jobs were matched", used)
    return None
