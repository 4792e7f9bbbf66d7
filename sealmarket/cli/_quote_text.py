"""A quote as lines for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from sealmarket.client.price import Price
from sealmarket.client.quote import Nearest, Quote
from sealmarket.protocol.amounts import written
from sealmarket.protocol.market import TimesTaken
from sealmarket.protocol.moments import duration
from sealmarket.protocol.orders import Request
from sealmarket_enclave.protocol.codec import Address, to_builtins

MOST_COLUMNS = 12
"""How many columns of one asset are shown; the rest are counted."""


_OPTIONS = {
    "capabilityHash": "--capability {offered}",
    "compute price": "--max-compute-price {offered}",
    "unit price": "--max-unit-price {offered}",
    "grade": "--allow-simulated, and NO hardware stands behind it",
    "tee": "--tee with its TEE, if the owners allow an enclave of it",
}
"""Which option would take an offer that fails a limit of the request."""


def quote_lines(quote: Quote) -> list[str]:
    """Price, time, columns, and each clause that would refuse the request with what to do."""
    lines = [*price_lines(quote), *_time_lines(quote.request), *_took_lines(quote.took), *_column_lines(quote)]
    lines += [f"note: {note}" for note in quote.notes]
    if quote.taken:
        return [*lines, "this would be taken now"]
    lines.append(f"this would be refused, for {len(quote.clauses)} reason{'s' if len(quote.clauses) > 1 else ''}:")
    for number, clause in enumerate(quote.clauses, 1):
        lines += [f"{number}. {clause}", f"   what to do: {clause.remedy}"]
    return [*lines, *_nearest_lines(quote.nearest, quote.request.token)]


def price_lines(quote: Quote) -> list[str]:
    """The price in full."""
    price, token = quote.price, quote.request.token
    rows = [
        (written(one.price, token), f"owner {one.owner.checksum}{'' if one.standing else ', by an order of its own'}")
        for one in price.owners
    ]
    if price.compute is not None and price.provider is not None:
        rows.append((written(price.compute, token), f"computation, provider {price.provider.checksum}"))
    else:
        rows.append(("?", "computation: no open offer fits"))
    rows.append((written(price.fees, token), "oracle nodes, when they accept"))
    if price.total is not None:
        rows.append((written(price.total, token), "in all"))
    width = max(len(amount) for amount, _ in rows)
    lines = ["price", *(f"  {amount:>{width}}  {what}" for amount, what in rows)]
    return [*lines, *_limit_lines(price, quote.request)]


def _limit_lines(price: Price, request: Request) -> Iterator[str]:
    token, locked = request.token, price.locked
    if request.max_units:
        yield f"each metered unit costs {written(price.unit, token)}, for at most {request.max_units} units"
    yield f"at most {written(price.most, token)}, whatever happens, by your limits"
    yield f"a match locks {written(locked.total, token)}; {written(locked.hold, token)} of it is a hold fee, which"
    yield "  returns when the enclave is accepted; to withdraw the job before that burns it"
    gas = "gas: none for a request, which is a signature; a deposit costs about"
    yield f"{gas} {written(price.gas)}" if price.gas else "gas: none for a request, which is a signature"


def _time_lines(request: Request) -> list[str]:
    quote, decide, settle = request.quote_window, request.decide_window, request.settle_window
    return [
        "time, at most, from the match",
        f"  {duration(quote)} for an enclave",
        f"  {duration(decide)} for the oracle nodes' decision",
        f"  {duration(settle)} for the result, {duration(request.run_seconds)} of it for the workload",
        f"  {duration(quote + decide + settle)} in all; then you have {duration(request.challenge_window)} to object",
    ]


def _took_lines(took: TimesTaken | None) -> list[str]:
    """What the market's jobs took, the most alike first, each with the number that it rests on."""
    groups = (
        ()
        if took is None
        else (
            (took.both, "this workload at this provider"),
            (took.workload, "this workload at any provider"),
            (took.provider, "this provider, of any workload"),
        )
    )
    lines = [
        f"  {duration(one.median)}, and nine of ten within {duration(one.ninetieth)}: {one.jobs}"
        f" settled job{'s' if one.jobs > 1 else ''} of {what}"
        for one, what in groups
        if one is not None
    ]
    if not lines:
        return ["time, expected: not known, since no job of this workload or provider has settled here"]
    return ["time, expected from what jobs took, by the backend's index (the middle one first)", *lines]


def _column_lines(quote: Quote) -> Iterator[str]:
    for limit, columns in zip(quote.request.assets, quote.columns, strict=True):
        if columns:
            more = f" and {len(columns) - MOST_COLUMNS} more" if len(columns) > MOST_COLUMNS else ""
            yield f"columns of {str(limit.asset_id)[:10]}…: {', '.join(columns[:MOST_COLUMNS])}{more}"


def _nearest_lines(nearest: tuple[Nearest, ...], token: Address) -> Iterator[str]:
    if nearest:
        yield "the nearest offers, and what each fails:"
    for one in nearest:
        yield f"  {written(one.price, token)}, provider {one.provider.checksum}"
        for unmet in one.unmet:
            yield f"    {unmet.limit} is {unmet.offered}, expected {unmet.required}"
            if option := _OPTIONS.get(unmet.limit):
                yield f"      to take it: {option.format(offered=unmet.offered.replace(' ', ''))}"


def quote_payload(quote: Quote) -> dict[str, Any]:
    """For programs: amounts as decimal strings in the token's smallest unit."""
    price, request = quote.price, quote.request
    return {
        "taken": quote.taken,
        "requestHash": str(request.struct_hash()),
        "price": _price_payload(price),
        "seconds": {
            "quote": request.quote_window,
            "decide": request.decide_window,
            "settle": request.settle_window,
            "challenge": request.challenge_window,
        },
        "took": None if quote.took is None else to_builtins(quote.took),
        "clauses": [asdict(clause) for clause in quote.clauses],
        "nearest": [
            {
                "order": str(one.order_hash),
                "provider": one.provider.checksum,
                "price": str(int(one.price)),
                "unmet": [asdict(unmet) for unmet in one.unmet],
            }
            for one in quote.nearest
        ],
        "columns": [list(columns) for columns in quote.columns],
        "notes": list(quote.notes),
    }


def _price_payload(price: Price) -> dict[str, Any]:
    return {
        "owners": [
            {
                "asset": str(one.asset_id),
                "version": one.version,
                "owner": one.owner.checksum,
                "price": str(int(one.price)),
                "standing": one.standing,
            }
            for one in price.owners
        ],
        "provider": price.provider.checksum if price.provider else None,
        "compute": None if price.compute is None else str(int(price.compute)),
        "unit": str(int(price.unit)),
        "fees": str(int(price.fees)),
        "depositGas": str(int(price.gas)),
        "total": None if price.total is None else str(int(price.total)),
        "most": str(int(price.most)),
        "locks": {name: str(int(part)) for name, part in asdict(price.locked).items()},
    }
