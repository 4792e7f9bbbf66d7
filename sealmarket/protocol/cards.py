"""Data cards as far as programs read them: what kind of data, which columns, and codes of purposes.

A data card is any JSON object that its owner writes. ``kind`` is a text, ``columns`` a list of names or of objects with
a ``name``, ``dpv``, ``duo`` and ``purposes`` lists of labels (:mod:`sealmarket.protocol.purposes`). What is of another
shape counts as absent: a card is for people first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from sealmarket.protocol.purposes import MOST_LABELS
from sealmarket_enclave.protocol.codec import parse_json

MOST_CARD = 1 << 20
"""Bytes of a card that is read; a longer one counts as empty."""
MOST_COLUMNS = 1000
_LONGEST_NAME, _LONGEST_CODE = 200, 100


@dataclass(frozen=True, slots=True)
class Card:
    """What programs read of a data card."""

    kind: str = ""
    columns: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()


NO_CARD = Card()
"""A card that says nothing."""


def read_card(raw: bytes) -> Card:
    """Read a card; whatever it is, this returns."""
    if len(raw) > MOST_CARD:
        return NO_CARD
    try:
        card = parse_json(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return NO_CARD
    return card_of(card) if isinstance(card, dict) else NO_CARD


def card_of(card: Mapping[str, object]) -> Card:
    """What programs read of a card that is decoded."""
    kind = card.get("kind")
    columns = (_name(column) for column in _listed(card, "columns")[:MOST_COLUMNS])
    codes = [code for name in ("dpv", "duo", "purposes") for code in _listed(card, name)][:MOST_LABELS]
    return Card(
        kind=kind[:_LONGEST_CODE] if isinstance(kind, str) else "",
        columns=tuple(name[:_LONGEST_NAME] for name in columns if name is not None),
        purposes=tuple(code[:_LONGEST_CODE] for code in codes if isinstance(code, str)),
    )


def _listed(card: Mapping[str, object], name: str) -> list[object]:
    found = card.get(name)
    return found if isinstance(found, list) else []


def _name(column: object) -> str | None:
    name = column.get("name") if isinstance(column, dict) else column
    return name if isinstance(name, str) else None
