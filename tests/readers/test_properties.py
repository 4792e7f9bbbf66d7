"""The reader of tables reads what a writer of CSV wrote, exactly, or its owner is asked; whole numbers never change."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from sealmarket_enclave.protocol.card import Column, Dialect
from sealmarket_enclave.protocol.codec import from_builtins
from tests.readers.tables import card_of, held, inferred, table_card

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
    rows = draw(st.lists(st.lists(NUMBERS, min_size=len(names), max_size=len(names)), min_size=2, max_size=9))
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
    return names, rows, text.getvalue().encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])))


@settings(max_examples=40)
@given(written())
def test_a_written_table_is_read_as_it_was_or_its_owner_is_asked(
    case: tuple[list[str], list[list[Decimal]], bytes],
) -> None:
    names, rows, file = case
    found, _, words = inferred(file)
    if found is None:
        # A fraction of three digits may be a group of thousands, and a name may hold another delimiter.
        assert any(reason in words for reason in ("divide evenly", "may be decimal marks"))
        return
    report, table, words = held(file, card_of(file))
    assert report.rows == len(rows), words
    assert table is not None
    assert table.column_names == names
    for place, column in enumerate(table.columns):
        assert [Decimal(repr(value)) for value in column.to_pylist()] == [row[place] for row in rows]


@given(st.lists(st.integers(-(2**70), 2**70), min_size=1, max_size=30))
def test_whole_numbers_are_exact_or_the_file_is_refused(numbers: list[int]) -> None:
    file = ("n\n" + "\n".join(map(str, numbers))).encode()
    for kind in ("integer", "number"):
        report, table, _ = held(file, table_card(Column(name="n", type=kind)))
        if table is None:
            assert report.code == "column_precision"
        else:
            assert [int(value) for value in table["n"].to_pylist()] == numbers


@settings(max_examples=50)
@given(st.lists(st.text(max_size=6), min_size=1, max_size=6), st.sampled_from([",", ";", "|"]))
def test_text_comes_back_without_the_white_space_around_it(cells: list[str], mark: str) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=mark, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([["t", "n"], *([cell, "1"] for cell in cells)])
    dialect = from_builtins(Dialect, {"delimiter": mark, "missing": []})
    card = table_card(Column(name="t", type="text"), Column(name="n", type="integer"), dialect=dialect)
    report, table, _ = held(text.getvalue().encode("utf-8", "replace"), card)
    if table is None:
        assert report.column in ("t", None)
    else:
        assert table["t"].to_pylist() == [cell.encode("utf-8", "replace").decode().strip() for cell in cells]
