"""When a compute offer fits a request, in numbers, as :mod:`sealmarket.protocol.fitting` has it in words.

Each limit is written so that *more reaches further*: an upper bound that the provider signs stays as it is, a lower
bound is taken from the greatest number of its field. An offer keeps a limit where its number is at least the request's.
All limits of an offer are one integer, a field for each, and above each field a bit that a subtraction takes where it
borrows: one subtraction compares all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce
from itertools import accumulate
from typing import Final, NamedTuple, Self, TypeAlias

from sealmarket.protocol import merkle
from sealmarket.protocol.fitting import windows_of
from sealmarket.protocol.orders import ComputeOrder, Request
from sealmarket.protocol.timing import longest_hold
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32

Limits: TypeAlias = int
"""A field for each of :data:`LIMITS`, the first lowest. In what an offer reaches, the bits above the fields are set."""
Row: TypeAlias = tuple[int, int, int, int, Limits, bytes, bytes, bytes]
"""An offer: price, sequence, price of a unit, expiry, limits, leaf of the provider, leaf of the document, order hash.

A plain tuple of plain values, which sorts by price and then by time. The garbage collector does not visit such tuples,
once it has seen them.
"""
PRICE: Final = 0
SEQUENCE: Final = 1
UNIT: Final = 2
EXPIRY: Final = 3
REACH: Final = 4
PROVIDER: Final = 5
CAPABILITY: Final = 6
HASH: Final = 7
_AMOUNT, _TIME = 132, 40
"""Bits: sixteen owners' prices of 128 bits fit, and the sum of a request's windows of 32."""
_BITS: Final = {
    "penalty": _AMOUNT,
    "grade": 8,
    "minQuoteWindow": _TIME,
    "minSettleWindow": _TIME,
    "maxHold": _TIME,
    "maxRunSeconds": _TIME,
    "maxReadSeconds": _TIME,
    "maxValidateSeconds": _TIME,
    "maxDecodedBytes": 64,
    "timeoutFee": _AMOUNT,
    "maxStake": _AMOUNT,
}
LIMITS: Final = tuple(_BITS)
GREATEST: Final = tuple((1 << bits) - 1 for bits in _BITS.values())
"""Of each limit, what no number exceeds."""
_STARTS: Final = tuple(accumulate((bits + 1 for bits in _BITS.values()), initial=0))[:-1]
GUARD_OF: Final = tuple(1 << start + bits for start, bits in zip(_STARTS, _BITS.values(), strict=True))
"""The bit above each field."""
_AT_GUARD: Final = {guard.bit_length(): at for at, guard in enumerate(GUARD_OF)}
GUARDS: Final = sum(GUARD_OF)
"""The bits above the fields. ``(reached - needed) & GUARDS == GUARDS`` where every limit is kept."""
_OF_WIDTH: Final = tuple(
    (width, sum(1 << start + bits for start, bits in zip(_STARTS, _BITS.values(), strict=True) if bits == width))
    for width in sorted(set(_BITS.values()))
)
"""The bits above the fields of each width."""
_QUOTE, _SETTLE, _TIMEOUT, _STAKE = map(LIMITS.index, ("minQuoteWindow", "minSettleWindow", "timeoutFee", "maxStake"))


def packed(values: Iterable[int]) -> Limits:
    """One number for each limit, of 0 to its greatest, as one integer without the bits above."""
    return sum(value << start for value, start in zip(values, _STARTS, strict=False))


def unpacked(limits: Limits) -> tuple[int, ...]:
    """The number of each limit."""
    return tuple(limits >> start & most for start, most in zip(_STARTS, GREATEST, strict=True))


def first_missed(reached: Limits, needed: Limits) -> int:
    """The place of the first limit that is not kept; -1 where all are."""
    missed = GUARDS & ~(reached - needed)
    return _AT_GUARD[(missed & -missed).bit_length()] if missed else -1


def most_of(one: Limits, other: Limits) -> Limits:
    """Of what two reach, the greater of each field."""
    kept = (one - (other & ~GUARDS)) & GUARDS
    fields = kept - sum((kept & guards) >> width for width, guards in _OF_WIDTH)
    return GUARDS | (one & fields) | (other & ~fields)


class Key(NamedTuple):
    """What has to be equal: these clauses choose the shelf, and offers on other shelves are never looked at."""

    kind: int
    token: bytes
    tee: int


class Bounds(NamedTuple):
    """What the best of several offers reaches in each clause: if that fails, all of them fail."""

    unit: int
    expiry: int
    limits: Limits

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Self:
        """Of at least one offer."""
        units, expiries, limits = zip(*((row[UNIT], row[EXPIRY], row[REACH]) for row in rows), strict=True)
        return cls(min(units), max(expiries), reduce(most_of, set(limits)))

    def with_row(self, row: Row) -> Bounds:
        """Of one offer more."""
        unit, expiry, limits = self
        most = limits if limits == row[REACH] else most_of(limits, row[REACH])
        if row[UNIT] >= unit and row[EXPIRY] <= expiry and most == limits:
            return self
        return Bounds(min(unit, row[UNIT]), max(expiry, row[EXPIRY]), most)

    def joined(self, other: Bounds) -> Bounds:
        """Of both."""
        return Bounds(min(self.unit, other.unit), max(self.expiry, other.expiry), most_of(self.limits, other.limits))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a request asks of an offer. Amounts in the token's smallest unit, times in seconds.

    ``consumer_roots``: the sets of consumers in which this one is. ``providers``, ``capabilities``: the leaves that the
    request allows; None allows all. ``limits`` is what an offer has to reach. ``excluded``: hashes of offers that were
    tried and did not hold. ``passed_over``: leaves of providers that are not asked.
    """

    key: Key
    consumer_roots: tuple[bytes, ...]
    providers: frozenset[bytes] | None
    capabilities: frozenset[bytes] | None
    max_price: int
    max_unit: int
    units: int
    now: int
    limits: Limits
    excluded: frozenset[bytes] = frozenset()
    passed_over: frozenset[bytes] = frozenset()

    def with_owners(self, owners: Owners, providers: frozenset[bytes] | None) -> Wanted:
        """The same of these providers alone, with what the owners' side asks of them."""
        last = (GREATEST[_TIMEOUT] - owners.at_timeout) << _STARTS[_TIMEOUT] | owners.price << _STARTS[_STAKE]
        return replace(self, providers=providers, limits=self.limits | last)

    def cost(self, row: Row) -> int:
        """What the job pays the provider at the request's unit cap."""
        return row[PRICE] + row[UNIT] * self.units

    def reached(self, bounds: Bounds) -> bool:
        """Whether an offer within these bounds may keep every limit."""
        unit, expiry, limits = bounds
        return unit <= self.max_unit and expiry > self.now and (limits - self.limits) & GUARDS == GUARDS

    def fits(self, row: Row) -> bool:
        """Whether an offer on a shelf of this key keeps every clause."""
        return (
            row[PRICE] <= self.max_price
            and row[UNIT] <= self.max_unit
            and row[EXPIRY] > self.now
            and (row[REACH] - self.limits) & GUARDS == GUARDS
            and self.allows(row)
        )

    def allows(self, row: Row) -> bool:
        """Whether the offer is of a provider that is asked and of a document that the request allows, and was not
        tried."""
        return (
            (self.providers is None or row[PROVIDER] in self.providers)
            and (self.capabilities is None or row[CAPABILITY] in self.capabilities)
            and row[HASH] not in self.excluded
            and row[PROVIDER] not in self.passed_over
        )


@dataclass(frozen=True, slots=True)
class Owners:
    """What the assets' side asks of an offer: ``price`` of all owners, ``at_timeout`` what the request leaves to the
    provider when a limit of time is used up. Neither is negative."""

    price: int
    at_timeout: int


def key_of(order: ComputeOrder | Request) -> Key:
    """The shelf of an order, or of a request."""
    return Key(int(order.kind), bytes(order.token), int(order.tee))


def row_of(order: ComputeOrder, order_hash: Bytes32, sequence: int) -> Row:
    """An order in numbers. Its ``max_stake`` covers its penalty, or no market would take it."""
    limits = (
        int(order.penalty),
        int(order.grade),
        GREATEST[_QUOTE] - order.min_quote_window,
        GREATEST[_SETTLE] - order.min_settle_window,
        int(order.max_hold),
        int(order.max_run_seconds),
        int(order.max_read_seconds),
        int(order.max_validate_seconds),
        int(order.max_decoded_bytes),
        GREATEST[_TIMEOUT] - order.timeout_fee,
        int(order.max_stake) - int(order.penalty),
    )
    provider = bytes(merkle.account_leaf(order.provider))
    document = bytes(merkle.capability_leaf(order.capability_hash))
    return (
        int(order.price),
        sequence,
        int(order.unit_price),
        int(order.expiry),
        GUARDS | packed(limits),
        provider,
        document,
        bytes(order_hash),
    )


def wanted_of(
    request: Request,
    *,
    penalty: int,
    grade: int,
    consumer_roots: Iterable[bytes],
    capabilities: frozenset[bytes] | None,
    now: int,
) -> Wanted:
    """A request in numbers, as yet without the owners' side. ``penalty`` and ``grade``: the least that request, market
    and owners' terms demand."""
    limits = (
        penalty,
        grade,
        GREATEST[_QUOTE] - request.quote_window,
        GREATEST[_SETTLE] - request.settle_window,
        longest_hold(windows_of(request)),
        int(request.run_seconds),
        int(request.read_seconds),
        int(request.validate_seconds),
        int(request.decoded_bytes),
    )
    roots = (bytes(ZERO_HASH), *(root for root in consumer_roots if root != ZERO_HASH))
    return Wanted(
        key=key_of(request),
        consumer_roots=roots,
        providers=None,
        capabilities=capabilities,
        max_price=int(request.max_compute_price),
        max_unit=int(request.max_unit_price),
        units=int(request.max_units),
        now=now,
        limits=packed(limits),
    )
