"""The tables of several owners, one below the other: columns by name, in the order of the first input."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tables
import values
from refusals import TableRefused, listed


@dataclass(frozen=True, slots=True)
class Pooled:
    """All rows together: cells by column, with a decimal point and truth values as digits."""

    columns: dict[str, list[str]]
    left_out: tuple[str, ...]
    """Columns that no model sees: those that parameter ``ignore`` names, row numbers, empty ones."""
    dropped: int
    """How many rows were left out for missing cells."""


def pool(inputs: Mapping[str, bytes | memoryview], parameters: Mapping[str, Any]) -> Pooled:
    """Read each input and join them.

    Raises:
        TableRefused: naming the input.
    """
    ignored = _ignored(str(parameters["ignore"]))
    pooled: dict[str, list[str]] = {}
    left_out: set[str] = set(ignored)
    dropped = 0
    for name in sorted(inputs, key=_place):
        try:
            table = tables.read_table(inputs[name], str(parameters["delimiter"]))
            columns, missing = _usable(table.columns, ignored, parameters)
            _require_same(list(pooled) or list(columns), list(columns))
        except TableRefused as error:
            raise TableRefused(f"input {name}: {error.rule}", error.remedy) from None
        for column, cells in columns.items():
            pooled.setdefault(column, []).extend(cells)
        left_out.update(table.left_out)
        dropped += missing
    return Pooled(pooled, tuple(sorted(left_out)), dropped)


def _place(name: str) -> tuple[str, int]:
    """``rows-2`` before ``rows-10``."""
    slot, _, number = name.rpartition("-")
    return (slot, int(number)) if slot and number.isdigit() else (name, 0)


def _ignored(text: str) -> tuple[str, ...]:
    """The names in parameter ``ignore``: one line of CSV."""
    try:
        fields = next(csv.reader([text], skipinitialspace=True, strict=True), [])
    except csv.Error:
        raise TableRefused("parameter ignore is no line of CSV", "write names with commas between them") from None
    return tuple(" ".join(field.split()) for field in fields if field.strip())


def _usable(
    columns: dict[str, list[str]], ignored: tuple[str, ...], parameters: Mapping[str, Any]
) -> tuple[dict[str, list[str]], int]:
    """One table's columns without the ignored ones and without missing cells, and how many rows that dropped."""
    if unknown := [name for name in ignored if name not in columns]:
        raise TableRefused(f"there is no column {listed(unknown)} to ignore", f"name one of {listed(columns)}")
    used = {name: cells for name, cells in columns.items() if name not in ignored}
    gone = set(values.missing_rows(used, str(parameters["missing"])))
    if gone:
        used = {name: [c for row, c in enumerate(cells) if row not in gone] for name, cells in used.items()}
    if not all(used.values()):
        raise TableRefused(f"each row misses a cell of {listed(used)}", "leave empty columns out (parameter ignore)")
    mark = values.decimal_mark(used, str(parameters["decimal"]))
    return {name: values.normal(cells, mark) for name, cells in used.items()}, len(gone)


def _require_same(first: list[str], found: list[str]) -> None:
    missing, more = set(first) - set(found), set(found) - set(first)
    if missing or more:
        parts = [f"lacks column {listed(sorted(missing))}"] if missing else []
        parts += [f"has column {listed(sorted(more))}"] if more else []
        raise TableRefused(f"it {' and '.join(parts)} unlike the inputs before it", "give all inputs the same columns")
