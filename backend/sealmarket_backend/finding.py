"""Which offer a request gets: the matching core's answer, held against the market's own rules before it is used.

The core compares numbers; :func:`sealmarket.protocol.matching.propose` holds what it found against every limit, as the
market does. Where nothing fits, the same rules say why of the offers nearest to it, and of no others.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from sealmarket.protocol import merkle
from sealmarket.protocol.amounts import written
from sealmarket.protocol.fitting import Rules, Side, unmet_by_epoch, unmet_by_request, unmet_by_version
from sealmarket.protocol.matching import Considered, NoMatch, OnSale, Proposal, consider, propose
from sealmarket.protocol.orders import Request
from sealmarket.protocol.wire import SignedRequest
from sealmarket_backend.book import OrderBook
from sealmarket_backend.offers.asking import Question, answer, questions
from sealmarket_backend.offers.clauses import HASH, key_of
from sealmarket_backend.offers.resting import Progress
from sealmarket_backend.sets import LIST_BYTES, LoneSets
from sealmarket_enclave.protocol.codec import Bytes32

NEAREST, LOOKED_AT = 3, 16
"""Offers that an explanation names: those that miss the fewest clauses, of the cheapest that could be asked."""
STEPS = 32
"""Searches of one request in one turn, each within the core's bound of work: some hundredths of a second."""
SEARCHED_ON = "the book is large: the search for an offer goes on in the next turn"
TRIED = "no match with the offers that fit came to be: they are tried again"
log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Search:
    """What is known of one request from turn to turn: the offers that did not hold since every offer had its turn, and
    how far its search is."""

    refused: set[Bytes32] = field(default_factory=set)
    asked: tuple[object, ...] = ()
    so_far: tuple[Progress | None, ...] = ()

    def go_on(self, asked: Sequence[Question]) -> None:
        """How far a search is holds for the same question alone: owners may have changed what they take."""
        now = tuple((one.owners, one.wanted.providers, one.wanted.capabilities, one.wanted.limits) for one in asked)
        if now != self.asked:
            there = dict(zip(self.asked, self.so_far, strict=False))
            self.asked, self.so_far = now, tuple(map(there.get, now))


class Finder:
    """Searches of the requests that wait."""

    def __init__(self, orders: OrderBook, rules: Rules, sets: LoneSets) -> None:
        self._orders, self._rules, self._sets = orders, rules, sets
        self._searches: dict[Bytes32, _Search] = {}

    def forget(self, request_hash: Bytes32) -> None:
        """A request waits no more."""
        self._searches.pop(request_hash, None)

    def propose(self, signed: SignedRequest, on_sale: OnSale, now: int) -> Proposal | NoMatch:
        """A match that should hold, or why there is none."""
        request = signed.request
        search = self._searches.setdefault(request.struct_hash(), _Search())
        if self._is_unmet(request, on_sale, now):
            return propose(signed, (), on_sale, self._rules, now, self._sets.prove)
        asked = self._questions(request, on_sale, now)
        search.go_on(asked)
        for _ in range(STEPS):
            refused = frozenset(map(bytes, search.refused))
            got = answer(self._orders.offers, [one.without(refused) for one in asked], search.so_far)
            search.so_far = got.unfinished
            if got.unfinished:
                continue
            if got.row is None:
                return self._explained(signed, on_sale, now, search)
            key = Bytes32(got.row[HASH])
            compute = self._orders.compute_order(key)
            if compute is not None:
                found = propose(signed, [compute], on_sale, self._rules, now, self._sets.prove)
                if isinstance(found, Proposal):
                    return found
                log.warning("offer %s looked as if it fitted, and does not: %s", key, "; ".join(found.reasons))
            search.refused.add(key)
        return NoMatch((SEARCHED_ON,))

    def refuse(self, proposal: Proposal) -> None:
        """A match with this offer did not hold: its request does not get it again before all others were tried."""
        if (search := self._searches.get(proposal.request.request.struct_hash())) is not None:
            search.refused.add(proposal.compute.order.struct_hash())

    def reserve(self, proposal: Proposal) -> None:
        """A match with this offer is sent: one job less for others, until the chain says how many are left."""
        key = bytes(proposal.compute.order.struct_hash())
        self._orders.offers.set_left(key, self._orders.offers.left(key) - 1)

    def _is_unmet(self, request: Request, on_sale: OnSale, now: int) -> bool:
        sides = [Side(limit, on_sale.assets.get((limit.asset_id, limit.version))) for limit in request.assets]
        return (
            any(unmet_by_request(request, self._rules, now))
            or any(any(unmet_by_version(request, side, now, self._sets.prove)) for side in sides)
            or any(unmet_by_epoch(request, [side.version for side in sides], self._rules, now))
        )

    def _questions(self, request: Request, on_sale: OnSale, now: int) -> list[Question]:
        roots = tuple(self._orders.offers.roots(key_of(request)))
        return questions(
            request,
            on_sale,
            self._rules,
            now,
            prove=self._sets.prove,
            members=self._sets.members,
            consumer_roots=self._sets.admitting(roots, merkle.account_leaf(request.consumer)),
        )

    def _explained(self, signed: SignedRequest, on_sale: OnSale, now: int, search: _Search) -> NoMatch:
        """Each clause that the nearest offers miss. Those that did not hold have their turn again."""
        tried = bool(search.refused)
        search.refused.clear()
        key = key_of(signed.request)
        rows = self._orders.offers.nearest(key, LOOKED_AT)
        computes = [one for row in rows if (one := self._orders.compute_order(Bytes32(row[HASH]))) is not None]
        computes = self._sets.affordable(computes, lambda one: (one.order.consumers,), LIST_BYTES)
        looked = consider(signed.request, computes, on_sale, self._rules, now, self._sets.prove)
        nearest = sorted((one for one in looked if one.unmet), key=lambda one: len(one.unmet))[:NEAREST]
        reasons = [f"{_named(one)}: {unmet}" for one in nearest for unmet in one.unmet]
        if not reasons:
            reasons = [TRIED if tried else "no provider offers compute yet: wait for one"]
        return NoMatch(tuple(dict.fromkeys(reasons)))


def _named(candidate: Considered) -> str:
    """An offer, and what a job with it pays to provider and owners, with all units that the request allows."""
    order = candidate.compute.order
    price = written(candidate.cost, order.token)
    return f"offer {order.struct_hash()} of {order.provider.checksum}, {price} with the data"
