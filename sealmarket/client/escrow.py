"""What a match locks of a payer's money, before there is one."""

from __future__ import annotations

from dataclasses import dataclass

from sealmarket.chain import ViewReader
from sealmarket.protocol.fitting import Rules
from sealmarket.protocol.orders import Request
from sealmarket_enclave.protocol.codec import Wei


@dataclass(frozen=True, slots=True, kw_only=True)
class Escrow:
    """The most that a job locks, in the token's smallest unit.

    ``fees`` are the oracle's. ``hold`` is for holding the provider's stake and the owners' uses: it returns when the
    enclave is accepted, and at every end that is not the request's doing; a party that withdraws the job burns it.
    """

    assets: Wei
    compute: Wei
    units: Wei
    fees: Wei
    hold: Wei

    @property
    def total(self) -> Wei:
        """All of it."""
        return Wei(self.assets + self.compute + self.units + self.fees + self.hold)


def escrow_of(request: Request, rules: Rules, view: ViewReader) -> Escrow:
    """The most that a request can lock, with any provider.

    Raises:
        ChainError: the chain cannot be read.
    """
    epoch = view.asset(request.assets[0].asset_id, request.assets[0].version).epoch
    fee, committee = rules.fee_of(request.token) or 0, rules.committees.get(epoch)
    assets = Wei(sum(limit.max_price for limit in request.assets))
    return Escrow(
        assets=assets,
        compute=request.max_compute_price,
        units=Wei(request.max_unit_price * request.max_units),
        fees=Wei(fee * committee.refusal_threshold if committee else 0),
        hold=view.hold_fee(assets, request.min_penalty, request.quote_window, request.decide_window, Wei(fee)),
    )
