"""The training workload's reader reads what a writer of CSV wrote, and no bytes break it."""

from __future__ import annotations

import codecs
import csv
import io
from decimal import Decimal
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.workloads.reader import DEFAULTS, TableRefused, pooling, prepare, tables, values

NAMES = st.lists(
    st.text("abcdefghijkl äß,;|\"'#", min_size=1, max_size=12).map(lambda name: f"c {' '.join(name.split())}".strip()),
    min_size=2,
    max_size=6,
    unique=True,
)
NUMBERS = st.decimals(-(10**6), 10**6, places=3)


@st.composite
def written(draw: st.DrawFn) -> tuple[list[str], list[list[Decimal]], bytes]:
    """Column names, rows, and the file that some program made of them."""
    names = draw(NAMES)
    rows = draw(st.lists(st.lists(NUMBERS, min_size=len(names), max_size=len(names)), min_size=60, max_size=64))
    # Sixty rows that are not all alike in any column.
    rows = [[value + n for value in row] for n, row in enumerate(rows)]
    mark = draw(st.sampled_from(",;\t|"))
    comma = mark != "," and draw(st.booleans())
    text = io.StringIO()
    writer = csv.writer(
        text,
        delimiter=mark,
        quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        lineterminator=draw(st.sampled_from(["\n", "\r\n", "\r"])),
    )
    writer.writerow(names)
    writer.writerows([str(value).replace(".", ",") if comma else str(value) for value in row] for row in rows)
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
    return names, rows, text.getvalue().encode(encoding)


def attempt(file: bytes, target: str) -> tuple[Any, str]:
    """What is learnt from the file, or the refusal."""
    try:
        return prepare(file, target=target, task="regression"), ""
    except TableRefused as refusal:
        return None, str(refusal)


@given(written())
def test_a_written_table_is_read_as_it_was_or_refused_because_it_has_two_readings(
    case: tuple[list[str], list[list[Decimal]], bytes],
) -> None:
    names, rows, file = case
    found, refusal = attempt(file, names[-1])
    if refusal:
        # A fraction of three digits may be a group of thousands, and a name may hold another delimiter.
        assert any(reason in refusal for reason in ("divide evenly", "may be decimal marks", "apart"))
        return
    assert list(found.names) == names[:-1]
    assert found.features.tolist() == np.array([row[:-1] for row in rows], dtype=np.float32).tolist()
    assert found.target.tolist() == [float(row[-1]) for row in rows]


@given(st.binary(max_size=300) | st.text('a1,;\t|"\r\n #.-e\ufffd\0', max_size=300).map(str.encode))
def test_whatever_the_bytes_are_the_answer_is_a_table_or_a_refusal(file: bytes) -> None:
    for raw in (file, codecs.BOM_UTF16_LE + file):
        try:
            read = tables.read_table(raw)
        except TableRefused:
            continue
        assert read.rows > 0
        assert len({len(cells) for cells in read.columns.values()}) == 1


@given(st.lists(st.text("0123456789.-+eE,", max_size=70), min_size=1, max_size=20))
def test_labels_are_equal_only_where_the_cells_are_equal_text_or_equal_numbers(cells: list[str]) -> None:
    found = values.labels(cells)
    for first, one in zip(cells, found, strict=True):
        for second, other in zip(cells, found, strict=True):
            if first == second:
                assert one == other
            elif one == other:
                assert Decimal(first) == Decimal(second)


@given(st.lists(st.integers(-(2**70), 2**70), min_size=1, max_size=30))
def test_whole_numbers_pass_as_features_exactly_or_not_at_all(numbers: list[int]) -> None:
    try:
        found = values.floats("id", [str(number) for number in numbers])
        values.require_float32("id", found)
    except TableRefused:
        return
    kept = [number for number in numbers if abs(number) < 2**63]
    assert {int(value) for value in found.astype(np.float32)} >= set(kept)


@given(st.text(max_size=60) | st.lists(st.sampled_from(["a", "b", "c", '"a"', " ", ",", ","]), max_size=6).map("".join))
def test_the_parameter_ignore_leaves_out_what_it_names_and_nothing_else(text: str) -> None:
    try:
        found = pooling.pool({"rows": b"a,b\n1,2\n"}, DEFAULTS | {"ignore": text})
    except TableRefused:
        return
    assert set(found.columns) | set(found.left_out) == {"a", "b"}
    assert not set(found.columns) & set(found.left_out)
    for name in ("a", "b"):
        assert (name in found.left_out) == (name in text)
