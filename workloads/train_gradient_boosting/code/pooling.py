"""The tables of several owners, one below the other: columns by name, in the order of the first input.

Each input is an Arrow stream that a reader made by an owner's card. The reader is the owner's choice, so what it wrote
is validated before it is used.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Arrow's own pools reserve address space, which the sandbox counts.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

import pyarrow as pa
from refusals import TableRefused, counted, listed


@dataclass(frozen=True, slots=True)
class Pooled:
    """All rows together, without a missing cell."""

    columns: dict[str, pa.ChunkedArray]
    left_out: tuple[str, ...]
    """Columns that no model sees: those that parameter ``ignore`` names."""
    dropped: int
    """How many rows were left out for missing cells."""


def pool(inputs: Mapping[str, bytes | memoryview], parameters: Mapping[str, Any]) -> Pooled:
    """Read each input and join them.

    Raises:
        TableRefused: naming the input.
    """
    ignored = ignored_names(str(parameters["ignore"]))
    parts: list[pa.Table] = []
    dropped = 0
    for name in sorted(inputs, key=_place):
        try:
            table = _usable(_table(inputs[name]), ignored)
            whole = _complete(table, str(parameters["missing"]))
            parts.append(_as_first(parts[0] if parts else whole, whole))
        except TableRefused as error:
            raise TableRefused(f"input {name}: {error.rule}", error.remedy) from None
        dropped += len(table) - len(whole)
    joined = pa.concat_tables(parts)
    return Pooled({name: joined[name] for name in joined.column_names}, tuple(sorted(ignored)), dropped)


def _place(name: str) -> tuple[str, int]:
    """``rows-2`` before ``rows-10``."""
    slot, _, number = name.rpartition("-")
    return (slot, int(number)) if slot and number.isdigit() else (name, 0)


def ignored_names(text: str) -> tuple[str, ...]:
    """The names in parameter ``ignore``: one line of CSV."""
    try:
        fields = next(csv.reader([text], skipinitialspace=True, strict=True), [])
    except csv.Error:
        raise TableRefused("parameter ignore is no line of CSV", "write names with commas between them") from None
    return tuple(" ".join(field.split()) for field in fields if field.strip())


def _table(raw: bytes | memoryview) -> pa.Table:
    try:
        with pa.ipc.open_stream(pa.BufferReader(pa.py_buffer(raw))) as stream:
            table = stream.read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise TableRefused(
            f"it is no Arrow stream ({type(error).__name__})", "pass the file through its reader"
        ) from None
    if len(set(table.column_names)) != table.num_columns:
        raise TableRefused("it has two columns of one name", "give each column its own name")
    return table


def _usable(table: pa.Table, ignored: tuple[str, ...]) -> pa.Table:
    """The columns that are not ignored."""
    if unknown := [name for name in ignored if name not in table.column_names]:
        raise TableRefused(
            f"there is no column {listed(unknown)} to ignore", f"name one of {listed(table.column_names)}"
        )
    used = table.select([name for name in table.column_names if name not in ignored])
    if not used.num_columns:
        raise TableRefused("each column is ignored", "leave a target and a feature")
    return used


def _complete(table: pa.Table, rule: str) -> pa.Table:
    """The rows without a missing cell. Raises :class:`TableRefused` for missing cells under ``rule`` = ``refuse``."""
    missing = {name: table[name].null_count for name in table.column_names if table[name].null_count}
    if missing and rule == "refuse":
        cells = counted(sum(missing.values()), "missing cell")
        raise TableRefused(f"column {listed(missing)} has {cells}", "fill them, or say missing=drop")
    whole = table.drop_null() if missing else table
    if not len(whole):
        raise TableRefused(f"each row misses a cell of {listed(missing)}", "leave empty columns out (parameter ignore)")
    return whole


def _as_first(first: pa.Table, table: pa.Table) -> pa.Table:
    """The table in the order of the first. Raises :class:`TableRefused` for other columns or types."""
    names = set(first.column_names)
    missing, more = names - set(table.column_names), set(table.column_names) - names
    if missing or more:
        parts = [f"lacks column {listed(sorted(missing))}"] if missing else []
        parts += [f"has column {listed(sorted(more))}"] if more else []
        raise TableRefused(f"it {' and '.join(parts)} unlike the inputs before it", "give all inputs the same columns")
    others = [name for name in first.column_names if first[name].type != table[name].type]
    if others:
        rule = f"column {listed(others)} has another type than in the inputs before it"
        raise TableRefused(rule, "describe all inputs alike")
    # Whether cells may miss is each card's own business; here none does.
    plain = pa.schema([pa.field(name, first[name].type) for name in first.column_names])
    return table.select(first.column_names).cast(plain)
