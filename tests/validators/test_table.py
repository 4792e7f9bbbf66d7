"""The table validator lets through what it computes itself from groups of enough rows, and nothing else."""

from __future__ import annotations

import io
import statistics
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given as cases
from hypothesis import strategies as st

from tests.validators.bundles import load, verdict

VALIDATOR = load("table")
RULES: dict[str, Any] = {
    "aggregates": [
        {"column": None, "function": "count", "name": "rows"},
        {"column": "cost", "function": "mean", "name": "mean_cost"},
    ],
    "digits": 6,
    "groupBy": ["region"],
    "smallestGroup": 3,
}
REGIONS = ["north"] * 4 + ["south"] * 3 + ["west"]
COSTS = [1.0, 2.0, 4.0, 9.5, 10.0, None, 30.0, 99.0]
RIGHT = b"region,rows,mean_cost\nnorth,4,4.125\n"


def arrow(**columns: Any) -> bytes:
    made, sink = pa.table(columns), io.BytesIO()
    with pa.ipc.new_stream(sink, made.schema) as writer:
        writer.write_table(made)
    return sink.getvalue()


TABLE = arrow(region=REGIONS, cost=COSTS, visits=list(range(8)))


def said(output: bytes, *tables: bytes, **rules: Any) -> str | None:
    return verdict(VALIDATOR, output, RULES | rules, *(tables or (TABLE,)))


@pytest.mark.parametrize(
    ("output", "code"),
    [
        (b"", "not_declared"),
        (b"\xff\n", "not_readable"),
        (b"region,cost\nnorth,1.0\nnorth,2.0\n", "not_declared"),
        (b'region,rows,"mean_cost"\nnorth,4,4.125\n', "not_readable"),
        (RIGHT.replace(b"\n", b"\r\n"), "not_readable"),
        (RIGHT + b"\n", "not_readable"),
        (RIGHT[:-1], "not_readable"),
        (RIGHT + b"north,4,4.125\n", "not_readable"),
        (RIGHT.replace(b"4.125", b"4.1250"), "not_readable"),
        (RIGHT.replace(b"4.125", b"4.12500001"), "not_readable"),
        (RIGHT.replace(b"4.125", b"nan"), "not_readable"),
        (RIGHT.replace(b"4.125", b"patient 41"), "not_readable"),
        (RIGHT.replace(b"4.125", b"4.126"), "not_from_data"),
        (RIGHT.replace(b",4,", b",5,"), "not_from_data"),
        (RIGHT.replace(b"north", b"patient 41"), "not_from_data"),
        (RIGHT + b"west,1,99\n", "group_too_small"),
        (RIGHT + b"south,3,20\n", "group_too_small"),
    ],
)
def test_rows_in_spelling_in_order_in_digits_in_names_and_in_small_groups_are_withheld(
    output: bytes, code: str
) -> None:
    assert said(output) == code


def test_groups_out_of_order_are_withheld() -> None:
    counts = [RULES["aggregates"][0]]
    assert said(b"region,rows\nsouth,3\nnorth,4\n", aggregates=counts) == "not_readable"
    assert said(b"region,rows\nnorth,4\nsouth,3\n", aggregates=counts) is None


def test_a_value_that_stands_for_one_row_is_no_aggregate() -> None:
    for function in ("min", "max", "median", "first"):
        aggregates = [{"column": "cost", "function": function, "name": "mean_cost"}]
        assert said(b"region,mean_cost\n", aggregates=aggregates) == "rules_invalid"


@pytest.mark.parametrize(
    "rules",
    [
        {"smallestGroup": 1},
        {"digits": 0},
        {"digits": 17},
        {"aggregates": []},
        {"aggregates": [{"column": "cost", "function": "count", "name": "n"}]},
        {"aggregates": [{"function": "count", "name": "n"}]},
        {"groupBy": [1]},
    ],
)
def test_rules_that_are_none_let_nothing_leave(rules: dict[str, Any]) -> None:
    assert said(RIGHT, **rules) == "rules_invalid"


def test_without_the_data_nothing_leaves() -> None:
    assert verdict(VALIDATOR, RIGHT, RULES) == "data_missing"
    assert said(RIGHT, arrow(cost=COSTS)) == "not_from_data"
    assert said(RIGHT, arrow(region=REGIONS, cost=["1"] * 8)) == "not_from_data"


def test_what_was_computed_over_enough_rows_leaves() -> None:
    assert said(RIGHT) is None
    assert said(b"region,rows,mean_cost\n") is None
    every = [{"column": "visits", "function": name, "name": name} for name in ("sum", "mean", "deviation")]
    assert said(b"sum,mean,deviation\n28,3.5,2.29129\n", groupBy=[], aggregates=every) is None


def test_the_rows_of_several_owners_are_counted_together() -> None:
    halves = [arrow(region=REGIONS[n::2], cost=COSTS[n::2]) for n in (0, 1)]
    assert said(RIGHT, *halves) is None
    assert said(RIGHT, halves[0]) == "group_too_small"


@pytest.mark.parametrize("zone", ["UTC", "Of/No_Database", None])
def test_groups_of_instants_are_spelled_in_utc_without_a_database_of_time_zones(zone: str | None) -> None:
    times = [datetime(2024, 1, 31, 8, tzinfo=UTC)] * 3 + [datetime(2024, 1, 31, 8, 0, 0, 250, tzinfo=UTC)] * 4 + [None]
    table = arrow(at=pa.array(times, pa.timestamp("us", "UTC")).cast(pa.timestamp("us", zone)))
    how = {"aggregates": RULES["aggregates"][:1], "groupBy": ["at"]}
    assert said(b"at,rows\n2024-01-31T08:00:00.000250Z,4\n2024-01-31T08:00:00Z,3\n", table, **how) is None
    for spelling in (b"2024-01-31 08:00:00", b"2024-01-31T08:00:00+00:00", b"2024-01-31T09:00:00+01:00"):
        assert said(b"at,rows\n" + spelling + b",3\n", table, **how) == "not_from_data"
    assert said(b"at,rows\n,1\n", table, **how) == "group_too_small"


@cases(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(-1000, 1000)), min_size=1, max_size=60), st.integers(2, 9)
)
def test_an_honest_table_leaves_and_one_with_a_group_that_is_too_small_does_not(
    rows: list[tuple[str, int]], smallest: int
) -> None:
    table = arrow(region=[region for region, _ in rows], cost=np.array([cost for _, cost in rows], dtype=np.float64))
    groups = {name: [cost for region, cost in rows if region == name] for name in sorted({name for name, _ in rows})}
    lines = {name: f"{name},{len(costs)},{statistics.fmean(costs):.6g}\n" for name, costs in groups.items()}
    head = "region,rows,mean_cost\n"
    kept = "".join(line for name, line in lines.items() if len(groups[name]) >= smallest)
    assert said((head + kept).encode(), table, smallestGroup=smallest) is None
    if len(kept) < sum(map(len, lines.values())):
        assert said((head + "".join(lines.values())).encode(), table, smallestGroup=smallest) == "group_too_small"
