"""What a request costs: each part, the sum at the best open offer, and the most under its limits. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from sealmarket.client.escrow import Escrow, escrow_of
from sealmarket.client.market_facts import MarketFacts
from sealmarket.protocol.matching import Considered
from sealmarket.protocol.orders import Request
from sealmarket_enclave.protocol.codec import Address, Wei
from sealmarket_enclave.protocol.numbers import AssetId


@dataclass(frozen=True, slots=True)
class OwnersPrice:
    """What one owner gets. ``standing`` False: by an order below the price of the terms."""

    asset_id: AssetId
    version: int
    owner: Address
    price: Wei
    standing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """All in the token's smallest unit, but ``gas``, which is in wei of the chain's coin.

    ``compute`` and ``total`` are None where no offer fits. ``unit`` is what one metered unit costs at the offer;
    ``total`` is without units, since their number is known afterwards. ``most`` is the most that the request can cost
    whatever happens, ``locked`` the most that it holds meanwhile.
    """

    owners: tuple[OwnersPrice, ...]
    provider: Address | None
    compute: Wei | None
    unit: Wei
    fees: Wei
    gas: Wei
    total: Wei | None
    most: Wei
    locked: Escrow


def price_of(request: Request, facts: MarketFacts, best: Considered | None) -> Price:
    """The price of a request with an offer that fits, or without one."""
    owners = _owners(facts, best)
    accept = _accepting(request, facts)
    order = best.compute.order if best else None
    compute = order.price if order else None
    locked = escrow_of(request, facts.rules, facts.assets[0].state.epoch, facts.hold)
    success = locked.assets + locked.compute + locked.units + accept
    total = None if compute is None else Wei(sum(one.price for one in owners) + compute + accept)
    return Price(
        owners=owners,
        provider=order.provider if order else None,
        compute=compute,
        unit=order.unit_price if order else request.max_unit_price,
        fees=Wei(accept),
        gas=facts.gas,
        total=total,
        most=Wei(max(success, locked.fees + locked.hold)),
        locked=locked,
    )


def _owners(facts: MarketFacts, best: Considered | None) -> tuple[OwnersPrice, ...]:
    found = []
    for place, asset in enumerate(facts.assets):
        offer = best.offers[place] if best else None
        price = offer.order.price if offer else asset.state.terms.price
        limit = asset.limit
        found.append(OwnersPrice(limit.asset_id, limit.version, asset.state.owner, price, offer is None))
    return tuple(found)


def _accepting(request: Request, facts: MarketFacts) -> int:
    """What the oracle costs when it accepts."""
    committee = facts.rules.committees.get(facts.assets[0].state.epoch)
    return (facts.rules.fee_of(request.token) or 0) * committee.threshold if committee else 0
