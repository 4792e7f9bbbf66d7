"""Columns of text -> typed Arrow arrays by the card, nothing lost unsaid (docs/spec/tables.md, "Values").

Patterns run in RE2, whose time is linear in the text.
"""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
from csv_file import UNREADABLE
from promise import Column, Dialect
from unfit import Unfit, counted, listed

_LONGEST_NUMBER = 64
_EXACT_DIGITS = 15
"""Any number of so many digits comes back from a 64-bit float as it was written."""
INTEGER = r"^[+-]?(?:0|[1-9][0-9]*)(?:\.0*)?$"
NUMBER = r"^[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?$"
BOOLEAN = r"^(?i:true|false|1|0)$"
DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
TIMESTAMP = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?$"
)
ZONED = r"(?:Z|[+-][0-9]{2}:?[0-9]{2})$"
ARROW_TYPES = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "category": pa.string(),
    "text": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
}
_WORDS = {
    "integer": "whole numbers",
    "number": "numbers",
    "boolean": "true or false",
    "date": "dates as 2024-01-31",
    "timestamp": "instants as 2024-01-31T08:00:00Z",
}


def cells_of(name: str, texts: pa.StringArray, dialect: Dialect) -> pa.StringArray:
    """A column's cells as text, null where the dialect calls them missing. Raises :class:`Unfit` for other bytes."""
    for sign in (UNREADABLE, "\0"):
        if pc.any(pc.match_substring(texts, sign)).as_py():
            raise Unfit("not_readable", f"column {listed([name])} holds bytes that are no text of its encoding", name)
    missing = pa.array(sorted(dialect.missing), pa.string())
    return pc.if_else(pc.is_in(pc.utf8_lower(texts), missing), None, texts)


def typed(column: Column, texts: pa.StringArray, dialect: Dialect) -> pa.Array:
    """The cells as values of the column's type.

    Raises:
        Unfit: ``column_type``, or ``column_precision`` where a cell would change.
    """
    if column.type in ("text", "category"):
        return texts
    if column.type in ("integer", "number"):
        texts = plain_numbers(texts, dialect)
    pattern = {"integer": INTEGER, "number": NUMBER, "boolean": BOOLEAN, "date": DATE, "timestamp": TIMESTAMP}
    require_all(column, matching(texts, pattern[column.type]))
    try:
        return _CASTS[column.type](column, texts)
    except pa.ArrowInvalid:
        raise Unfit(
            "column_type", f"column {listed([column.name])} holds cells out of their type", column.name
        ) from None


def matching(texts: pa.StringArray, pattern: str) -> pa.BooleanArray:
    """Which cells are so spelled, null for a missing one."""
    return pc.match_substring_regex(texts, pattern)


def require_all(column: Column, fits: pa.BooleanArray) -> None:
    """Raise :class:`Unfit` unless each cell that is there fits its type."""
    others = pc.sum(pc.invert(fits)).as_py() or 0
    if others:
        rule = f"column {listed([column.name])} holds {counted(others, 'cell')} other than {_WORDS[column.type]}"
        raise Unfit("column_type", rule, column.name)


def plain_numbers(texts: pa.StringArray, dialect: Dialect) -> pa.StringArray:
    """Numbers with a decimal point and no group marks; a cell that is none, or is in another notation, is no number.

    A group mark stands between groups of three digits only. Under a decimal comma a point is no number's.
    """
    short = pc.less_equal(pc.utf8_length(texts), _LONGEST_NUMBER)
    texts = pc.if_else(pc.or_kleene(short, pc.is_null(texts)), texts, "?")
    if (mark := dialect.thousands) != "":
        decimal = "[.]" if dialect.decimal == "." else ","
        grouped = matching(texts, rf"^[+-]?[0-9]{{1,3}}(?:[{mark}][0-9]{{3}})+(?:{decimal}[0-9]*)?$")
        joined = pc.replace_substring(texts, mark, "")
        texts = pc.if_else(pc.fill_null(grouped, False), joined, texts)
    if dialect.decimal == ",":
        pointed = pc.match_substring(texts, ".")
        texts = pc.if_else(pc.fill_null(pointed, False), "?", pc.replace_substring(texts, ",", "."))
    return texts


def _integers(column: Column, texts: pa.StringArray) -> pa.Array:
    digits = pc.replace_substring_regex(pc.utf8_ltrim(texts, "+"), r"\.0*$", "")
    try:
        return digits.cast(pa.int64())
    except pa.ArrowInvalid:
        rule = f"column {listed([column.name])} holds whole numbers beyond 64 bits"
        raise Unfit("column_precision", rule, column.name) from None


def _numbers(column: Column, texts: pa.StringArray) -> pa.Array:
    texts = pc.utf8_ltrim(texts, "+")
    values = texts.cast(pa.float64())
    if not pc.all(pc.is_finite(values)).as_py() and pc.sum(pc.invert(pc.is_finite(values))).as_py():
        raise Unfit("column_precision", f"column {listed([column.name])} holds numbers beyond 1.7e308", column.name)
    if not column.rounded:
        _require_kept(column, texts, values)
    return values


def _require_kept(column: Column, texts: pa.StringArray, values: pa.Array) -> None:
    """Each number comes back from its float as it was written. Only long ones and those with exponents can fail."""
    doubtful = pc.or_(pc.greater(pc.utf8_length(texts), _EXACT_DIGITS), matching(texts, "[eE]"))
    doubtful = pc.fill_null(doubtful, False)
    pairs = zip(texts.filter(doubtful).to_pylist(), values.filter(doubtful).to_pylist(), strict=True)
    if changed := sum(Decimal(text) != Decimal(repr(value)) for text, value in pairs):
        rule = f"column {listed([column.name])} holds {counted(changed, 'number')} that a 64-bit float changes"
        raise Unfit("column_precision", f"{rule}; say that the column is rounded, or declare it as text", column.name)


def _booleans(_: Column, texts: pa.StringArray) -> pa.Array:
    found = pc.is_in(pc.utf8_lower(texts), pa.array(["true", "1"]))
    return pc.if_else(pc.is_null(texts), None, found)


def _dates(_: Column, texts: pa.StringArray) -> pa.Array:
    return texts.cast(pa.date32())


def _timestamps(_: Column, texts: pa.StringArray) -> pa.Array:
    """Instants in UTC; one without a zone is in UTC."""
    zoned = pc.fill_null(matching(texts, ZONED), False)
    naive = pc.if_else(zoned, None, texts).cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))
    with_zone = pc.if_else(zoned, texts, None).cast(pa.timestamp("us", "UTC"))
    return pc.coalesce(naive, with_zone)


_CASTS = {
    "integer": _integers,
    "number": _numbers,
    "boolean": _booleans,
    "date": _dates,
    "timestamp": _timestamps,
}
