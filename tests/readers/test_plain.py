"""The fast reading of plain CSV gives what the reading of records gives, whatever the bytes are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.readers.tables import load

csv_file, plain, promise, unfit = (load(name) for name in ("csv_file", "plain", "promise", "unfit"))
DIALECT = promise.Dialect("utf-8", ",", ".", "", 0, "", frozenset())
LINES = st.lists(
    st.lists(st.text("a1 #'é\u3000\x1c\x85\xa0\ufffd\0-.", max_size=4), min_size=1, max_size=3), max_size=8
)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A header and lines of mostly its width, with the line ends of one or several systems."""
    width = draw(st.integers(1, 3))
    ends = draw(st.sampled_from(["\n", "\r\n", "\r", "\n\n", " \n"]))
    header = ",".join(f"c{place}" if draw(st.integers(0, 5)) else "" for place in range(width))
    rows = [",".join((line * width)[:width] if draw(st.integers(0, 9)) else line) for line in draw(LINES)]
    mark = draw(st.sampled_from([b"", b"\xef\xbb\xbf", b"\n", b" \r\n"]))
    raw = mark + ends.join([header, *rows]).encode()
    return raw + draw(st.sampled_from([b"", ends.encode(), b"\xff", b"\n,\n", b'\n"']))


def outcome(raw: bytes) -> tuple[Any, ...]:
    """The cells by column, or the code and column of the refusal."""
    read: dict[str, list[str]] = {}
    try:
        for batch in csv_file.batches(memoryview(raw), DIALECT):
            for name, cells in batch.items():
                read.setdefault(name, []).extend(cells.to_pylist())
    except unfit.Unfit as refusal:
        return refusal.code, refusal.column
    return tuple(read.items())


def by_records(raw: bytes) -> tuple[Any, ...]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "is_plain", lambda _raw, _dialect: False)
        return outcome(raw)


@given(files())
@example(b"a,b\n1,2\n" * 3 + b"1\n")
@example(b"a,b\n1,2\n \n3,4\n")
@example(b"\xef\xbb\xbf\n\na,b\n1,2")
@example(b"a,b\n")
@example(b"a,b")
@example(b"a,b\n1,\xff\n")
@example(b"a,b\n1," + b"x" * 131_073 + b"\n")
@example(b",a\n1,2\n2,3\n")
def test_plain_csv_and_records_are_one_reading(raw: bytes) -> None:
    assert outcome(raw) == by_records(raw)


def test_a_line_out_of_form_after_many_blocks_is_found_and_no_row_is_read_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plain, "BLOCK", 1 << 12)
    many = b"a,b\n" + b"".join(b"%d,%d\n" % (n, n) for n in range(2000))
    assert plain.is_plain(memoryview(many), DIALECT)
    read = [len(batch["a"]) for batch in csv_file.batches(memoryview(many + b" \n7,7\n"), DIALECT)]
    assert len(read) > 1
    assert sum(read) == 2001
    assert outcome(many + b"7\n") == ("not_readable", None)
