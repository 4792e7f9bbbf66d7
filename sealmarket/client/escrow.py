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


def escrow_of(request: Request, rules: Rules, epoch: int, hold: Wei) -> Escrow:
    """The most that a request can lock, with any provider.

    Args:
        epoch: of the committee to which the assets' shares are dealt.
        hold: the hold fee of the request, as the market computes it.

    Raises:
        ChainError: the fee of the token cannot be read.
    """
    fee, committee = rules.fee_of(request.token) or 0, rules.committees.get(epoch)
    return Escrow(
        assets=owners_limit(request),
        compute=request.max_compute_price,
        units=Wei(request.max_unit_price * request.max_units),
        fees=Wei(fee * committee.refusal_threshold if committee else 0),
        hold=hold,
    )


def owners_limit(request: Request) -> Wei:
    """The most that the owners get together."""
    return Wei(sum(limit.max_price for limit in request.assets))


def hold_of(request: Request, rules: Rules, view: ViewReader) -> Wei:
    """The hold fee of a request, as the market computes it. Raises :class:`ChainError`."""
    fee = Wei(rules.fee_of(request.token) or 0)
    return view.hold_fee(owners_limit(request), request.min_penalty, request.quote_window, request.decide_window, fee)
