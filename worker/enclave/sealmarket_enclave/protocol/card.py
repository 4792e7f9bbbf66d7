"""The data card: what an owner promises of an asset's content (docs/spec/card.md).

``policy.dataCard`` is the Keccak-256 of its canonical bytes. A card with ``version`` is a promise: the reader that it
names holds the content against it, at the owner's when it is sealed and in each enclave before a workload starts. A
card without ``version`` promises nothing, and no reader runs.

Bounds of a column are texts in the column's own notation, since a JSON number loses digits. Pure; parsing is linear.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from sealmarket_enclave.protocol.codec import Bytes32, Shape, decode, decode_canonical, parse_json
from sealmarket_enclave.protocol.errors import SealmarketError

CARD = "sealmarket/card/1"
ARROW = "application/vnd.apache.arrow.stream"
"""An input slot of this media type takes the table that the reader made; any other takes the original bytes."""
MAXIMUM_CARD = 1 << 20
MAXIMUM_REPORT = 4096
"""Bytes of a card and of a reader's report."""
MOST_COLUMNS, MOST_CLASSES, MOST_LABELS = 1000, 1000, 64
_LARGEST = (1 << 53) - 1

ColumnName = Annotated[str, Meta(min_length=1, max_length=200)]
Note = Annotated[str, Meta(max_length=2000)]
Bound = Annotated[str, Meta(min_length=1, max_length=64)]
Count = Annotated[int, Meta(ge=0, le=_LARGEST)]
MediaType = Annotated[str, Meta(pattern=r"\A[a-z]+/[a-z0-9.+-]{1,100}\Z")]
Kind = Literal["table", "images", "archive", "bytes"]
ColumnType = Literal["integer", "number", "boolean", "category", "text", "date", "timestamp"]


class CardRefused(SealmarketError):
    """A document that claims to be a data card breaks a rule of cards."""

    def __init__(self, what: str, found: object, expected: object) -> None:
        super().__init__(
            f"the data card's {what} is {found}, expected {expected}",
            remedy="write the card with `sealmarket owner describe`, or correct it after docs/spec/card.md",
        )
        self.what, self.found, self.expected = what, found, expected


class ReaderCode(StrEnum):
    """Why content is not what its card promises: all that is public of it."""

    NOT_READABLE = "not_readable"
    COLUMN_MISSING = "column_missing"
    COLUMN_UNKNOWN = "column_unknown"
    COLUMN_TYPE = "column_type"
    COLUMN_RANGE = "column_range"
    COLUMN_PRECISION = "column_precision"
    MISSING_VALUES = "missing_values"
    UNKNOWN_CLASS = "unknown_class"
    ROW_COUNT = "row_count"
    MEMBER_KIND = "member_kind"
    MEMBER_COUNT = "member_count"
    MEMBER_SIZE = "member_size"


class ReaderReport(Shape, frozen=True, kw_only=True):
    """``report.json`` of a reader. ``rows`` counts rows of a table or members of an archive, where they were counted.

    ``column`` is public in no place: the runtime seals it to owner and consumer.
    """

    fits: bool
    code: ReaderCode | None
    column: Annotated[str, Meta(max_length=200)] | None
    rows: Count | None


class ReaderRef(Shape, frozen=True, kw_only=True):
    """The reader: a workload bundle by its digest. ``name`` is for people."""

    name: Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,63}\Z")]
    digest: Bytes32


class Dialect(Shape, frozen=True, kw_only=True):
    """How a text file spells a table; stated, never guessed by the reader.

    ``skip_lines`` counts lines above the header that are not blank. ``missing`` are spellings of a missing cell, in any
    case. Lines that begin with ``comment`` are no rows.
    """

    encoding: Literal["utf-8", "utf-16", "windows-1252"] = "utf-8"
    delimiter: Literal[",", ";", "\t", "|"] = ","
    decimal: Literal[".", ","] = "."
    thousands: Literal["", ",", ".", " ", "'"] = ""
    skip_lines: Annotated[int, Meta(ge=0, le=100)] = 0
    comment: Literal["", "#"] = ""
    missing: Annotated[tuple[Annotated[str, Meta(max_length=32)], ...], Meta(max_length=32)] = (
        *("", "na", "n/a", "nan", "null", "none"),
    )


class Column(Shape, frozen=True, kw_only=True):
    """One column. Bounds are inclusive; ``classes`` are the labels of a category, as texts.

    ``rounded``: numbers may lose digits in 64-bit floats; without it a number that a float does not keep is refused.
    ``single``: numbers are exact in 32-bit floats where they are whole, and stay distinct in them where not.
    """

    name: ColumnName
    type: ColumnType
    unit: Annotated[str, Meta(max_length=64)] = ""
    about: Note = ""
    missing: bool = False
    rounded: bool = False
    single: bool = False
    minimum: Bound | None = None
    maximum: Bound | None = None
    classes: Annotated[tuple[Annotated[str, Meta(max_length=200)], ...], Meta(max_length=MOST_CLASSES)] = ()


class Bounds(Shape, frozen=True, kw_only=True):
    """An inclusive range of counts or sizes."""

    minimum: Count
    maximum: Count


class Members(Shape, frozen=True, kw_only=True):
    """What an archive holds: media types of its members (by their first bytes), sizes in bytes, pixels of each side.

    ``manifest`` is the path of a member that lists the others, one line ``SHA-256  path`` each; empty for none.
    """

    media_types: Annotated[tuple[MediaType, ...], Meta(min_length=1, max_length=32)]
    bytes: Bounds
    pixels: Bounds | None = None
    manifest: Annotated[str, Meta(max_length=200)] = ""


class Card(Shape, frozen=True, kw_only=True):
    """A whole card. ``rows`` bounds the rows of a table, or the members of an archive.

    ``shown`` and ``sample`` are what the owner chose to show: statistics by column, and synthetic rows as texts in the
    columns' order. Both are words, never rules.
    """

    version: Literal["sealmarket/card/1"] = "sealmarket/card/1"
    kind: Kind
    media_type: MediaType
    title: Annotated[str, Meta(max_length=200)] = ""
    description: Note = ""
    reader: ReaderRef | None = None
    dialect: Dialect | None = None
    columns: Annotated[tuple[Column, ...], Meta(max_length=MOST_COLUMNS)] = ()
    rows: Bounds | None = None
    members: Members | None = None
    purposes: Annotated[tuple[Annotated[str, Meta(max_length=100)], ...], Meta(max_length=MOST_LABELS)] = ()
    shown: Annotated[dict[ColumnName, dict[str, str]], Meta(max_length=MOST_COLUMNS)] = msgspec.field(
        default_factory=dict
    )
    sample: Annotated[
        tuple[Annotated[tuple[Annotated[str, Meta(max_length=200)], ...], Meta(max_length=MOST_COLUMNS)], ...],
        Meta(max_length=100),
    ] = ()


def promised(raw: bytes) -> Card | None:
    """The promise in a data card's bytes; None for a card that promises nothing.

    Raises:
        CardRefused: a card with ``version`` that breaks a rule.
        MalformedDocument: one that is not of the shape, or not canonical.
    """
    if not has_version(raw):
        return None
    if len(raw) > MAXIMUM_CARD:
        raise CardRefused("size", f"{len(raw)} bytes", f"at most {MAXIMUM_CARD} bytes")
    return checked(decode_canonical(Card, raw))


def has_version(raw: bytes) -> bool:
    """Whether a data card claims to be a promise. What is no JSON object claims nothing."""
    try:
        document = parse_json(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return isinstance(document, dict) and "version" in document


def checked(card: Card) -> Card:
    """The card, if its parts agree with each other. Raises :class:`CardRefused` for the first that does not."""
    for what, found, expected in _disagreements(card):
        raise CardRefused(what, found, expected)
    for column in card.columns:
        for what, found, expected in _of_column(column):
            raise CardRefused(f"{what} of column {column.name!r}", found, expected)
    return card


def read_report(raw: bytes) -> ReaderReport:
    """A reader's ``report.json``. Raises :class:`MalformedDocument` for another shape, or one that contradicts itself.

    A reader is no trusted code, so nothing but these fields of a bounded file leaves its sandbox.
    """
    if len(raw) > MAXIMUM_REPORT:
        raise CardRefused("reader's report", f"{len(raw)} bytes long", f"at most {MAXIMUM_REPORT} bytes")
    report = decode(ReaderReport, raw)
    if report.fits != (report.code is None) or (report.fits and report.column is not None):
        raise CardRefused("reader's report", f"fits={report.fits} with code {report.code}", "a code unless it fits")
    return report


def _disagreements(card: Card) -> Iterator[tuple[str, object, object]]:
    names = [column.name for column in card.columns]
    if len(set(names)) != len(names):
        yield "list of columns", "one with a name twice", "unique names"
    if (card.kind == "table") != bool(names):
        yield "list of columns", f"{len(names)} long with kind {card.kind}", "columns for a table, none for others"
    if (card.kind in ("images", "archive")) != (card.members is not None):
        yield "members", "absent" if card.members is None else "given", "members for images and archives only"
    if card.kind != "bytes" and card.reader is None:
        yield "reader", "absent", f"the reader that holds kind {card.kind} against the card"
    if (card.kind == "table" and card.media_type == "text/csv") != (card.dialect is not None):
        yield "dialect", "absent" if card.dialect is None else "given", "a dialect for tables of text/csv only"
    if card.dialect is not None and card.dialect.thousands == card.dialect.decimal:
        yield "dialect", "one mark for decimals and thousands", "two marks"
    bounds = [card.rows, *([card.members.bytes, card.members.pixels] if card.members else [])]
    for bound in bounds:
        if bound is not None and bound.minimum > bound.maximum:
            yield "range", f"{bound.minimum} to {bound.maximum}", "a minimum that is at most the maximum"
    if any(len(row) != len(names) for row in card.sample):
        yield "sample", "a row of another width", f"{len(names)} cells in each row"
    if unknown := set(card.shown) - set(names):
        yield "shown statistics", f"about {min(unknown)!r}", "columns of the card"


def _of_column(column: Column) -> Iterator[tuple[str, object, object]]:
    if (column.type == "category") != bool(column.classes):
        yield "classes", f"{len(column.classes)} labels with type {column.type}", "labels for a category only"
    if len(set(column.classes)) != len(column.classes):
        yield "classes", "a label twice", "unique labels"
    if column.rounded and column.type != "number":
        yield "rounded", f"given with type {column.type}", "type number"
    if column.single and column.type not in ("integer", "number"):
        yield "single", f"given with type {column.type}", "type integer or number"
    bounds = [bound for bound in (column.minimum, column.maximum) if bound is not None]
    if bounds and column.type not in ("integer", "number", "date", "timestamp"):
        yield "range", f"given with type {column.type}", "a type with an order"
        return
    try:
        values = [bound_of(column.type, bound) for bound in bounds]
    except ValueError:
        yield "range", bounds, f"texts of type {column.type}"
        return
    if len(values) == 2 and values[0] > values[1]:
        yield "range", f"{bounds[0]} to {bounds[1]}", "a minimum that is at most the maximum"


def bound_of(kind: str, text: str) -> Any:
    """A bound as a value: a Decimal, a date, or a datetime (without a zone it is in UTC).

    Raises ``ValueError`` for another text. A text has at most 64 characters (:data:`Bound`), so its work is bounded.
    """
    if kind == "date":
        return date.fromisoformat(text)
    if kind == "timestamp":
        found = datetime.fromisoformat(text)
        try:
            return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
        except OverflowError:  # before the year 1 or after 9999 in UTC
            raise ValueError(text) from None
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError(text) from None
    if not value.is_finite() or abs(value.adjusted()) > 400:
        raise ValueError(text)
    if kind == "integer" and value != value.to_integral_value():
        raise ValueError(text)
    return value
