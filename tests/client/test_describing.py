"""What a description publishes: a promise that holds, no extreme value, no rare label, no cell."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.client.describing import Wishes, describe, outward
from sealmarket.client.errors import DescriptionRefused
from sealmarket.workloads.sampling import sample
from sealmarket_enclave.protocol.card import Column, ReaderRef, bound_of
from sealmarket_enclave.protocol.codec import ZERO_HASH
from sealmarket_enclave.protocol.errors import SealmarketError

READER = ReaderRef(name="tables", digest=ZERO_HASH)
AGE: dict[str, Any] = {
    "name": "age", "type": "integer", "rows": 1234, "missing": 0, "distinct": 60, "single": True, "odd": [],
    "minimum": "18", "maximum": "93", "mean": "51.23456", "deviation": "12.3456",
}  # fmt: skip
WARD: dict[str, Any] = {
    "name": "ward", "type": "category", "rows": 1234, "missing": 7, "distinct": 2, "single": False, "odd": ["odd"],
    "classes": {"east": 1220, "west": 7},
}  # fmt: skip
DIALECT = {"encoding": "utf-8", "delimiter": ",", "decimal": ".", "thousands": "", "skipLines": 0, "comment": "",
           "missing": [""]}  # fmt: skip
FOUND = {"mediaType": "text/csv", "dialect": DIALECT, "rows": 1234, "columns": [AGE, WARD]}


@pytest.mark.parametrize("wishes", [Wishes(units={"size": "m"}), Wishes(show=("median",)), Wishes(title="a" * 201)])
def test_what_no_card_can_say_is_refused(wishes: Wishes) -> None:
    with pytest.raises(SealmarketError):
        describe(FOUND, READER, wishes)


def test_a_unit_for_no_column_names_the_columns() -> None:
    with pytest.raises(DescriptionRefused, match="one of age, ward"):
        describe(FOUND, READER, Wishes(units={"size": "m"}))


def test_nothing_but_rounded_promises_is_published_unless_it_is_asked_for() -> None:
    card = describe(FOUND, READER, Wishes(units={"age": "a"})).card
    assert (card.columns[0].minimum, card.columns[0].maximum, card.columns[0].unit) == ("10", "100", "a")
    assert (card.rows.minimum, card.rows.maximum) == (1200, 1300) if card.rows else False
    assert card.shown == {}
    for exact in (b"1234", b'"18"', b'"93"', b"51.2", b"1220"):
        assert exact not in card.canonical()


def test_a_statistic_is_shown_when_it_is_asked_for() -> None:
    card = describe(FOUND, READER, Wishes(show=("mean", "classes"))).card
    assert card.shown == {"age": {"mean": "51.2"}, "ward": {"rows of east": "1220", "rows of west": "7"}}


def test_what_is_odd_and_a_public_label_of_few_rows_is_pointed_at() -> None:
    assert describe(FOUND, READER, Wishes()).warnings == (
        "column 'ward': odd",
        "column 'ward': 1 of its classes, which are public, have fewer than 10 rows",
    )


@given(st.sampled_from(["integer", "number"]), st.decimals(-(10**12), 10**12, places=4), st.integers(0, 10**9))
def test_bounds_always_hold_what_they_were_made_of(kind: str, low: Decimal, more: int) -> None:
    low = low.to_integral_value() if kind == "integer" else low
    least, most = outward(kind, f"{low:f}", f"{low + more:f}")
    assert bound_of(kind, least) <= low
    assert bound_of(kind, most) >= low + more


@given(st.dates(date(1, 1, 1), date(9999, 12, 31)), st.dates(date(1, 1, 1), date(9999, 12, 31)))
def test_bounds_of_dates_are_whole_years_around_them(one: date, other: date) -> None:
    low, high = sorted((one, other))
    least, most = outward("date", low.isoformat(), high.isoformat())
    assert bound_of("date", least) == date(low.year, 1, 1)
    assert bound_of("date", most) == date(high.year, 12, 31)


@pytest.mark.parametrize(
    "column",
    [
        Column(name="x", type="integer", minimum="3", maximum="4"),
        Column(name="x", type="number", minimum="-1e300", maximum="1e300"),
        Column(name="x", type="number"),
        Column(name="x", type="date", minimum="2024-01-01", maximum="2024-01-02"),
        Column(name="x", type="timestamp"),
    ],
)
def test_a_sample_keeps_the_range_and_type_of_its_column(column: Column) -> None:
    for (cell,) in sample((column,), 40):
        value = bound_of(column.type, cell)
        assert column.minimum is None or value >= bound_of(column.type, column.minimum)
        assert column.maximum is None or value <= bound_of(column.type, column.maximum)


def test_a_sample_has_all_classes_and_gaps_where_cells_may_miss() -> None:
    columns = (Column(name="c", type="category", classes=("a", "b")), Column(name="t", type="text", missing=True))
    rows = sample(columns, 10)
    assert {row[0] for row in rows} == {"a", "b"}
    assert "" in {row[1] for row in rows}


def test_a_table_of_few_rows_or_of_one_column_is_pointed_at() -> None:
    warnings = describe(FOUND | {"rows": 9, "columns": [AGE]}, READER, Wishes()).warnings
    assert warnings == (
        "fewer than 10 rows: the ranges, which are public, may tell single cells",
        "one column: this may be no table, or one with another delimiter",
    )
