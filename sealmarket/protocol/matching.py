"""The matching rules: which compute order a request gets, or why none fits yet. Pure: no chain, no clock, no book.

What fits is decided in :mod:`sealmarket.protocol.fitting`, limit by limit as the contract does. Here is only the
choice: of each owner's orders the cheapest below the standing price that admits both parties, and of the compute orders
with which everything fits the one that makes the job cheapest at the request's unit cap, the oldest among equals.

The backend proposes by it, and a consumer's quote asks it for the price before anything is signed. The contract checks
all of this again, and more (stake, escrow, uses, signatures): what it says when the match is simulated is added to the
explanation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sealmarket.protocol import merkle
from sealmarket.protocol.fitting import (
    Prover,
    Rules,
    Side,
    Unmet,
    Version,
    lone_member,
    unmet_between,
    unmet_by_epoch,
    unmet_by_request,
    unmet_by_version,
    unmet_together,
)
from sealmarket.protocol.orders import AssetLimit, Request
from sealmarket.protocol.wire import SignedAssetOrder, SignedComputeOrder, SignedRequest
from sealmarket_enclave.protocol.codec import Bytes32


@dataclass(frozen=True, slots=True)
class Proposal:
    """A match that should hold. ``offers[i]`` is the owner's order for asset i, or None for its standing terms."""

    request: SignedRequest
    compute: SignedComputeOrder
    offers: tuple[SignedAssetOrder | None, ...]


@dataclass(frozen=True, slots=True)
class NoMatch:
    """Why a request is not matched, a sentence for each reason, with what would change it."""

    reasons: tuple[str, ...]


AssetKey = tuple[Bytes32, int]


@dataclass(frozen=True, slots=True)
class OnSale:
    """What there is to match a request with: versions of assets, and their owners' orders."""

    assets: Mapping[AssetKey, Version]
    offers: Mapping[AssetKey, list[SignedAssetOrder]]


@dataclass(frozen=True, slots=True)
class Considered:
    """A compute order beside a request: the owners' orders that go with it, and every limit that is not kept.

    ``cost`` is what the job pays to provider and owners at the request's unit cap, in the token's smallest unit.
    """

    compute: SignedComputeOrder
    offers: tuple[SignedAssetOrder | None, ...]
    sides: tuple[Side, ...]
    unmet: tuple[Unmet, ...]
    cost: int


def propose(
    signed: SignedRequest,
    computes: Sequence[SignedComputeOrder],
    on_sale: OnSale,
    rules: Rules,
    now: int,
    prove: Prover = lone_member,
) -> Proposal | NoMatch:
    """Find the best match for a request, or say why there is none."""
    request = signed.request
    unmet = list(unmet_by_request(request, rules, now))
    for limit in request.assets:
        unmet += unmet_by_version(request, _side(limit, on_sale, None), now, prove)
    versions = [on_sale.assets.get((limit.asset_id, limit.version)) for limit in request.assets]
    unmet += unmet_by_epoch(request, versions, rules, now)
    looked = consider(request, computes, on_sale, rules, now, prove)
    best = cheapest(looked)
    if best is not None and not unmet:
        return Proposal(signed, best.compute, best.offers)
    misfits = [] if best is not None else [one for other in looked for one in other.unmet]
    reasons = [str(one) for one in unmet + misfits]
    if not computes:
        reasons.append("no provider offers compute yet: wait for one")
    return NoMatch(tuple(dict.fromkeys(reasons)))


def consider(
    request: Request,
    computes: Sequence[SignedComputeOrder],
    on_sale: OnSale,
    rules: Rules,
    now: int,
    prove: Prover = lone_member,
) -> list[Considered]:
    """Each compute order beside a request, in the order given."""
    found = []
    for compute in computes:
        order, offers = compute.order, _best_offers(request, compute, on_sale, now, prove)
        sides = tuple(_side(limit, on_sale, offer) for limit, offer in zip(request.assets, offers, strict=True))
        unmet = (
            *unmet_between(request, order, now, prove),
            *unmet_together(request, order, sides, rules, now, prove),
        )
        cost = order.price + order.unit_price * request.max_units + sum(side.price for side in sides)
        found.append(Considered(compute, offers, sides, unmet, cost))
    return found


def cheapest(looked: Sequence[Considered]) -> Considered | None:
    """Of those with which everything fits the one that makes the job cheapest, the first among equals."""
    return min((one for one in looked if not one.unmet), key=lambda one: one.cost, default=None)


def _side(limit: AssetLimit, on_sale: OnSale, offer: SignedAssetOrder | None) -> Side:
    return Side(limit, on_sale.assets.get((limit.asset_id, limit.version)), offer.order if offer else None)


def _best_offers(
    request: Request, compute: SignedComputeOrder, on_sale: OnSale, now: int, prove: Prover
) -> tuple[SignedAssetOrder | None, ...]:
    """Of each owner's orders the cheapest that both parties may use; None where the standing price is as good."""
    parties = merkle.account_leaf(request.consumer), merkle.account_leaf(compute.order.provider)
    found: list[SignedAssetOrder | None] = []
    for limit in request.assets:
        key = (limit.asset_id, limit.version)
        asset = on_sale.assets.get(key)
        usable = [
            offer
            for offer in on_sale.offers.get(key, ())
            if asset is not None
            and offer.order.expiry > now
            and offer.order.price < asset.terms.price
            and prove(offer.order.consumers, parties[0]) is not None
            and prove(offer.order.providers, parties[1]) is not None
        ]
        found.append(min(usable, key=lambda offer: offer.order.price, default=None))
    return tuple(found)
