"""The matching rules: which compute order a request gets, or why none fits yet. Pure: no chain, no clock, no book.

Rules, in order, for each request:
    1. every asset is published, not revoked, not expired, and in the terms version that the consumer saw;
    2. every asset's price (its standing terms, or a cheaper order of its owner) is within the consumer's limit;
    3. a compute order promises the TEE and at least the grade, takes the token, is open to this consumer, allowed by
       the request, current, and within the consumer's limits;
    4. of those the cheapest at the request's unit cap wins, the oldest among equals.

The contract checks all of this again, and more (stake, escrow, uses, signatures): what it says when the match is
simulated is added to the explanation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sealmarket.protocol import merkle
from sealmarket.protocol.orders import AssetLimit, Request
from sealmarket.protocol.wire import SignedAssetOrder, SignedComputeOrder, SignedRequest
from sealmarket_backend.index import IndexedAsset
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32


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


def propose(
    signed: SignedRequest,
    computes: Sequence[SignedComputeOrder],
    assets: Mapping[AssetKey, IndexedAsset],
    offers: Mapping[AssetKey, Sequence[SignedAssetOrder]],
    now: int,
) -> Proposal | NoMatch:
    """Find the best match for a request, or say why there is none."""
    request = signed.request
    if request.expiry <= now:
        return NoMatch((f"the request expired at {request.expiry}: sign a new one",))
    reasons: list[str] = []
    chosen: list[SignedAssetOrder | None] = []
    for limit in request.assets:
        key = (limit.asset_id, limit.version)
        trouble, offer = _asset_offer(request, limit, assets.get(key), offers.get(key, ()), now)
        reasons.extend(trouble)
        chosen.append(offer)
    fitting = []
    misfits: list[str] = []
    for compute in computes:
        trouble = list(_misfits(request, compute, now))
        if trouble:
            misfits.extend(trouble)
        else:
            fitting.append(compute)
    if not fitting:
        reasons.extend(dict.fromkeys(misfits) if computes else ("no provider offers compute yet: wait for one",))
    if reasons:
        return NoMatch(tuple(reasons))
    cheapest = min(fitting, key=lambda c: c.order.price + c.order.unit_price * request.max_units)
    return Proposal(signed, cheapest, tuple(chosen))


def _asset_offer(
    request: Request, limit: AssetLimit, asset: IndexedAsset | None, offers: Sequence[SignedAssetOrder], now: int
) -> tuple[list[str], SignedAssetOrder | None]:
    name = f"asset {str(limit.asset_id)[:10]}… version {limit.version}"
    if asset is None:
        return [f"{name} is not published at a final block: wait a few blocks, or check the id"], None
    trouble = []
    if asset.revoked:
        trouble.append(f"{name} was revoked by its owner: choose another")
    if asset.terms.expiry <= now:
        trouble.append(f"{name} expired at {asset.terms.expiry}: ask its owner for a new version")
    if asset.terms_version != limit.terms_version:
        trouble.append(
            f"{name} is under terms version {asset.terms_version}, the request saw {limit.terms_version}: sign again"
        )
    if asset.terms.token != request.token:
        trouble.append(f"{name} is priced in {asset.terms.token.checksum}, the request pays in another token")
    if not request.purpose & asset.terms.purposes:
        trouble.append(f"{name} does not allow purpose {request.purpose}: its terms allow {asset.terms.purposes}")
    usable = [o for o in offers if o.order.expiry > now and _open_to(o.order.consumers, request.consumer)]
    best = min(usable, key=lambda o: o.order.price, default=None)
    if best is not None and best.order.price >= asset.terms.price:
        best = None
    price = best.order.price if best else asset.terms.price
    if price > limit.max_price:
        trouble.append(f"{name} costs {price}, the request pays at most {limit.max_price}")
    return trouble, best


def _misfits(request: Request, signed: SignedComputeOrder, now: int) -> Iterator[str]:
    order = signed.order
    name = f"provider {order.provider.checksum[:8]}…"
    if order.expiry <= now:
        yield f"{name}: the offer expired at {order.expiry}"
    if order.token != request.token:
        yield f"{name} is paid in {order.token.checksum}, the request pays in another token"
    if order.tee != request.tee:
        yield f"{name} runs {order.tee.name}, the request wants {request.tee.name}"
    if order.grade < request.min_grade:
        yield f"{name} offers {order.grade.name.lower()} evidence, the request wants {request.min_grade.name.lower()}"
    if not _open_to(request.providers, order.provider):
        yield f"{name} is not among the providers that the request allows"
    if not _open_to(order.consumers, request.consumer):
        yield f"{name} does not serve this consumer"
    if order.price > request.max_compute_price:
        yield f"{name} asks {order.price} a job, the request pays at most {request.max_compute_price}"
    if order.unit_price > request.max_unit_price:
        yield f"{name} asks {order.unit_price} a unit, the request pays at most {request.max_unit_price}"


def _open_to(root: Bytes32, account: Address) -> bool:
    """Whether a set takes an account. Sets of several are matched by those who hold them."""
    return root == ZERO_HASH or root == merkle.account_leaf(account)
