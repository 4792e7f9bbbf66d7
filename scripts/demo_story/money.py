"""What things cost in the story, in units: whole coins on a chain of our own, tiny ones where coin costs something."""

from __future__ import annotations

from dataclasses import dataclass

from sealmarket.client import Offer
from sealmarket.protocol.capability import Capability
from sealmarket_enclave.protocol.codec import Wei
from sealmarket_enclave.protocol.numbers import Grade, Tee
from sealmarket_localnet.market import ETHER


@dataclass(frozen=True, slots=True)
class Money:
    """Every amount of the story in wei. ``gas`` is what a purse holds beside them, to pay for transactions."""

    unit: int = ETHER
    gas: int = 75 * ETHER

    @property
    def prices(self) -> dict[str, Wei]:
        """What each hospital asks for one use."""
        return {"hospital_a": Wei(3 * self.unit), "hospital_b": Wei(2 * self.unit + self.unit // 2)}

    @property
    def compute_price(self) -> Wei:
        """What the provider asks for one job."""
        return Wei(self.unit // 2)

    @property
    def penalty(self) -> Wei:
        """What the provider risks with one job."""
        return Wei(self.unit)

    @property
    def stake(self) -> Wei:
        """What the provider stakes in all."""
        return Wei(20 * self.unit)

    @property
    def max_stake(self) -> Wei:
        """What of it one job may lock: the penalty, and what both hospitals ask for."""
        return Wei(7 * self.unit)

    def offer(self, promise: Capability, *, volume: int) -> Offer:
        """What a provider of the story offers, with what it promises of its enclave."""
        return Offer(
            tee=Tee.TDX,
            grade=Grade.SIMULATED,
            price=self.compute_price,
            penalty=self.penalty,
            max_stake=self.max_stake,
            capability_hash=promise.digest(),
            volume=volume,
        )

    @property
    def deposit(self) -> Wei:
        """What the insurer pays in: enough for the job that runs and the three that do not, side by side."""
        return Wei(30 * self.unit)

    @property
    def signature_fee(self) -> Wei:
        """What one oracle signature costs: enough to be seen in a table of balances."""
        return Wei(self.unit // 100)

    @property
    def purse(self) -> int:
        """What each party's purse holds to begin with."""
        return 35 * self.unit + self.gas
