"""What a request would cost and what would refuse it, before anything is signed.

Pure: what was read of chain, store and book is an argument (:mod:`sealmarket.client.reading` reads it). Every rule is
the code that applies it later: the market's limits (:mod:`sealmarket.protocol.fitting`), the choice of an offer
(:mod:`sealmarket.protocol.matching`), the owners' policies as oracle nodes and enclaves hold them
(:mod:`sealmarket.client.owners_clauses`).

Not decided here, since it is known only later: whether an enclave's evidence is acceptable, and what another party does
between the quote and the match.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain

from sealmarket.client.clauses import Clause, of_limit
from sealmarket.client.errors import RequestInvalid
from sealmarket.client.market_facts import AssetFacts, MarketFacts
from sealmarket.client.needs_clauses import needs_clauses
from sealmarket.client.offers import behind, promised
from sealmarket.client.owners_clauses import owners_clauses
from sealmarket.client.price import Price, price_of
from sealmarket.client.requests import UnsignedRequest
from sealmarket.protocol.fitting import Side, Unmet, unmet_by_epoch, unmet_by_request, unmet_by_version
from sealmarket.protocol.market import TimesTaken
from sealmarket.protocol.matching import Considered, OnSale, cheapest, consider
from sealmarket.protocol.orders import Request
from sealmarket_enclave.protocol.codec import Address, Bytes32, Wei

NEAREST = 3
"""How many offers that do not fit are named."""
DEPOSIT_STEP = 10**14
"""What a deposit that is proposed is rounded up to: a ten-thousandth of a coin."""
_COLUMN_PARAMETERS = ("target", "column")


@dataclass(frozen=True, slots=True)
class Nearest:
    """An offer that does not fit, and every limit that keeps it from fitting."""

    order_hash: Bytes32
    provider: Address
    price: Wei
    unmet: tuple[Unmet, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """The answer. ``clauses`` is empty where the request would be taken now; ``notes`` refuse nothing.

    ``nearest`` is empty where an offer fits. ``columns`` has those of each asset's data card. ``took`` is how long jobs
    of this workload and of the provider whose offer fits took, by the backend's index; None where it does not say.
    """

    request: Request
    price: Price
    clauses: tuple[Clause, ...]
    nearest: tuple[Nearest, ...]
    columns: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    took: TimesTaken | None = None

    @property
    def taken(self) -> bool:
        """Whether nothing that is known now would refuse it."""
        return not self.clauses

    def require(self) -> None:
        """Return if the request would be taken. Raises :class:`RequestInvalid` with every clause that refuses it."""
        if self.clauses:
            remedies = dict.fromkeys(clause.remedy for clause in self.clauses)
            raise RequestInvalid("; ".join(map(str, self.clauses)), "; ".join(remedies))


def quote_of(unsigned: UnsignedRequest, facts: MarketFacts) -> Quote:
    """Price a request and name every clause that would refuse it."""
    request = unsigned.request
    looked = _looked_at(unsigned, facts)
    best = cheapest(looked)
    price = price_of(request, facts, best)
    clauses = [
        *map(of_limit, unmet_by_request(request, facts.rules, facts.now)),
        *chain.from_iterable(_version_clauses(request, asset, facts) for asset in facts.assets),
        *map(of_limit, unmet_by_epoch(request, [asset.state for asset in facts.assets], facts.rules, facts.now)),
        *owners_clauses(unsigned, facts),
        *needs_clauses(unsigned, facts),
        *_market_clauses(facts, best),
        *_money_clauses(facts, price),
    ]
    return Quote(
        request=request,
        price=price,
        clauses=tuple(dict.fromkeys(clauses)),
        nearest=() if best else _nearest(looked),
        columns=tuple(asset.card.columns for asset in facts.assets),
        notes=tuple(_notes(unsigned, facts)),
    )


def _looked_at(unsigned: UnsignedRequest, facts: MarketFacts) -> list[Considered]:
    """Every open offer beside the request, with what the chain alone knows of its provider among what is unmet."""
    request = unsigned.request
    on_sale = OnSale(
        {(asset.limit.asset_id, asset.limit.version): asset.state for asset in facts.assets},
        {(asset.limit.asset_id, asset.limit.version): list(asset.orders) for asset in facts.assets},
    )
    computes = [offer.signed for offer in facts.offers]
    looked = consider(request, computes, on_sale, facts.rules, facts.now, facts.prove)
    return [
        replace(one, unmet=(*one.unmet, *behind(one, offer), *promised(one, offer, unsigned.workload, facts.assets)))
        for one, offer in zip(looked, facts.offers, strict=True)
    ]


def _version_clauses(request: Request, asset: AssetFacts, facts: MarketFacts) -> Iterator[Clause]:
    """What standing terms do not allow, as the registry's ``reserve`` checks it."""
    side, state = Side(asset.limit, asset.state), asset.state
    yield from map(of_limit, unmet_by_version(request, side, facts.now, facts.prove))
    if state.uses_taken >= state.terms.max_uses:
        found = f"{state.uses_taken} of {state.terms.max_uses} taken"
        yield Clause("used_up", side.name, "its uses", found, "one left", "ask its owner for a new version")
    left = max(0, state.terms.budget - state.budget_taken)
    if asset.limit.epsilon > left:
        found, expected = f"{asset.limit.epsilon} micro-epsilon", f"at most the {left} that are left"
        remedy = "ask for less, or its owner for a new version"
        yield Clause("budget_spent", side.name, "the privacy budget", found, expected, remedy)


def _market_clauses(facts: MarketFacts, best: Considered | None) -> Iterator[Clause]:
    if facts.paused:
        remedy = "wait until the market's guardian resumes it; `sealmarket chain status` shows it"
        yield Clause("paused", "the market", "matching", "paused", "open", remedy)
    if best is None:
        found = f"{len(facts.offers)} open, and none fits" if facts.offers else "none at all"
        remedy = "name limits within which an offer fits; or with --keep leave the request in the book"
        yield Clause("no_offer", "the book", "what it offers", found, "one within the limits", remedy)


def _money_clauses(facts: MarketFacts, price: Price) -> Iterator[Clause]:
    needed = price.locked.total
    if facts.payer.free < needed:
        found, expected = f"{Wei(facts.payer.free).coins} coin", f"at least {needed.coins} coin, which a match locks"
        missing = Wei(-(-(needed - facts.payer.free) // DEPOSIT_STEP) * DEPOSIT_STEP)
        remedy = f"sealmarket consumer deposit {missing.coins}coin"
        yield Clause("funds", "the payer", "its free balance", found, expected, remedy)


def _nearest(looked: list[Considered]) -> tuple[Nearest, ...]:
    ordered = sorted(looked, key=lambda one: len(one.unmet))[:NEAREST]
    orders = [(one.compute.order, one.unmet) for one in ordered]
    return tuple(Nearest(order.struct_hash(), order.provider, order.price, unmet) for order, unmet in orders)


def _notes(unsigned: UnsignedRequest, facts: MarketFacts) -> Iterator[str]:
    """What refuses nothing and may still be a mistake: a column that no data card names."""
    cards = [asset.card.columns for asset in facts.assets if asset.card.columns]
    for name in _COLUMN_PARAMETERS:
        value = unsigned.parameters.values.get(name)
        if isinstance(value, str) and cards and not all(value in columns for columns in cards):
            yield f"parameter {name} is {value!r}, and not every data card lists a column of that name"
    if len(set(map(frozenset, cards))) > 1:
        yield "the data cards name different columns"
    unknown = {asset.state.epoch for asset in facts.assets} - set(facts.rules.committees)
    if unknown:
        epochs = ", ".join(map(str, sorted(unknown)))
        yield f"the address book lacks the committee of epoch {epochs}, so the oracle's fees are left out: get it again"
    for asset in facts.assets:
        name = Side(asset.limit, asset.state).name
        for step in asset.strange:
            yield (
                f"{name}: its owner has each job run {step}, which does not come with Sealmarket: read it before you "
                "pay, since a validator that refuses every output costs the whole price"
            )
        if asset.pairs is None and asset.policy is not None:
            yield f"{name}: the store does not show the list of pairs behind its root on chain, so it is not checked"
