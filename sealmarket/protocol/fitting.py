"""What keeps a request and orders from becoming a job: the limits of all parties and of the market, as it checks them.

Pure: no chain, no clock, no book. The names are those of the market's own refusals, the order is its own too
(`contracts/market/Matching.sol`). Not decided here, since the chain alone knows it: signatures, generations, volumes
and uses that are taken, and whether money and stake are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Protocol

from sealmarket.protocol import merkle
from sealmarket.protocol.amounts import written
from sealmarket.protocol.book import Committee, Timing, Windows
from sealmarket.protocol.moments import moment
from sealmarket.protocol.orders import AssetLimit, AssetOrder, ComputeOrder, Request
from sealmarket.protocol.purposes import purposes_in_words
from sealmarket.protocol.timing import LONGEST_WINDOW, least_settle_window, longest_hold, longest_use
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32
from sealmarket_enclave.protocol.job import MAX_ASSETS
from sealmarket_enclave.protocol.numbers import Grade, Kind, Tee
from sealmarket_enclave.protocol.terms import Terms

Proof = tuple[Bytes32, ...]
Prover = Callable[[Bytes32, Bytes32], Proof | None]
"""From the root of a set and a leaf to the proof that the leaf is in it; None where it is not, or not known to be."""
_NO_LIMIT = 2**128 - 1
_MOST_ON_CHAIN = Tee.NITRO


@dataclass(frozen=True, slots=True)
class Unmet:
    """A limit that is not kept: whose it is, its name at the market, what was offered and what is required."""

    whose: str
    limit: str
    offered: str
    required: str

    def __str__(self) -> str:
        return f"{self.whose}: {self.limit} is {self.offered}, expected {self.required}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a market demands of every match.

    ``fee_of``: one oracle signature in a token; None if not admitted. ``ends_of``: the last second of a committee's
    epoch; 0 where no end is announced.
    """

    timing: Timing
    committees: Mapping[int, Committee]
    fee_of: Callable[[Address], int | None]
    ends_of: Callable[[int], int]

    def least_penalty(self, epoch: int, token: Address) -> int:
        """What a fault of the platform may have to pay: a decision, the answer to a challenge, posted releases."""
        committee, fee = self.committees.get(epoch), self.fee_of(token)
        if committee is None or fee is None:
            return 0
        return fee * (2 * committee.refusal_threshold + len(committee.members))

    def is_over(self, epoch: int, now: int) -> bool:
        """Whether not even the shortest job that this market takes would be over when the epoch ends."""
        ends_at = self.ends_of(epoch)
        return ends_at != 0 and now + longest_hold(self.timing.windows) > ends_at

    @property
    def newest_epoch(self) -> int:
        """The newest committee's epoch."""
        return max(self.committees, default=0)


class Version(Protocol):
    """One version of an asset, as the registry has it."""

    @property
    def owner(self) -> Address: ...
    @property
    def epoch(self) -> int: ...
    @property
    def terms(self) -> Terms: ...
    @property
    def terms_version(self) -> int: ...
    @property
    def revoked(self) -> bool: ...
    @property
    def suspended(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Side:
    """One asset's side of a match: its version, and its owner's order if there is one. ``version`` None: unknown."""

    limit: AssetLimit
    version: Version | None
    order: AssetOrder | None = None

    @property
    def price(self) -> int:
        """What the owner gets."""
        if self.order is not None:
            return int(self.order.price)
        return int(self.version.terms.price) if self.version else 0

    @property
    def name(self) -> str:
        """For people."""
        return f"asset {str(self.limit.asset_id)[:10]}… version {self.limit.version}"


def lone_member(root: Bytes32, leaf: Bytes32) -> Proof | None:
    """The prover that knows no lists: it answers for everyone, and for sets of one."""
    return () if root in (ZERO_HASH, leaf) else None


def why_not(
    request: Request,
    order: ComputeOrder,
    sides: Sequence[Side],
    rules: Rules,
    now: int,
    prove: Prover = lone_member,
) -> Unmet | None:
    """The first limit that keeps these from becoming a job, as the market would find it; None if none does."""
    found = chain(
        unmet_by_request(request, rules, now),
        unmet_between(request, order, now, prove),
        *(unmet_by_version(request, side, now, prove) for side in sides),
        unmet_by_epoch(request, [side.version for side in sides], rules, now),
        unmet_together(request, order, sides, rules, now, prove),
    )
    return next(found, None)


def windows_of(request: Request) -> Windows:
    """The windows that a request asks for."""
    return Windows(request.quote_window, request.decide_window, request.settle_window, request.challenge_window)


def unmet_by_request(request: Request, rules: Rules, now: int) -> Iterator[Unmet]:
    """What of the request no market of these rules takes, whatever is offered."""
    least = rules.timing.windows
    settle = least_settle_window(rules.timing, request.run_seconds, request.read_seconds, request.validate_seconds)
    yield from _within(
        "the request",
        ("quoteWindow", request.quote_window, least.quote, LONGEST_WINDOW),
        ("decideWindow", request.decide_window, least.decide, LONGEST_WINDOW),
        ("settleWindow", request.settle_window, settle, LONGEST_WINDOW),
        ("challengeWindow", request.challenge_window, least.challenge, LONGEST_WINDOW),
        ("minGrade", request.min_grade, 1, max(Grade)),
        ("tee", request.tee, 1, _MOST_ON_CHAIN),
        ("kind", request.kind, 1, max(Kind)),
        ("the number of assets", len(request.assets), 1, MAX_ASSETS),
    )
    yield from _standing("the request", request.token, request.expiry, rules, now)
    seen: set[Bytes32] = set()
    for limit in request.assets:
        if limit.asset_id in seen:
            yield Unmet("the request", "an asset", f"named twice ({limit.asset_id})", "named once")
        seen.add(limit.asset_id)


def unmet_by_order(order: ComputeOrder, rules: Rules, now: int) -> Iterator[Unmet]:
    """What of a compute order no market of these rules takes, whatever is asked for."""
    whose = name_of(order)
    least = rules.least_penalty(rules.newest_epoch, order.token)
    yield from _within(
        whose,
        ("tee", order.tee, 1, _MOST_ON_CHAIN),
        ("grade", order.grade, 1, max(Grade)),
        ("kind", order.kind, 1, max(Kind)),
        ("volume", order.volume, 1, _NO_LIMIT),
    )
    yield from _affordable(
        whose,
        order.token,
        ("penalty", order.penalty, least, _NO_LIMIT),
        ("maxStake", order.max_stake, order.penalty, _NO_LIMIT),
    )
    yield from _standing(whose, order.token, order.expiry, rules, now)


def unmet_between(request: Request, order: ComputeOrder, now: int, prove: Prover = lone_member) -> Iterator[Unmet]:
    """What of the request the order does not allow, and what of the order the request does not."""
    whose = name_of(order)
    if order.expiry <= now:
        yield Unmet(whose, "expiry", moment(order.expiry), f"after {moment(now)}")
    for what, offered, asked in (
        ("kind", order.kind.slug, request.kind.slug),
        ("token", order.token.checksum, request.token.checksum),
        ("tee", order.tee.name, request.tee.name),
    ):
        if offered != asked:
            yield Unmet(whose, what, offered, asked)
    yield from _affordable(
        whose,
        request.token,
        ("compute price", order.price, 0, request.max_compute_price),
        ("unit price", order.unit_price, 0, request.max_unit_price),
        ("penalty", order.penalty, request.min_penalty, _NO_LIMIT),
    )
    if order.grade < request.min_grade:
        yield Unmet(whose, "grade", order.grade.slug, request.min_grade.slug)
    yield from _within_order(request, order)
    yield from _parties(request, order, prove)


def _within_order(request: Request, order: ComputeOrder) -> Iterator[Unmet]:
    hold = longest_hold(windows_of(request))
    yield from _within(
        f"the request for {name_of(order)}",
        ("quoteWindow (minQuoteWindow)", request.quote_window, order.min_quote_window, LONGEST_WINDOW),
        ("settleWindow (minSettleWindow)", request.settle_window, order.min_settle_window, LONGEST_WINDOW),
        ("the longest time that it holds stake (maxHold)", hold, 0, order.max_hold),
        ("runSeconds (maxRunSeconds)", request.run_seconds, 0, order.max_run_seconds),
        ("readSeconds (maxReadSeconds)", request.read_seconds, 0, order.max_read_seconds),
        ("validateSeconds (maxValidateSeconds)", request.validate_seconds, 0, order.max_validate_seconds),
        ("decodedBytes (maxDecodedBytes)", request.decoded_bytes, 0, order.max_decoded_bytes),
    )


def _parties(request: Request, order: ComputeOrder, prove: Prover) -> Iterator[Unmet]:
    whose = name_of(order)
    if prove(request.providers, merkle.account_leaf(order.provider)) is None:
        yield Unmet(whose, "its account", order.provider.checksum, "among the providers that the request allows")
    if prove(order.consumers, merkle.account_leaf(request.consumer)) is None:
        yield Unmet(whose, "the consumer", request.consumer.checksum, "among those whom it serves")
    if prove(request.capabilities, merkle.capability_leaf(order.capability_hash)) is None:
        yield Unmet(whose, "capabilityHash", str(order.capability_hash), "among those that the request accepts")


def unmet_by_version(request: Request, side: Side, now: int, prove: Prover = lone_member) -> Iterator[Unmet]:
    """What of the request an asset's standing terms do not allow."""
    version, limit = side.version, side.limit
    if version is None:
        yield Unmet(side.name, "it", "not published at a final block", "published: wait, or check the id")
        return
    terms = version.terms
    if version.revoked:
        yield Unmet(side.name, "it", "revoked by its owner", "on sale: choose another")
    if version.suspended:
        yield Unmet(side.name, "it", "suspended: an enclave could not open or read it", "lifted by its owner")
    if terms.expiry <= now:
        found = f"{moment(terms.expiry)}, which is past"
        yield Unmet(side.name, "expiry", found, f"after {moment(now)}: ask its owner for a new version")
    if version.terms_version != limit.terms_version:
        yield Unmet(side.name, "the terms version in force", str(version.terms_version), f"{limit.terms_version}")
    if terms.token != request.token:
        yield Unmet(side.name, "the token of its price", terms.token.checksum, request.token.checksum)
    if not request.purpose or request.purpose & ~terms.purposes:
        yield Unmet(side.name, "the purpose", purposes_in_words(request.purpose), purposes_in_words(terms.purposes))
    if prove(terms.consumer_root, merkle.account_leaf(request.consumer)) is None:
        yield Unmet(side.name, "the consumer", request.consumer.checksum, "among those whom its terms admit")
    hold = longest_use(windows_of(request))
    yield from _within(
        side.name,
        ("epsilon", limit.epsilon, 0, terms.per_job_cap),
        ("the longest time that the request holds a use (maxHold of terms)", hold, 0, terms.max_hold),
    )


def unmet_by_epoch(request: Request, versions: Sequence[Version | None], rules: Rules, now: int) -> Iterator[Unmet]:
    """Whether the job could outlast the committee to which its assets' shares were dealt."""
    until = now + longest_hold(windows_of(request))
    for epoch in dict.fromkeys(version.epoch for version in versions if version is not None):
        ends_at = rules.ends_of(epoch)
        if ends_at and until > ends_at:
            expected = (
                f"{moment(until)} or later, since the job's windows may last so long: wait for its owner's next version"
            )
            yield Unmet(f"the committee of epoch {epoch}", "its end", moment(ends_at), expected)


def unmet_together(
    request: Request,
    order: ComputeOrder,
    sides: Sequence[Side],
    rules: Rules,
    now: int,
    prove: Prover = lone_member,
) -> Iterator[Unmet]:
    """What the orders of all parties do not allow together: prices, committee, grade, penalty and stake."""
    for side in sides:
        yield from _unmet_by_offer(request, order, side, now, prove)
    known = [side.version for side in sides if side.version]
    for side in sides:
        if side.version and side.version.epoch != known[0].epoch:
            yield Unmet(side.name, "the committee epoch of its shares", str(side.version.epoch), str(known[0].epoch))
    demanded = max((version.terms.min_grade for version in known), default=Grade.SIMULATED)
    if order.grade < demanded:
        yield Unmet(name_of(order), "grade", order.grade.slug, f"{demanded.slug}, as the owners' terms demand")
    least = rules.least_penalty(known[0].epoch, request.token) if known else 0
    owners = sum(side.price for side in sides)
    share = max((version.terms.timeout_share for version in known), default=0)
    locked = owners + order.penalty
    at_timeout = order.timeout_fee + -(-owners * share // 100)
    yield from _affordable(
        f"the request for {name_of(order)}",
        request.token,
        ("timeoutLimit (timeoutFee, and timeoutShare of terms)", request.timeout_limit, at_timeout, _NO_LIMIT),
    )
    yield from _affordable(
        name_of(order),
        request.token,
        ("penalty (for the oracle's fees)", order.penalty, least, _NO_LIMIT),
        ("the stake that the job locks (maxStake)", locked, 0, order.max_stake),
    )


def _unmet_by_offer(request: Request, compute: ComputeOrder, side: Side, now: int, prove: Prover) -> Iterator[Unmet]:
    yield from _affordable(side.name, request.token, ("its price", side.price, 0, side.limit.max_price))
    order = side.order
    if order is None:
        return
    if side.version is not None and order.price > side.version.terms.price:
        least = f"at most the terms', {written(side.version.terms.price, request.token)}"
        yield Unmet(side.name, "the order's price", written(order.price, request.token), least)
    if order.expiry <= now:
        yield Unmet(side.name, "the order's expiry", moment(order.expiry), f"after {moment(now)}")
    if prove(order.consumers, merkle.account_leaf(request.consumer)) is None:
        yield Unmet(side.name, "the consumer", request.consumer.checksum, "among those whom its order admits")
    if prove(order.providers, merkle.account_leaf(compute.provider)) is None:
        yield Unmet(side.name, "the provider", compute.provider.checksum, "among those whom its order admits")


def name_of(order: ComputeOrder) -> str:
    """For people."""
    return _provider_name(order.provider)


@lru_cache(maxsize=4096)
def _provider_name(provider: Address) -> str:
    return f"provider {provider.checksum[:8]}…"


def _standing(whose: str, token: Address, expiry: int, rules: Rules, now: int) -> Iterator[Unmet]:
    if expiry <= now:
        yield Unmet(whose, "expiry", moment(expiry), f"after {moment(now)}: sign a new one")
    if rules.fee_of(token) is None:
        yield Unmet(whose, "token", token.checksum, "one that the market admits")


def _affordable(whose: str, token: Address, *bounds: tuple[str, int, int, int]) -> Iterator[Unmet]:
    """As :func:`_within`, for amounts of a token."""
    yield from _bounded(whose, bounds, lambda amount: written(amount, token))


def _within(whose: str, *bounds: tuple[str, int, int, int]) -> Iterator[Unmet]:
    """Name, value, least and most of each."""
    yield from _bounded(whose, bounds, lambda value: str(int(value)))


def _bounded(whose: str, bounds: Sequence[tuple[str, int, int, int]], text: Callable[[int], str]) -> Iterator[Unmet]:
    for limit, value, least, most in bounds:
        if value < least:
            yield Unmet(whose, limit, text(value), f"at least {text(least)}")
        elif value > most:
            yield Unmet(whose, limit, text(value), f"at most {text(most)}")
