"""The card as the reader uses it. The runtime checked its form; a field that is absent is a refusal here too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Column:
    """One promised column. Bounds are texts in the column's notation."""

    name: str
    type: str
    missing: bool
    rounded: bool
    single: bool
    minimum: str | None
    maximum: str | None
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a CSV file spells its table; missing cells in lower case."""

    encoding: str
    delimiter: str
    decimal: str
    thousands: str
    skip_lines: int
    comment: str
    missing: frozenset[str]


@dataclass(frozen=True, slots=True)
class Promise:
    """What the file is held against. ``rows`` is (least, most), or nothing."""

    media_type: str
    dialect: Dialect | None
    columns: tuple[Column, ...]
    rows: tuple[int, int] | None


def read(raw: bytes) -> Promise:
    """The promise in a card's canonical JSON."""
    card: Mapping[str, Any] = json.loads(raw)
    rows = card["rows"]
    return Promise(
        media_type=card["mediaType"],
        dialect=dialect_of(card["dialect"]) if card["dialect"] is not None else None,
        columns=tuple(map(_column, card["columns"])),
        rows=(rows["minimum"], rows["maximum"]) if rows is not None else None,
    )


def dialect_of(stated: Mapping[str, Any]) -> Dialect:
    """A stated dialect."""
    return Dialect(
        encoding=stated["encoding"],
        delimiter=stated["delimiter"],
        decimal=stated["decimal"],
        thousands=stated["thousands"],
        skip_lines=stated["skipLines"],
        comment=stated["comment"],
        missing=frozenset(text.lower() for text in stated["missing"]),
    )


def _column(stated: Mapping[str, Any]) -> Column:
    return Column(
        name=stated["name"],
        type=stated["type"],
        missing=stated["missing"],
        rounded=stated["rounded"],
        single=stated["single"],
        minimum=stated["minimum"],
        maximum=stated["maximum"],
        classes=tuple(stated["classes"]),
    )
