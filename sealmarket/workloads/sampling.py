"""Synthetic rows, made of a card's promises alone: a picture of a schema, and something to try a workload on."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

from msgspec.structs import replace

from sealmarket_enclave.protocol.card import Card, Column, Dialect

_PLAIN = "text/csv"


def sample(columns: Sequence[Column], rows: int) -> tuple[tuple[str, ...], ...]:
    """Rows as texts: values spread evenly over each range, all classes, and gaps where cells may miss."""
    made = random.Random(rows)
    return tuple(tuple(_cell(column, row, made) for column in columns) for row in range(rows))


def sampled(card: Card, rows: int) -> tuple[bytes, Card]:
    """A CSV file of synthetic rows, and the card under which it is read: the same promises but for form and count."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in card.columns])
    writer.writerows(sample(card.columns, rows))
    return text.getvalue().encode(), replace(card, media_type=_PLAIN, dialect=Dialect(), rows=None)


def _cell(column: Column, row: int, made: random.Random) -> str:
    if column.missing and row % 5 == 4:
        return ""
    if column.type == "category":
        return made.choice(column.classes) if row >= len(column.classes) else column.classes[row]
    if column.type == "boolean":
        return "true" if made.random() < 0.5 else "false"
    if column.type == "text":
        return f"text {row + 1}"
    if column.type in ("date", "timestamp"):
        return _moment(column, made)
    low = Decimal(column.minimum) if column.minimum is not None else Decimal(0)
    high = Decimal(column.maximum) if column.maximum is not None else low + 100
    value = low + (high - low) * made.randrange(1001) / 1000
    if column.type == "integer":
        return f"{value.to_integral_value():f}"
    return repr(min(max(float(value), float(low)), float(high)))


def _moment(column: Column, made: random.Random) -> str:
    first = date.fromisoformat((column.minimum or "2000-01-01")[:10])
    last = date.fromisoformat((column.maximum or f"{min(first.year + 1, 9999):04}-12-31")[:10])
    if last == first:
        return column.minimum or first.isoformat()
    day = first + timedelta(days=1 + made.randrange((last - first).days))
    return day.isoformat() if column.type == "date" else f"{day.isoformat()}T00:00:00+00:00"
