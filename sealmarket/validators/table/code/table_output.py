"""Is a CSV output what its owner's rules allow? (docs/spec/outputs.md, "Tables")

1. The file is one spelling of a table: UTF-8, a header of the declared columns, rows sorted by group, each group once.
2. Each row is a group of the pooled data with at least ``smallestGroup`` rows; missing cells are a group of their own.
3. Each aggregate is computed again from the data, over at least ``smallestGroup`` cells that are not missing, and
   compared to ``digits`` significant digits.

There is no minimum, maximum or quantile: each of them is one person's value.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

from tables import Tables
from verdict import (
    GROUP_TOO_SMALL,
    NOT_DECLARED,
    NOT_FROM_DATA,
    NOT_READABLE,
    RULES_INVALID,
    TOO_MUCH_TEXT,
    Inputs,
    Refused,
    judged,
    read_rules,
)

MOST_BYTES = 16 << 20
MOST_DIGITS = 12
_SLACK = 1e-9
"""Relative: sums in another order differ by less."""
_KINDS: dict[str, type | tuple[type, ...]] = {"aggregates": list, "digits": int, "groupBy": list, "smallestGroup": int}
Group = tuple[str, ...]


def _mean(cells: list[float]) -> float:
    return math.fsum(cells) / len(cells)


def _deviation(cells: list[float]) -> float:
    mean = _mean(cells)
    return math.sqrt(math.fsum((cell - mean) ** 2 for cell in cells) / len(cells))


_FUNCTIONS: dict[str, Callable[[list[float]], float]] = {
    "count": len,
    "sum": math.fsum,
    "mean": _mean,
    "deviation": _deviation,
}


def run(inputs: Inputs, parameters: object) -> dict[str, bytes]:
    """Entry point: ``output``, ``rules`` and the tables in, ``verdict.json`` out."""
    del parameters
    return judged(check, inputs)


def check(inputs: Inputs) -> None:
    """Raise :class:`Refused` unless the output may leave."""
    rules = read_rules(inputs["rules"], _KINDS)
    _require_rules(rules)
    header = [*rules["groupBy"], *(one["name"] for one in rules["aggregates"])]
    rows = _read(inputs["output"], header)
    tables = Tables(inputs)
    places = _groups(tables, rules["groupBy"])
    groups = [tuple(row[: len(rules["groupBy"])]) for row in rows]
    if groups != sorted(set(groups)):
        raise Refused(NOT_READABLE, "groups are sorted, each once")
    for group in groups:
        if group not in places:
            raise Refused(NOT_FROM_DATA, "a row that is no group of the data")
        if len(places[group]) < rules["smallestGroup"]:
            raise Refused(GROUP_TOO_SMALL, f"a group of {len(places[group])} rows")
    for at, aggregate in enumerate(rules["aggregates"], start=len(rules["groupBy"])):
        cells = _cells(tables, aggregate)
        for row, group in zip(rows, groups, strict=True):
            _require_aggregate(row[at], [cells[place] for place in places[group]], aggregate["function"], rules)


def _require_rules(rules: dict[str, Any]) -> None:
    if not 1 <= rules["digits"] <= MOST_DIGITS or rules["smallestGroup"] < 2:
        raise Refused(RULES_INVALID, f"1 to {MOST_DIGITS} digits, and groups of two rows or more")
    if not all(isinstance(name, str) for name in rules["groupBy"]) or not rules["aggregates"]:
        raise Refused(RULES_INVALID, "groupBy holds names, and there is an aggregate")
    for one in rules["aggregates"]:
        if not isinstance(one, dict) or one.keys() != {"column", "function", "name"}:
            raise Refused(RULES_INVALID, "an aggregate has column, function and name")
        if one["function"] not in _FUNCTIONS or (one["column"] is None) != (one["function"] == "count"):
            raise Refused(RULES_INVALID, f"functions are {', '.join(_FUNCTIONS)}; count has no column")


def _read(raw: memoryview, header: list[str]) -> list[list[str]]:
    if len(raw) > MOST_BYTES:
        raise Refused(TOO_MUCH_TEXT, f"{len(raw)} bytes, expected at most {MOST_BYTES}")
    try:
        text = bytes(raw).decode("utf-8")
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (ValueError, csv.Error):
        raise Refused(NOT_READABLE, "no CSV in UTF-8") from None
    if not rows or rows[0] != header:
        raise Refused(NOT_DECLARED, "the header is not that of the declared columns")
    if any(len(row) != len(header) for row in rows):
        raise Refused(NOT_READABLE, "a row of another length")
    spelled = io.StringIO()
    csv.writer(spelled, lineterminator="\n").writerows(rows)
    if spelled.getvalue() != text:
        raise Refused(NOT_READABLE, "another spelling of its table")
    return rows[1:]


def _groups(tables: Tables, by: list[str]) -> dict[Group, list[int]]:
    """The rows of each group, by the texts of its cells; a missing cell is the empty text."""
    columns = [list(map(_text, tables.column(name))) for name in by]
    if not by:
        return {(): list(range(tables.rows))}
    places: dict[Group, list[int]] = {}
    for place, group in enumerate(zip(*columns, strict=True)):
        places.setdefault(group, []).append(place)
    return places


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    return f"{cell.isoformat()}Z" if isinstance(cell, datetime) else str(cell)


def _cells(tables: Tables, aggregate: dict[str, Any]) -> list[Any]:
    if aggregate["column"] is None:
        return [0.0] * tables.rows
    cells = tables.column(aggregate["column"])
    if any(cell is not None and not isinstance(cell, int | float) for cell in cells):
        raise Refused(NOT_FROM_DATA, "an aggregate of a column that is not numeric")
    return cells


def _require_aggregate(text: str, cells: list[Any], function: str, rules: dict[str, Any]) -> None:
    present = [float(cell) for cell in cells if cell is not None]
    if len(present) < rules["smallestGroup"]:
        raise Refused(GROUP_TOO_SMALL, f"a cell of {len(present)} values")
    expected = _FUNCTIONS[function](present)
    digits = rules["digits"]
    try:
        found = float(text)
    except ValueError:
        raise Refused(NOT_READABLE, "an aggregate that is no number") from None
    if not math.isfinite(found) or text != f"{found:.{digits}g}":
        raise Refused(NOT_READABLE, f"an aggregate is spelled with {digits} significant digits, as Python's 'g' does")
    if text not in {f"{expected * (1 + slack):.{digits}g}" for slack in (-_SLACK, 0.0, _SLACK)}:
        raise Refused(NOT_FROM_DATA, "an aggregate that is another one in the data")
