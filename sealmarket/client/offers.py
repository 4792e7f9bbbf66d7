"""What keeps an open offer from being used that neither signed document shows: stake, volume, and its promise. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sealmarket.attestation.policy.rules import AppraisalPolicy, enclaves
from sealmarket.client.market_facts import AssetFacts, OfferFacts
from sealmarket.protocol.capability import shortfalls
from sealmarket.protocol.fitting import Side, Unmet, name_of
from sealmarket.protocol.matching import Considered
from sealmarket.protocol.salts import generations_of
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32, Wei
from sealmarket_enclave.workload.bundle import ENVIRONMENT, Bundle


def behind(one: Considered, offer: OfferFacts) -> Iterator[Unmet]:
    """What stands behind an offer: stake, volume and generation."""
    order, whose = one.compute.order, name_of(one.compute.order)
    locked = sum(side.price for side in one.sides) + order.penalty
    if offer.provider.staked < locked:
        found, least = f"{Wei(offer.provider.staked).coins} coin", f"at least {Wei(locked).coins} coin"
        yield Unmet(whose, "its free stake", found, least)
    if offer.used >= order.volume:
        yield Unmet(whose, "the jobs left of its volume", "0", "1 or more")
    if (generation := generations_of(order.salt).signer) != offer.provider.generation:
        yield Unmet(whose, "its order's generation", str(generation), str(offer.provider.generation))


def promised(one: Considered, offer: OfferFacts, workload: Bundle, assets: Sequence[AssetFacts]) -> Iterator[Unmet]:
    """What a provider's promise leaves short: of the workload, or for an owner who allows none of its enclaves.

    The evidence of a job keeps the promise, or its provider pays; so no enclave of it can be one that the owner allows.
    """
    order, whose, promise = one.compute.order, name_of(one.compute.order), offer.promise
    if order.capability_hash == ZERO_HASH:
        return
    if promise is None:
        yield Unmet(whose, "its capability document", "not in the store, or none that reads", "one that reads")
        return
    manifest = workload.digest_manifest()
    environment = next((str(file.sha256) for file in manifest.files if file.path == ENVIRONMENT), "none")
    for shortfall in shortfalls(promise.document, manifest.limits, environment):
        yield Unmet(whose, "what the workload needs", str(shortfall.needed), shortfall.promised)
    for asset in assets:
        if asset.policy is not None and not _enclaves(promise.rules) & _enclaves(asset.policy.rules):
            expected = f"one that {Side(asset.limit, asset.state).name} allows"
            yield Unmet(whose, "each enclave that it promises", "one that this owner does not allow", expected)


def _enclaves(rules: AppraisalPolicy) -> set[Bytes32]:
    return {measurement.digest() for measurement in enclaves(rules)}
