"""What kind of file its owner has, and by which dialect it is read: sniffed here once, then stated in the card.

No rule guesses: where a file has two readings, or none, it is refused until its owner states which.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Any

import binary
import csv_file
import pyarrow as pa
import pyarrow.compute as pc
from promise import Dialect, dialect_of
from unfit import Unfit, listed

CSV = "text/csv"
MISSING = ("", "na", "n/a", "nan", "null", "none")
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
_SNIFFED_LINES = 200
_ANY_NOTATION = r"^[0-9+\-.eE, ']*[0-9][0-9+\-.eE, ']*$"
_GROUPED = r"^[+-]?[1-9][0-9]{0,2},[0-9]{3}$"
_ONE_COMMA = r"^[^,]*,[^,]*$"


def media_type(raw: memoryview) -> str:
    """The media type of a table by its first bytes."""
    head = bytes(raw[:4096])
    if head[:4] == b"PAR1":
        return binary.PARQUET
    if head[:6] == b"ARROW1":
        return binary.ARROW_FILE
    if head[:4] == b"\xff\xff\xff\xff":
        return binary.ARROW_STREAM
    return binary.JSON_LINES if head.lstrip()[:1] == b"{" else CSV


def dialect(raw: memoryview, stated: Mapping[str, Any]) -> Dialect:
    """The dialect of a CSV file but for its decimal mark: what ``stated`` leaves open is sniffed.

    Raises:
        Unfit: two readings, or none.
    """
    utf16 = bytes(raw[:2]) in (b"\xff\xfe", b"\xfe\xff")
    base: dict[str, Any] = {
        "encoding": "utf-16" if utf16 else "utf-8",
        "delimiter": ",",
        "decimal": ".",
        "thousands": "",
    }
    base |= {"skipLines": 0, "comment": "", "missing": MISSING}
    found = dialect_of(base | dict(stated))
    if "delimiter" in stated:
        return found
    return replace(found, delimiter=_excels(raw, found.encoding) or _delimiter(raw, found))


def _excels(raw: memoryview, encoding: str) -> str:
    """The delimiter that a first line ``sep=;`` names, or nothing."""
    with csv_file.opened(raw[: 1 << 16], encoding) as text:
        line = text.readline()
    return (
        line[4] if line[:4].lower() == "sep=" and line[4:5] in DELIMITERS and line[5:] in ("\r", "\n", "\r\n") else ""
    )


def _delimiter(raw: memoryview, known: Dialect) -> str:
    """The one under which the first 200 lines all have as many fields as the first."""
    widths = {mark: _widths(raw, replace(known, delimiter=mark)) for mark in DELIMITERS}
    fitting = [mark for mark, found in widths.items() if found and found[0] > 1 and set(found) == {found[0]}]
    if len(fitting) > 1:
        names = " and by ".join(DELIMITERS[mark] for mark in fitting)
        raise Unfit("not_readable", f"the lines divide evenly by {names}: state the delimiter")
    if fitting:
        return fitting[0]
    # None fits all lines: the one that divides most lines alike says best what is wrong with the others.
    best = max(widths, key=lambda mark: _agreement(widths[mark]))
    return best if _agreement(widths[best]) else ","


def _widths(raw: memoryview, known: Dialect) -> list[int]:
    """How many fields each of the first lines has, up to one that does not read: reading the file says why."""
    widths: list[int] = []
    with suppress(Unfit), csv_file.opened(raw, known.encoding) as text:
        widths.extend(len(fields) for fields in islice(csv_file.records(_bounded(text), known), _SNIFFED_LINES))
    return widths


def _bounded(text: io.TextIOWrapper) -> io.StringIO:
    """The start of a text, in whole lines where it has any."""
    return io.StringIO("".join(islice(text, 20 * _SNIFFED_LINES)), newline="")


def _agreement(widths: list[int]) -> int:
    return max((count for width, count in Counter(widths).items() if width > 1), default=0)


def decimal_mark(columns: Mapping[str, pa.ChunkedArray]) -> str:
    """``.`` or ``,`` by the columns of numbers: one for a file, a comma where a cell decides it.

    ``1,5`` decides, ``1,500`` does not.

    Raises:
        Unfit: cells decide for both, or for none although they hold commas; with the column.
    """
    points, commas, unclear = [], [], []
    for name, texts in columns.items():
        if not pc.all(pc.match_substring_regex(texts, _ANY_NOTATION)).as_py():
            continue
        if not len(texts) - texts.null_count:
            continue
        with_comma = texts.filter(pc.fill_null(pc.match_substring(texts, ","), False))
        if pc.any(pc.match_substring(texts, ".")).as_py():
            points.append(name)
        if _decides(with_comma):
            commas.append(name)
        elif len(with_comma):
            unclear.append(name)
    if points and (commas or unclear):
        rule = f"column {listed([*commas, *unclear])} holds commas in numbers, column {listed(points)} points"
        raise Unfit("not_readable", f"{rule}: state the mark of thousands", [*commas, *unclear][0])
    if unclear and not commas:
        rule = f"commas in column {listed(unclear)} may be decimal marks or thousands separators"
        raise Unfit("not_readable", f"{rule}: state which", unclear[0])
    return "," if commas else "."


def _decides(texts: pa.ChunkedArray) -> bool:
    """Whether the comma of some number can be nothing but its decimal mark."""
    one = pc.match_substring_regex(texts, _ONE_COMMA)
    return bool(pc.any(pc.and_(one, pc.invert(pc.match_substring_regex(texts, _GROUPED)))).as_py())
