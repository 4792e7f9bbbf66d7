"""A data card from what a reader found in a file: a promise that holds, and shows no more than its owner chose.

What a card says is public. So ranges are rounded outward to a power of ten of their span, row counts to two digits
and never finer than ten, dates to whole years; classes are named only where each has ten rows or its owner declared
the column, and statistics are shown on demand. The sample is made of the card alone: it tells nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from typing import Any

import msgspec

from sealmarket.client.errors import DescriptionRefused
from sealmarket.workloads.sampling import sample
from sealmarket_enclave.protocol.card import Card, ReaderRef, checked
from sealmarket_enclave.protocol.codec import from_builtins

STATISTICS = ("mean", "deviation", "missing", "distinct", "classes")
"""What `--show` may name: published as the file has it, mean and deviation to three digits."""
SAMPLE_ROWS = 10
FEWEST_OF_A_CLASS = 10
ARCHIVE_HEAD = 512
"""Bytes that tell an archive."""
_DIGITS = 2
_PRECISION = 700
_LONGEST_BOUND = 64
_UNBOUNDED = (1 << 53) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What an owner says of a card beside the file."""

    title: str = ""
    description: str = ""
    units: Mapping[str, str] = field(default_factory=dict)
    show: Sequence[str] = ()
    purposes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Described:
    """A card, and what its owner should look at before it is published."""

    card: Card
    warnings: tuple[str, ...]


def describe(found: Mapping[str, Any], reader: ReaderRef, wishes: Wishes) -> Described:
    """The card of a table that a reader looked through.

    Raises:
        DescriptionRefused: a unit for a column that is not there, a statistic that no card shows.
        CardRefused, MalformedDocument: something that no card may say.
    """
    columns = found["columns"]
    _require_known("unit", wishes.units, [one["name"] for one in columns])
    _require_known("statistic", wishes.show, STATISTICS)
    card = from_builtins(
        Card,
        {
            "version": "sealmarket/card/1",
            "kind": "table",
            "mediaType": found["mediaType"],
            "title": wishes.title,
            "description": wishes.description,
            "reader": {"name": reader.name, "digest": str(reader.digest)},
            "dialect": found["dialect"],
            "columns": [_column(one, wishes.units.get(one["name"], "")) for one in columns],
            "rows": _rows(found["rows"]),
            "purposes": list(wishes.purposes),
            "shown": {one["name"]: shown for one in columns if (shown := _shown(one, wishes.show))},
            "sample": [],
        },
    )
    card = msgspec.structs.replace(card, sample=sample(card.columns, SAMPLE_ROWS))
    return Described(checked(card), (*_of_a_small_table(found["rows"], columns), *_warnings(columns)))


def is_archive(head: bytes) -> bool:
    """Whether a file that begins so is a zip, a gzip or a tar."""
    return head[:4] in (b"PK\x03\x04", b"PK\x05\x06") or head[:2] == b"\x1f\x8b" or head[257:262] == b"ustar"


def describe_members(found: Mapping[str, Any], reader: ReaderRef, wishes: Wishes) -> Described:
    """The card of an archive that a reader looked through; sizes and pixels rounded outward, as ranges of a table are.

    Raises:
        CardRefused, MalformedDocument: something that no card may say.
    """
    sides = found["pixels"]
    members = {
        "mediaTypes": found["mediaTypes"],
        "bytes": _counts(*found["bytes"]),
        "pixels": _counts(*sides) if sides is not None else None,
        "manifest": found["manifest"],
    }
    card = from_builtins(
        Card,
        {
            "version": "sealmarket/card/1",
            "kind": found["kind"],
            "mediaType": found["mediaType"],
            "title": wishes.title,
            "description": wishes.description,
            "reader": {"name": reader.name, "digest": str(reader.digest)},
            "rows": _rows(found["rows"]),
            "members": members,
            "purposes": list(wishes.purposes),
        },
    )
    few = [f"{count} of the members are {kind}" for kind, count in found["counts"].items() if count < FEWEST_OF_A_CLASS]
    return Described(checked(card), tuple(few))


def _counts(least: int, most: int) -> dict[str, int]:
    low, high = outward("integer", str(least), str(most))
    return {"minimum": int(Decimal(low)), "maximum": int(Decimal(high))}


def _require_known(what: str, given: Iterable[str], known: Sequence[str]) -> None:
    if unknown := [name for name in given if name not in known]:
        raise DescriptionRefused(f"a {what} for {unknown[0][:60]!r}", f"one of {', '.join(known)[:300]}")


def _column(found: Mapping[str, Any], unit: str) -> dict[str, Any]:
    kind = found["type"]
    made: dict[str, Any] = {"name": found["name"], "type": kind, "unit": unit, "missing": found["missing"] > 0}
    made |= {"rounded": found.get("rounded", False), "single": found["single"]}
    if "minimum" in found:
        low, high = outward(kind, found["minimum"], found["maximum"])
        made |= {"minimum": low, "maximum": high}
    return made | ({"classes": sorted(found["classes"])} if kind == "category" else {})


def outward(kind: str, low: str, high: str) -> tuple[str, str]:
    """Bounds that hold and do not tell the extreme values.

    Numbers: multiples of the power of ten that the range spans, so 25 to 88 becomes 20 to 90. Dates: whole years.
    """
    if kind in ("date", "timestamp"):
        first, last = date.fromisoformat(low[:10]).year, date.fromisoformat(high[:10]).year
        start, end = ("", "") if kind == "date" else ("T00:00:00+00:00", "T23:59:59.999999+00:00")
        return f"{first:04}-01-01{start}", f"{last:04}-12-31{end}"
    least, most = Decimal(low), Decimal(high)
    span = most - least or abs(most) or Decimal(1)
    unit = Decimal(1).scaleb(span.adjusted())
    if kind == "integer":
        unit = max(unit, Decimal(1))
    return _multiple(least, unit, ROUND_FLOOR), _multiple(most, unit, ROUND_CEILING)


def _multiple(value: Decimal, unit: Decimal, rounding: str) -> str:
    with localcontext() as context:
        context.prec = _PRECISION
        rounded = (value / unit).to_integral_value(rounding) * unit
    text = f"{rounded:f}"
    return text if len(text) <= _LONGEST_BOUND else f"{rounded.normalize():E}"


def _rows(count: int) -> dict[str, int]:
    unit = 10 ** max(1, len(str(count)) - _DIGITS)
    least = count // unit * unit
    return {"minimum": least, "maximum": min(least + unit, _UNBOUNDED)}


def _shown(found: Mapping[str, Any], show: Sequence[str]) -> dict[str, str]:
    shown: dict[str, str] = {}
    for name in show:
        if name in ("mean", "deviation") and name in found:
            shown[name] = f"{float(found[name]):.3g}"
        elif name in ("missing", "distinct"):
            shown[name] = str(found[name])
        elif name == "classes" and name in found:
            shown |= {f"rows of {label[:100]}": str(count) for label, count in list(found["classes"].items())[:32]}
    return shown


def _of_a_small_table(rows: int, columns: Sequence[object]) -> Iterable[str]:
    if rows < FEWEST_OF_A_CLASS:
        yield f"fewer than {FEWEST_OF_A_CLASS} rows: the ranges, which are public, may tell single cells"
    if len(columns) == 1:
        yield "one column: this may be no table, or one with another delimiter"


def _warnings(columns: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for one in columns:
        column = f"column {one['name'][:60]!r}"
        yield from (f"{column}: {odd}" for odd in one["odd"])
        if rare := sum(count < FEWEST_OF_A_CLASS for count in one.get("classes", {}).values()):
            yield f"{column}: {rare} of its classes, which are public, have fewer than {FEWEST_OF_A_CLASS} rows"
