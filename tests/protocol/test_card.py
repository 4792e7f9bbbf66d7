"""A data card with a version is a promise of a strict shape; anything else promises nothing."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from sealmarket.protocol.cards import read_card
from sealmarket_enclave.protocol.card import (
    MAXIMUM_CARD,
    MAXIMUM_REPORT,
    Bounds,
    Card,
    CardRefused,
    Column,
    Dialect,
    Members,
    ReaderCode,
    ReaderRef,
    bound_of,
    checked,
    promised,
    read_report,
)
from sealmarket_enclave.protocol.codec import ZERO_HASH, canonical_json
from sealmarket_enclave.protocol.errors import MalformedDocument, SealmarketError

READER = ReaderRef(name="tables", digest=ZERO_HASH)
TABLE = Card(
    kind="table",
    media_type="text/csv",
    reader=READER,
    dialect=Dialect(),
    columns=(Column(name="age", type="integer", minimum="0", maximum="120"), Column(name="note", type="text")),
    rows=Bounds(minimum=1, maximum=9),
)
IMAGES = Card(
    kind="images",
    media_type="application/zip",
    reader=READER,
    members=Members(media_types=("image/png",), bytes=Bounds(minimum=1, maximum=9)),
)


def column(**fields: Any) -> Card:
    return replace(TABLE, columns=(Column(**{"name": "x", "type": "integer", **fields}),))


@pytest.mark.parametrize(
    ("card", "what"),
    [
        (replace(TABLE, columns=()), "list of columns"),
        (replace(TABLE, columns=(TABLE.columns[0],) * 2), "list of columns"),
        (replace(IMAGES, columns=TABLE.columns), "list of columns"),
        (replace(TABLE, members=IMAGES.members), "members"),
        (replace(IMAGES, members=None), "members"),
        (replace(TABLE, reader=None), "reader"),
        (replace(IMAGES, reader=None), "reader"),
        (replace(TABLE, dialect=None), "dialect"),
        (replace(TABLE, media_type="application/jsonl"), "dialect"),
        (replace(TABLE, dialect=Dialect(decimal=",", thousands=",")), "dialect"),
        (replace(TABLE, rows=Bounds(minimum=2, maximum=1)), "range"),
        (replace(TABLE, sample=(("1",),)), "sample"),
        (replace(TABLE, shown={"size": {"mean": "1"}}), "shown statistics"),
        (column(type="category"), "classes of column 'x'"),
        (column(classes=("a",)), "classes of column 'x'"),
        (column(type="category", classes=("a", "a")), "classes of column 'x'"),
        (column(rounded=True), "rounded of column 'x'"),
        (column(type="text", single=True), "single of column 'x'"),
        (column(type="text", minimum="a"), "range of column 'x'"),
        (column(minimum="2", maximum="1"), "range of column 'x'"),
        (column(minimum="1.5"), "range of column 'x'"),
        (column(minimum="NaN"), "range of column 'x'"),
        (column(type="number", minimum="Infinity"), "range of column 'x'"),
        (column(type="number", minimum="1e9999999"), "range of column 'x'"),
        (column(type="date", minimum="2024-02-30"), "range of column 'x'"),
        (column(type="timestamp", minimum="2024-01-01T00:00:00Z", maximum="2023-01-01 00:00"), "range of column 'x'"),
    ],
)
def test_a_card_whose_parts_disagree_is_refused_by_name(card: Card, what: str) -> None:
    with pytest.raises(CardRefused) as refusal:
        promised(card.canonical())
    assert refusal.value.what == what


@pytest.mark.parametrize(
    "change",
    [
        {"version": "sealmarket/card/2"},
        {"kind": "film"},
        {"more": 1},
        {"columns": [{"name": "a"}]},
        {"rows": {"minimum": -1, "maximum": 1}},
        {"title": "a" * 201},
    ],
)
def test_a_document_that_claims_a_version_and_is_of_another_shape_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(MalformedDocument):
        promised(canonical_json(json.loads(TABLE.canonical()) | change))


def test_a_card_that_is_not_in_its_one_spelling_or_is_too_long_is_refused() -> None:
    with pytest.raises(MalformedDocument):
        promised(json.dumps(json.loads(TABLE.canonical()), indent=1).encode())
    with pytest.raises(CardRefused, match="at most 1048576 bytes"):
        promised(b'{"version": "' + b"a" * MAXIMUM_CARD + b'"}')


@pytest.mark.parametrize("raw", [b"", b"7", b"[]", b"{}", b'{"columns": ["a"], "note": "b"}', b"\xff", b"[" * 100_000])
def test_a_document_without_a_version_promises_nothing(raw: bytes) -> None:
    assert promised(raw) is None


@pytest.mark.parametrize("card", [TABLE, IMAGES, Card(kind="bytes", media_type="application/pdf")])
def test_a_sound_card_is_read_back_as_it_was(card: Card) -> None:
    assert promised(checked(card).canonical()) == card


def test_programs_that_read_names_of_columns_find_them_in_a_promise_too() -> None:
    assert read_card(TABLE.canonical()).columns == ("age", "note")


def test_bounds_are_exact_and_an_instant_without_a_zone_is_in_utc() -> None:
    assert bound_of("number", "0.1") == Decimal("0.1")
    assert bound_of("timestamp", "2024-01-01T02:00:00+02:00") == datetime(2024, 1, 1, tzinfo=UTC)
    assert bound_of("timestamp", "2024-01-01 00:00") == datetime(2024, 1, 1, tzinfo=UTC)


BOUNDS = st.one_of(
    st.text(max_size=64),
    st.decimals().map(str),
    st.integers(-(10**60), 10**60).map(str),
    st.builds("{}e{}".format, st.integers(), st.integers(-500, 500)),
    st.builds("{}T{}{}".format, st.dates(), st.times(), st.sampled_from(["", "Z", "+23:59", "-23:59"])),
)


@example("1e300", "integer")
@example("1" * 40, "integer")
@example("0001-01-01T00:00:00+23:59", "timestamp")
@example("9999-12-31T23:59:59-23:59", "timestamp")
@given(BOUNDS, st.sampled_from(["integer", "number", "date", "timestamp"]))
def test_any_text_is_a_bound_or_refused(text: str, kind: str) -> None:
    try:
        bound = bound_of(kind, text)
    except ValueError:
        return
    if kind in ("integer", "number"):
        assert bound.is_finite()
        assert kind == "number" or bound == int(bound)
    elif kind == "timestamp":
        assert bound.utcoffset() == timedelta(0)
    else:
        assert bound == date.fromisoformat(bound.isoformat())


@pytest.mark.parametrize(
    "report",
    [
        {"fits": True, "code": "row_count", "column": None, "rows": 1},
        {"fits": False, "code": None, "column": None, "rows": None},
        {"fits": True, "code": None, "column": "age", "rows": 1},
        {"fits": False, "code": "because", "column": None, "rows": None},
        {"fits": True, "code": None, "column": None, "rows": -1},
        {"fits": True, "code": None, "column": None, "rows": 1, "cell": "41"},
        {"fits": True},
        {"fits": False, "code": "row_count", "column": "a" * 201, "rows": None},
    ],
)
def test_a_report_that_contradicts_itself_or_says_more_is_refused(report: dict[str, Any]) -> None:
    with pytest.raises(SealmarketError):
        read_report(json.dumps(report).encode())


def test_a_report_is_bounded() -> None:
    with pytest.raises(CardRefused):
        read_report(b" " * (MAXIMUM_REPORT + 1))


@pytest.mark.parametrize("code", ReaderCode)
def test_every_code_of_the_list_can_be_reported(code: ReaderCode) -> None:
    report = {"fits": False, "code": code.value, "column": "a", "rows": None}
    assert read_report(json.dumps(report).encode()).code is code
