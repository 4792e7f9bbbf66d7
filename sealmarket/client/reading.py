"""Reads what a quote rests on: the chain at one head, the owners' public documents, the book's open orders.

Documents are held against the hashes on chain, orders against their signatures. That the book shows every order, and
the store every document, is their statement.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from sealmarket.attestation.policy.owners import OwnersPolicy, parsed_policy, reduced_list
from sealmarket.attestation.policy.promises import Promise, promise_or_reason
from sealmarket.chain import AssetState, Chain, ViewReader
from sealmarket.chain.events import VersionPublished
from sealmarket.client.escrow import hold_of
from sealmarket.client.market_facts import AssetFacts, MarketFacts, OfferFacts
from sealmarket.client.offers import behind
from sealmarket.client.quote import Quote, quote_of
from sealmarket.client.requests import UnsignedRequest, Wanted
from sealmarket.client.rules import rules_of
from sealmarket.client.signing import digest
from sealmarket.market_api.client import MarketApi
from sealmarket.protocol.cards import NO_CARD, Card, read_card
from sealmarket.protocol.fitting import Proof, Prover, lone_member
from sealmarket.protocol.market import TimesTaken
from sealmarket.protocol.matching import OnSale, consider
from sealmarket.protocol.merkle import Tree
from sealmarket.protocol.orders import AssetLimit, AssetOrder, ComputeOrder, Request
from sealmarket.protocol.wire import SignedAssetOrder, SignedComputeOrder
from sealmarket.service.errors import ContentMismatch, ItemNotFound, ServiceError
from sealmarket.store.blobs import Store
from sealmarket.workloads.steps import shipped_as
from sealmarket_enclave.protocol.card import Card as PromisedCard
from sealmarket_enclave.protocol.card import promised
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32, Wei, decode_canonical
from sealmarket_enclave.protocol.errors import MalformedDocument, SealmarketError
from sealmarket_enclave.protocol.job import MAX_ASSETS
from sealmarket_enclave.protocol.numbers import AssetId
from sealmarket_enclave.protocol.policy import OutputRules
from sealmarket_enclave.protocol.signing import SignatureRefused, recover
from sealmarket_enclave.protocol.steps import named_steps
from sealmarket_enclave.protocol.terms import Seal
from sealmarket_enclave.sealed.errors import SealedError
from sealmarket_enclave.sealed.shares import ShareSet

log = logging.getLogger(__name__)
ENOUGH_OFFERS, MOST_OFFERS = 8, 128
"""Of how many open offers the provider's stake is read, those first that fit best by what they sign: if one of them can
be used, and until one can."""
DEPOSIT_GAS = 60_000
"""What one deposit takes (`sealmarket consumer deposit`), the one transaction that a consumer sends for a request."""


class Reading:
    """Reads for one market. ``gas_price`` in wei, for the estimate of a deposit."""

    def __init__(self, chain: Chain, store: Store, api: MarketApi) -> None:
        self._chain, self._store, self._api = chain, store, api
        self._rules = rules_of(chain)

    def quote(self, unsigned: UnsignedRequest, gas_price: int) -> Quote:
        """Price a request, name every clause that would refuse it, and say how long such jobs took. Raises as
        :meth:`facts`."""
        found = quote_of(unsigned, self.facts(unsigned, gas_price))
        return replace(found, took=self._took(unsigned.request, found.price.provider))

    def _took(self, request: Request, provider: Address | None) -> TimesTaken | None:
        try:
            return self._api.jobs.times_taken(request.workload_digest, request.tee, provider)
        except ServiceError as error:
            log.info("the market's API does not say how long jobs took: %s", error)
            return None

    def ends_of(self, epoch: int) -> int:
        """The last second of a committee's epoch; 0 where no end is announced. Raises :class:`ChainError`."""
        return self._rules.ends_of(epoch)

    def facts(self, unsigned: UnsignedRequest, gas_price: int) -> MarketFacts:
        """Everything about one request, at the head for which it was composed.

        Raises:
            ChainError, ServiceError: chain, store or book cannot be read; then no quote is possible.
        """
        request, view = unsigned.request, self._chain.at(unsigned.at)
        assets = tuple(self._asset(limit, view) for limit in request.assets)
        payer, hold = view.account(request.token, request.payer), hold_of(request, self._rules, view)
        prove = self.prover()
        return MarketFacts(
            now=unsigned.at.timestamp,
            rules=self._rules,
            assets=assets,
            offers=self._offers(request, assets, view, prove),
            payer=payer,
            hold=hold,
            gas=Wei(DEPOSIT_GAS * gas_price),
            paused=view.paused(),
            prove=prove,
        )

    # --- assets -----------------------------------------------------------------------------------------------

    def _asset(self, limit: AssetLimit, view: ViewReader) -> AssetFacts:
        state = view.asset(limit.asset_id, limit.version)
        seal = self.seal_of(limit.asset_id, limit.version, state)
        if seal is None:
            return AssetFacts(limit=limit, state=state, missing="no event shows its seal")
        policy, missing = self.policy_of(seal)
        raw = self._raw_card(policy)
        promise, broken = promise_in(raw)
        return AssetFacts(
            limit=limit,
            state=state,
            seal=seal,
            policy=policy,
            missing=missing,
            lacking=(*self._lacking(seal), *self._lacking_steps(policy, raw, promise)),
            strange=tuple(self._strange_steps(policy, promise)),
            pairs=self._pairs(policy, state.terms.allow_root),
            card=read_card(raw) if raw is not None else NO_CARD,
            promise=promise,
            broken=broken,
            orders=self._asset_orders(limit, state.owner),
        )

    def output_rules(self, wanted: Wanted) -> list[OutputRules] | None:
        """The owners' rules by which their validators get time; None where that is said, or a policy does not read.

        Raises:
            ChainError, ServiceError: chain or store cannot be read.
        """
        if wanted.limits.validate_seconds is not None or len(wanted.assets) > MAX_ASSETS:
            return None
        view, rules = self._chain.at(self._chain.head()), []
        for wish in wanted.assets:
            seal = self.seal_of(wish.asset_id, wish.version, view.asset(wish.asset_id, wish.version))
            policy = self.policy_of(seal)[0] if seal is not None else None
            if policy is None:
                return None
            rules.append(policy.document.output)
        return rules

    def seal_of(self, asset_id: AssetId, version: int, state: AssetState) -> Seal | None:
        """The published seal of a version, whose hash the registry has; None where no event shows one."""
        for event in self._chain.about_asset(asset_id, self._chain.head()):
            if isinstance(event, VersionPublished) and event.version == version:
                return event.seal if event.seal.hash() == state.seal_hash else None
        return None

    def policy_of(self, seal: Seal) -> tuple[OwnersPolicy | None, str]:
        """The policy that a seal names; or None, and why."""
        try:
            raw = self._store.find_document(seal.policy_hash)
            return (None, "not in the store") if raw is None else (parsed_policy(raw), "")
        except (MalformedDocument, ContentMismatch) as error:
            return None, error.message[:1000]

    def card_of(self, policy: OwnersPolicy | None) -> Card:
        """The data card that a policy names; empty where there is none that reads."""
        raw = self._raw_card(policy)
        return read_card(raw) if raw is not None else NO_CARD

    def _raw_card(self, policy: OwnersPolicy | None) -> bytes | None:
        try:
            return self._store.find_document(policy.document.data_card) if policy else None
        except ContentMismatch:
            return None

    def _lacking(self, seal: Seal) -> list[str]:
        """What the enclave and the oracle nodes would miss."""
        lacking = [] if self._store.has("containers", seal.content_root) else ["sealed container"]
        try:
            raw = self._store.find_document(seal.share_root)
            members = decode_canonical(ShareSet, raw).members if raw is not None else None
        except (ContentMismatch, MalformedDocument, SealedError):
            members = None
        if members is None:
            return [*lacking, "share set"]
        absent = [place for place, one in enumerate(members, 1) if self._store.find_document(one.sealed) is None]
        return lacking + [f"key share of node {place}" for place in absent]

    def _lacking_steps(
        self, policy: OwnersPolicy | None, card: bytes | None, promise: PromisedCard | None
    ) -> list[str]:
        """Of what an owner has each enclave run, what the store lacks."""
        if policy is None:
            return []
        named = policy.document.data_card
        lacking = [f"data card {named}"] if card is None and named != ZERO_HASH else []
        steps = named_steps([promise], [policy.document.output])
        return lacking + [f"step {digest}" for digest in steps if not self._store.has("workloads", digest)]

    def _strange_steps(self, policy: OwnersPolicy | None, promise: PromisedCard | None) -> Iterator[str]:
        """The steps of an owner that do not come with Sealmarket, as far as the store has them."""
        for named in named_steps([promise], [policy.document.output]) if policy is not None else ():
            try:
                bundle = self._store.workload(named)
            except (ServiceError, SealmarketError):
                continue  # what the store lacks is named by another clause
            if shipped_as(bundle) is None:
                yield f"{bundle.manifest.name} ({named})"

    def _pairs(self, policy: OwnersPolicy | None, root: Bytes32) -> frozenset[Bytes32] | None:
        if policy is None:
            return None
        try:
            return reduced_list(policy, root) or self._store.find_leaves(root)
        except ContentMismatch:
            return None

    def _asset_orders(self, limit: AssetLimit, owner: Address) -> tuple[SignedAssetOrder, ...]:
        orders = self._api.orders.asset_orders(limit.asset_id, limit.version)
        return tuple(one for one in orders if self.is_signed(one.order, one.signature, owner))

    # --- offers -----------------------------------------------------------------------------------------------

    def _offers(
        self, request: Request, assets: Sequence[AssetFacts], view: ViewReader, prove: Prover
    ) -> tuple[OfferFacts, ...]:
        computes = self._api.orders.compute_orders()
        on_sale = OnSale(
            {(asset.limit.asset_id, asset.limit.version): asset.state for asset in assets},
            {(asset.limit.asset_id, asset.limit.version): list(asset.orders) for asset in assets},
        )
        looked = consider(request, computes, on_sale, self._rules, view.block.timestamp, prove)
        found: list[OfferFacts] = []
        usable = 0
        for one in sorted(looked, key=lambda one: (len(one.unmet), one.cost)):
            if len(found) == MOST_OFFERS or (usable and len(found) >= ENOUGH_OFFERS):
                break
            if self.is_offer(one.compute):
                found.append(self._offer(one.compute, view))
                usable += not one.unmet and not any(behind(one, found[-1]))
        return tuple(found)

    def is_offer(self, compute: SignedComputeOrder) -> bool:
        """Whether its provider signed a compute order."""
        return self.is_signed(compute.order, compute.signature, compute.order.provider)

    def _offer(self, signed: SignedComputeOrder, view: ViewReader) -> OfferFacts:
        order = signed.order
        return OfferFacts(
            signed=signed,
            provider=view.account(order.token, order.provider),
            used=view.order_used(order.provider, order.struct_hash()),
            promise=self._promise(order),
        )

    def _promise(self, order: ComputeOrder) -> Promise | None:
        if order.capability_hash == ZERO_HASH:
            return None
        try:
            raw = self._store.find_document(order.capability_hash)
        except ContentMismatch:
            return None
        found = promise_or_reason(raw) if raw is not None else None
        return found if isinstance(found, Promise) else None

    # --- both -------------------------------------------------------------------------------------------------

    def is_signed(self, order: AssetOrder | ComputeOrder, signature: bytes, signer: Address) -> bool:
        """Whether its signer signed an order. A contract is believed here: the market asks it at the match."""
        try:
            if recover(digest(self._chain.book, order), signature) == signer:
                return True
        except SignatureRefused:
            pass
        return self._chain.has_code(signer)

    def prover(self) -> Prover:
        """Proves membership by the lists of the store, each read once."""

        @lru_cache(maxsize=64)
        def tree(root: Bytes32) -> Tree | None:
            try:
                leaves = self._store.find_leaves(root)
            except (ContentMismatch, ItemNotFound):
                return None
            return None if leaves is None else Tree(leaves)

        def prove(root: Bytes32, leaf: Bytes32) -> Proof | None:
            alone = lone_member(root, leaf)
            if alone is not None:
                return alone
            known = tree(root)
            return known.proof(leaf) if known is not None and leaf in known else None

        return prove


def promise_in(raw: bytes | None) -> tuple[PromisedCard | None, str]:
    """What a data card promises, None for nothing; and why one that claims to promise breaks the rules of cards."""
    try:
        return (promised(raw) if raw is not None else None), ""
    except SealmarketError as error:
        return None, error.message[:1000]
