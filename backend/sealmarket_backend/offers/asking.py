"""A request beside the owners' offers, as what is asked of compute offers: one question, or a few.

Owners may give providers that they chose a lower price. So there is a question for all providers at the price that all
get, and one for each lower sum that some get, of those providers alone. The best answer is the one that makes the job
cheapest, the oldest among equals.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from sealmarket.protocol import merkle
from sealmarket.protocol.fitting import Prover, Rules
from sealmarket.protocol.matching import OnSale
from sealmarket.protocol.orders import AssetLimit, Request
from sealmarket_backend.offers.clauses import SEQUENCE, Owners, Row, Wanted, wanted_of
from sealmarket_backend.offers.resting import Progress, RestingOffers
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32
from sealmarket_enclave.protocol.numbers import Grade

Members = Callable[[Bytes32], frozenset[bytes] | None]
"""The leaves of a set; None where no list of it is known."""
MOST_SUMS = 16
"""Different lower sums that one request asks for, the lowest first."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of offers, and what the owners get if one of them is taken."""

    wanted: Wanted
    owners: int

    def without(self, excluded: frozenset[bytes]) -> Question:
        """The same of all offers but some, by their hashes."""
        return replace(self, wanted=replace(self.wanted, excluded=excluded))


@dataclass(frozen=True, slots=True)
class _Prices:
    """What one owner takes: from all providers, and from some by their leaves."""

    limit: AssetLimit
    all: int
    some: dict[bytes, int]

    def of(self, leaf: bytes) -> int:
        return min(self.all, self.some.get(leaf, self.all))


def questions(
    request: Request,
    on_sale: OnSale,
    rules: Rules,
    now: int,
    *,
    prove: Prover,
    members: Members,
    consumer_roots: Iterable[bytes],
) -> list[Question]:
    """What a request asks of compute offers; nothing where no offer could be taken at the owners' prices."""
    prices = [_prices_of(limit, request, on_sale, now, prove, members) for limit in request.assets]
    versions = [
        on_sale.assets[key] for limit in request.assets if (key := (limit.asset_id, limit.version)) in on_sale.assets
    ]
    share = max((version.terms.timeout_share for version in versions), default=0)
    demanded = max((version.terms.min_grade for version in versions), default=Grade.SIMULATED)
    least = rules.least_penalty(versions[0].epoch, request.token) if versions else 0
    wanted = wanted_of(
        request,
        penalty=max(int(request.min_penalty), least),
        grade=max(int(request.min_grade), int(demanded)),
        consumer_roots=consumer_roots,
        capabilities=leaves_of(request.capabilities, members),
        now=now,
    )

    def at_timeout(total: int) -> int:
        return int(request.timeout_limit) + -total * share // 100

    return [
        Question(wanted.with_owners(Owners(total, at_timeout(total)), providers), total)
        for total, providers in _sums(prices, leaves_of(request.providers, members))
        if at_timeout(total) >= 0
    ]


def leaves_of(root: Bytes32, members: Members) -> frozenset[bytes] | None:
    """Which leaves a set admits; None for all. A set of one is its own leaf, and needs no list."""
    if root == ZERO_HASH:
        return None
    return frozenset((bytes(root),)) | (members(root) or frozenset())


def _sums(prices: list[_Prices], allowed: frozenset[bytes] | None) -> Iterator[tuple[int, frozenset[bytes] | None]]:
    """What the owners get together, and from whom, where that is within what the request pays."""
    if all(price.all <= price.limit.max_price for price in prices):
        yield sum(price.all for price in prices), allowed
    lower: dict[int, set[bytes]] = defaultdict(set)
    for leaf in {leaf for price in prices for leaf in price.some}:
        if (allowed is None or leaf in allowed) and all(price.of(leaf) <= price.limit.max_price for price in prices):
            lower[sum(price.of(leaf) for price in prices)].add(leaf)
    for total in sorted(lower)[:MOST_SUMS]:
        yield total, frozenset(lower[total])


def _prices_of(
    limit: AssetLimit, request: Request, on_sale: OnSale, now: int, prove: Prover, members: Members
) -> _Prices:
    key = (limit.asset_id, limit.version)
    version = on_sale.assets.get(key)
    if version is None:
        return _Prices(limit, 0, {})
    consumer = merkle.account_leaf(request.consumer)
    least, some = int(version.terms.price), dict[bytes, int]()
    for offer in on_sale.offers.get(key, ()):
        order = offer.order
        if order.expiry <= now or order.price >= version.terms.price or prove(order.consumers, consumer) is None:
            continue
        leaves = leaves_of(order.providers, members)
        if leaves is None:
            least = min(least, int(order.price))
        for leaf in leaves or ():
            some[leaf] = min(some.get(leaf, int(order.price)), int(order.price))
    return _Prices(limit, least, {leaf: price for leaf, price in some.items() if price < least})


@dataclass(frozen=True, slots=True)
class Answer:
    """The offer that a request gets, or None; with ``unfinished``, how far each question is, None so far: ask again
    with it."""

    row: Row | None
    unfinished: tuple[Progress | None, ...] = ()


def answer(offers: RestingOffers, asked: Sequence[Question], so_far: Sequence[Progress | None] = ()) -> Answer:
    """Find the offer that makes the job cheapest, the oldest among equals, or as much of the way as one turn goes.

    A question that is answered keeps its answer while others go on, as long as the offer rests and fits.
    """
    starts = (*so_far, *[None] * len(asked))
    found = [offers.find(question.wanted, start) for question, start in zip(asked, starts, strict=False)]
    if any(one.unfinished for one in found):
        return Answer(None, tuple(one.progress for one in found))
    ranked = [
        (question.owners + question.wanted.cost(one.row), one.row[SEQUENCE], one.row)
        for question, one in zip(asked, found, strict=True)
        if one.row is not None
    ]
    return Answer(min(ranked)[2] if ranked else None)
