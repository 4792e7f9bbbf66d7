"""Matches open requests: which one has its turn, what is tried for it, and what becomes of one that comes to nothing.

Anyone can post a request, and have a match of it simulated. What is sent costs the keeper gas whether it holds or not.
So no match is tried for an account by whose doing one failed a while ago, nor more at once than its balance pays for
(:mod:`locked`), and the requests of strangers have their turn peer by peer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial

from sealmarket.chain import Chain, Reverted
from sealmarket.chain.calls import Call
from sealmarket.chain.contracts import AssetOffer, Match
from sealmarket.protocol.fitting import Proof, Rules
from sealmarket.protocol.matching import AssetKey, NoMatch, OnSale, Proposal
from sealmarket.protocol.merkle import account_leaf, capability_leaf
from sealmarket.protocol.orders import Request
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import SignedAssetOrder, SignedRequest
from sealmarket_backend.blame import WITHOUT_REASON, at_fault
from sealmarket_backend.book import OrderBook
from sealmarket_backend.errors import NotFound
from sealmarket_backend.finding import Finder
from sealmarket_backend.income import Income
from sealmarket_backend.index import Index, IndexedAsset
from sealmarket_backend.locked import HeldBack, Locks
from sealmarket_backend.outgoing import Outgoing, Watched
from sealmarket_backend.rota import Line, Rota, Waiting
from sealmarket_backend.sets import LIST_BYTES, LoneSets
from sealmarket_backend.spending import NoRoomOfItsOwn, NotEarned
from sealmarket_enclave.protocol.codec import Address, Bytes32

log = logging.getLogger(__name__)
MOST_OFFERS_TRIED = 16
"""How many offers one turn tries for one request: each costs a simulation."""
IN_LINE = "requests that came before wait for the gas that the keeper gives to accounts without room in a part of it"


class Matcher:
    """The open requests of one book. ``lacking``, ``sets`` and ``suspect`` are as the keeper's."""

    def __init__(
        self,
        chain: Chain,
        outgoing: Outgoing,
        orders: OrderBook,
        index: Index,
        income: Income,
        *,
        rules: Rules,
        lacking: Callable[[Request], tuple[str, ...]],
        sets: LoneSets,
        suspect: Callable[[Address | Bytes32], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._chain, self._outgoing, self._orders, self._index = chain, outgoing, orders, index
        self._income, self._lacking = income, lacking
        self._sets, self._prove = sets, sets.prove
        self._suspect = suspect
        self._finder = Finder(orders, rules, sets)
        self._rota, self._line = Rota(orders.waiting, monotonic), Line()
        self._locks = Locks(chain, rules, self._is_known, outgoing.waits.failures)

    def match_some(self, now: int, guarded: Callable[[str, Callable[[], None]], None]) -> None:
        """Jobs are bounded by stake and escrow; requests are free, so they come last, and a bounded number a turn."""
        for gone in self._rota.read():
            self._finder.forget(gone.request_hash)
        for one in self._rota.due(self._line.begin(self._rota.has)):
            if (signed := self._orders.request(one.request_hash)) is not None:
                guarded(f"request {one.request_hash}", partial(self._match_in_turn, signed, one, now))
            else:
                self._rota.drop(one)
                self._finder.forget(one.request_hash)

    def _is_known(self, account: Address) -> bool:
        """Whether an account has a part of the budget of its own, or is the operator's; each has without a budget."""
        spending = self._outgoing.spending
        return spending is None or account in self._income.own or spending.part(account) > 0

    def _match_in_turn(self, signed: SignedRequest, one: Waiting, now: int) -> None:
        """What all share is for the next peer in the line alone, whether a consumer has a part of the budget or not."""
        self._line.looks_at(one)
        if self._is_known(signed.request.consumer) and self._had_turn_of_its_own(signed, now):
            self._line.leave(one)
        elif not self._line.is_next(one):
            self._orders.explain(one.request_hash, (IN_LINE,))
        else:
            try:
                if self._match(signed, now):
                    self._line.took(one)
            except NotEarned as error:
                if error.shared:
                    self._line.wait(one)
                raise

    def _had_turn_of_its_own(self, signed: SignedRequest, now: int) -> bool:
        """Whether a request could be looked at without what all share. Raises :class:`NotEarned` for another cause."""
        try:
            self._match(signed, now, shares=False)
        except NoRoomOfItsOwn:
            return False
        return True

    def _match(self, signed: SignedRequest, now: int, *, shares: bool = True) -> bool:
        """Whether a match is sent; if not, the request says why. ``shares``: what all share may pay for it. Raises
        :class:`NotEarned`."""
        request = signed.request
        request_hash = request.struct_hash()
        if self._chain.at(self._chain.head()).job(request_hash).status != Status.NONE:
            return False  # matched around us, or by us before a crash: the index will say which job
        try:
            self._require_patience(request.consumer, request.payer)
        except HeldBack as error:
            self._orders.explain(request_hash, (str(error),))
            return False
        if lacking := self._lacking(request):
            self._orders.explain(request_hash, lacking)
            return False
        on_sale, refusals = self._on_sale(request), list[str]()
        # An offer may be the cheapest and without stake or volume: it must not keep a request from the next one.
        while isinstance(found := self._finder.propose(signed, on_sale, now), Proposal):
            try:
                self._add(found, on_sale, shares=shares)
                return True
            except NotEarned as error:
                self._orders.explain(request_hash, (*dict.fromkeys(refusals), str(error)))
                raise
            except (HeldBack, Reverted) as error:
                refusals.append(str(error))
                if not self._is_for_others(found, error, on_sale):
                    break
            if len(refusals) == MOST_OFFERS_TRIED:
                break
        if isinstance(found, NoMatch) or refusals:
            reasons = refusals or (found.reasons if isinstance(found, NoMatch) else ())
            self._orders.explain(request_hash, tuple(dict.fromkeys(reasons)))
        return False

    def _is_for_others(self, found: Proposal, error: HeldBack | Reverted, on_sale: OnSale) -> bool:
        """Whether a request may have other offers, after a match with these was not sent. It gets its best one later
        where that is no fault of the offer."""
        provider = found.compute.order.provider
        if isinstance(error, HeldBack):
            if error.account != provider:
                return False  # the offer is good, and the cheapest
            by: Collection[Address] = (provider,)
        else:
            log.info("request %s is not matched: %s", found.request.request.struct_hash(), error)
            by = () if error.name in WITHOUT_REASON else self._at_fault(error, found)
        if by and provider not in by:
            return False  # by the doing of the request's own side: the best offer stays the best
        if isinstance(error, Reverted) and (dropped := _drop_asset_offers(found, error, on_sale)):
            for offer in dropped:
                self._suspect(offer.order.struct_hash())
        else:
            self._unmatched(found, by)
        return True

    def _add(self, found: Proposal, on_sale: OnSale, *, shares: bool) -> None:
        """Raises :class:`HeldBack`, :class:`NotEarned`, :class:`Reverted`, and nothing is sent."""
        request = found.request.request
        self._require_patience(found.compute.order.provider)
        first = request.assets[0]
        locks = self._locks.of(found, on_sale.assets[first.asset_id, first.version].epoch)
        for lock in locks:
            self._locks.require(lock, self._outgoing.locks())
        blame = partial(self._at_fault, found=found)
        watched = Watched(partial(self._unmatched, found), blame, locks)
        call, cause = self._match_call(found, on_sale), replace(self._income.of_match(found), shares=shares)
        self._outgoing.add(f"request {request.struct_hash()}", call, watched, cause)
        self._finder.reserve(found)

    def _require_patience(self, *parties: Address) -> None:
        """Raises :class:`HeldBack` for an account by whose doing a match failed a while ago."""
        for party in parties:
            if left := self._outgoing.waits.left(party):
                raise HeldBack(
                    f"a match failed in its block by the doing of {party.checksum}: the keeper waits {left:.0f} s more",
                    remedy="submit the match yourself, as any account may",
                    account=party,
                )

    def _at_fault(self, error: Reverted, found: Proposal) -> Collection[Address]:
        return at_fault(error, found, self._has_code, self._leaving)

    def _has_code(self, account: Address) -> bool:
        return bool(self._chain.code(account, self._chain.head()))

    def _leaving(self, token: Address, account: Address) -> int:
        return self._chain.at(self._chain.head()).unbonding(token, account).amount

    def _unmatched(self, found: Proposal, by: Collection[Address] | None) -> None:
        """A match did not hold, or did not come to be: its offer is looked at again, and takes as many jobs as before.

        A consumer can have a match simulated that its wallet refuses in a block: no event tells of that. ``by``: whose
        doing that is, as far as is known; None where it came to no block. The request gets another offer unless it is
        its own side's doing, or the keeper's.
        """
        provider = found.compute.order.provider
        if by is not None and (not by or provider in by):
            self._finder.refuse(found)
        self._suspect(provider)
        self._suspect(found.compute.order.struct_hash())

    def _on_sale(self, request: Request) -> OnSale:
        """An owner may name a long list in each of its orders: the cheapest are asked for, as far as these are read."""
        assets: dict[AssetKey, IndexedAsset] = {}
        offers: dict[AssetKey, list[SignedAssetOrder]] = {}
        for limit in request.assets:
            key = (limit.asset_id, limit.version)
            try:
                assets[key] = self._index.asset(*key)
            except NotFound:
                continue
            by_price = sorted(self._orders.open_asset_orders(*key), key=lambda one: one.order.price)
            offers[key] = self._sets.affordable(by_price, _sets_of, LIST_BYTES // len(request.assets))
        return OnSale(assets, offers)

    def _match_call(self, proposal: Proposal, on_sale: OnSale) -> Call:
        request, order = proposal.request.request, proposal.compute.order
        consumer, provider = account_leaf(request.consumer), account_leaf(order.provider)
        offers = []
        for limit, offer in zip(request.assets, proposal.offers, strict=True):
            terms = on_sale.assets[limit.asset_id, limit.version].terms
            offers.append(
                AssetOffer(
                    order=offer,
                    consumer_proof=self._proof(offer.order.consumers, consumer) if offer else (),
                    provider_proof=self._proof(offer.order.providers, provider) if offer else (),
                    terms_proof=self._proof(terms.consumer_root, consumer),
                )
            )
        return self._chain.market.match(
            Match(
                request=proposal.request,
                compute=proposal.compute,
                offers=tuple(offers),
                provider_proof=self._proof(request.providers, provider),
                consumer_proof=self._proof(order.consumers, consumer),
                capability_proof=self._proof(request.capabilities, capability_leaf(order.capability_hash)),
            )
        )

    def _proof(self, root: Bytes32, leaf: Bytes32) -> Proof:
        return self._prove(root, leaf) or ()


def _sets_of(offer: SignedAssetOrder) -> tuple[Bytes32, Bytes32]:
    return offer.order.consumers, offer.order.providers


def _drop_asset_offers(found: Proposal, error: Reverted, on_sale: OnSale) -> list[SignedAssetOrder]:
    """Leave out the owners' offers that a refusal names (used up, cancelled): the standing terms hold without them."""
    dropped = []
    for offer in found.offers:
        if offer is None:
            continue
        key = (offer.order.asset_id, offer.order.version)
        withdrawn = error.name == "WrongGeneration" and error.arguments.get("signer") == on_sale.assets[key].owner
        if withdrawn or offer.order.struct_hash() in error.arguments.values():
            on_sale.offers[key].remove(offer)
            dropped.append(offer)
    return dropped
