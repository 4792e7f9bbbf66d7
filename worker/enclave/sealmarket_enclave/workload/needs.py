"""What a workload needs of the assets in a slot, and whether their cards promise it (docs/spec/workload.md, "Needs").

Needs are a part of the manifest that a workload's digest covers, so client, oracle node and enclave compare card and
workload alike, without an archive and without data. Pure; linear in cards and needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from sealmarket_enclave.protocol.card import Card, Column, ColumnName, ColumnType, Count, Kind
from sealmarket_enclave.protocol.codec import Shape

Identifier = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9_]{0,63}\Z")]
Value = str | int | float | bool
_SHOWN = 60


class When(Shape, frozen=True, kw_only=True):
    """A condition on the job's parameters: the named one has this value."""

    parameter: Identifier
    equals: Value

    def holds(self, values: Mapping[str, object]) -> bool:
        """Whether it holds; of another type is another value."""
        found = values.get(self.parameter)
        return type(found) is type(self.equals) and found == self.equals


class ColumnNeed(Shape, frozen=True, kw_only=True):
    """What is needed of some columns: of the one called ``name``; of the one that a parameter names; or of all others.

    Others are the columns that no need picks by name or parameter, and that parameter ``besides`` does not list.
    ``least``: how many others there must be. ``missing``: cells may miss. ``single``: 32-bit floats keep the values.
    """

    name: ColumnName | None = None
    parameter: Identifier | None = None
    others: bool = False
    types: Annotated[tuple[ColumnType, ...], Meta(min_length=1, max_length=7)]
    missing: bool = True
    single: bool = False
    least: Annotated[int, Meta(ge=0, le=1000)] = 0
    when: When | None = None


class Needs(Shape, frozen=True, kw_only=True):
    """What a slot needs. ``rows``: the least that the cards of its assets promise together.

    ``same_columns``: all of its assets have columns of the same names and types. ``besides`` is a parameter with one
    line of CSV: names of columns that the workload leaves out.
    """

    kind: Kind
    rows: Count = 0
    same_columns: bool = False
    besides: Identifier | None = None
    columns: Annotated[tuple[ColumnNeed, ...], Meta(max_length=64)] = ()


@dataclass(frozen=True, slots=True)
class Unmet:
    """A need that a card does not promise. ``asset`` is the place in the slot; None for its assets together."""

    asset: int | None
    expected: str
    found: str


def unmet(needs: Needs, cards: Sequence[Card | None], values: Mapping[str, object]) -> Iterator[Unmet]:
    """Every need of a slot that the cards of its assets do not promise; None is a card that promises nothing."""
    known: list[Card] = []
    for place, card in enumerate(cards):
        if card is None:
            yield Unmet(place, f"a data card that promises kind {needs.kind}", "one that promises nothing")
        elif card.kind != needs.kind:
            yield Unmet(place, f"kind {needs.kind}", f"kind {card.kind}")
        else:
            known.append(card)
            # Two needs of one column may lack the same.
            found = dict.fromkeys(_columns(needs, card, values))
            yield from (Unmet(place, expected, got) for expected, got in found)
    if len(known) < len(cards):
        return
    promised = sum(card.rows.minimum if card.rows is not None else 0 for card in known)
    if promised < needs.rows:
        yield Unmet(None, f"{needs.rows} rows or more together", f"{promised} that the cards promise")
    if needs.same_columns:
        yield from _different(known)


def _different(cards: Sequence[Card]) -> Iterator[Unmet]:
    first = {column.name: column.type for column in cards[0].columns} if cards else {}
    for place, card in enumerate(cards):
        columns = {column.name: column.type for column in card.columns}
        others = sorted(name for name in first.keys() | columns.keys() if first.get(name) != columns.get(name))
        if others:
            found = f"column {others[0][:_SHOWN]!r} there or of its type in one of them only"
            yield Unmet(place, "the columns of the first asset", found)


def _columns(needs: Needs, card: Card, values: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    columns = {column.name: column for column in card.columns}
    left_out = _listed(values.get(needs.besides)) if needs.besides is not None else frozenset()
    for name in sorted(left_out - columns.keys()):
        yield f"a column {name[:_SHOWN]!r} to leave out", "none of that name"
    picked = {_picked(need, values) for need in needs.columns} - {None}
    others = [column for column in card.columns if column.name not in picked | left_out]
    for need in needs.columns:
        if need.when is not None and not need.when.holds(values):
            continue
        if need.others:
            if len(others) < need.least:
                yield f"{need.least} columns or more beside those that are named", str(len(others))
            for column in others:
                yield from _of_column(need, column)
            continue
        name = _picked(need, values) or ""
        if name not in columns:
            yield f"a column {name[:_SHOWN]!r}", "none of that name"
        elif name in left_out:
            yield f"column {name[:_SHOWN]!r}", "among those to leave out"
        else:
            yield from _of_column(need, columns[name])


def _picked(need: ColumnNeed, values: Mapping[str, object]) -> str | None:
    """The column that a need is about, None for one about others or without a value."""
    if need.parameter is None:
        return need.name
    value = values.get(need.parameter)
    return " ".join(value.split()) if isinstance(value, str) else None


def _of_column(need: ColumnNeed, column: Column) -> Iterator[tuple[str, str]]:
    subject = f"column {column.name[:_SHOWN]!r}"
    if column.type not in need.types:
        yield f"{subject} of type {' or '.join(need.types)}", f"type {column.type}"
    if column.missing and not need.missing:
        yield f"{subject} without missing cells", "cells that may miss"
    if need.single and column.type in ("integer", "number") and not column.single:
        yield f"{subject} with values that 32-bit floats keep", "no promise of that"


def _listed(line: object) -> frozenset[str]:
    """The names in one line of CSV; a line that is none lists itself, so that it is refused by its name."""
    if not isinstance(line, str):
        return frozenset()
    try:
        fields = list(_fields(line))
    except ValueError:
        fields = [line]
    return frozenset(" ".join(field.split()) for field in fields if field.strip())


def _fields(line: str) -> Iterator[str]:
    """The fields of one line by RFC 4180, blanks before them left out. Raises ``ValueError``. Linear.

    The core imports no reader of files, so this is not the standard library's; a test holds the two alike.
    """
    if "\n" in line or "\r" in line:
        raise ValueError("more than one line")
    at = 0
    while at <= len(line):
        while line[at : at + 1] == " ":
            at += 1
        if line[at : at + 1] == '"':
            text, at = _quoted(line, at + 1)
        else:
            end = line.find(",", at)
            text, at = (line[at:], len(line)) if end < 0 else (line[at:end], end)
        yield text
        if at < len(line) and line[at] != ",":
            raise ValueError("text behind a quoted field")
        at += 1


def _quoted(line: str, at: int) -> tuple[str, int]:
    """A quoted field whose text begins at ``at``, and the place behind its quote. Raises ``ValueError``."""
    pieces = []
    while (end := line.find('"', at)) >= 0:
        pieces.append(line[at:end])
        if line[end + 1 : end + 2] != '"':
            return '"'.join(pieces), end + 1
        at = end + 2
    raise ValueError("a quote that does not end")
