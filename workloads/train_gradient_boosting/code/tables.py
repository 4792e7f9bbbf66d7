"""A CSV file as people have it -> columns of text, by stated rules (docs/spec/tables.md).

1. UTF-8, with a byte order mark or without; UTF-16 with one.
2. The delimiter is the one of ``, ; tab |`` under which all lines have as many fields as the first. Two such: refused.
   A first line ``sep=;`` (Excel's) names the delimiter and is no header.
3. Quoted fields as in RFC 4180; line ends of any system. Blank lines are no rows; no other line is left out.
4. The first line names the columns. Names are stripped, each stands once, and none is a number.
5. A column without a name is left out if it is empty or numbers the rows; else the file is refused.

Reads each byte a bounded number of times.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from refusals import TableRefused, counted, listed

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
MOST_COLUMNS = 4096
MOST_NAME_CHARACTERS = 16_384
"""Of all names together: metrics.json and the model name each feature."""
_SNIFFED_LINES = 200
_NUMBER = frozenset("0123456789+-.,eE")
_LONGEST_NUMBER = 64
_UNREADABLE = "\ufffd"


@dataclass(frozen=True, slots=True)
class Table:
    """Columns by name, each a list with one stripped text for each row."""

    columns: dict[str, list[str]]
    delimiter: str
    left_out: tuple[str, ...] = ()
    """What was left out by rule 5, in words."""

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(next(iter(self.columns.values())))


def read_table(raw: bytes | memoryview, delimiter: str = "auto") -> Table:
    """Read one file. ``delimiter`` is a name of :data:`DELIMITERS`, or ``auto``.

    Raises:
        TableRefused: with the columns named.
    """
    text, stated = _stated(_text(bytes(raw)))
    mark = DELIMITERS[delimiter] if delimiter != "auto" else stated or _sniffed(text)
    records = _records(text, mark)
    header = next(records, None)
    if header is None:
        raise TableRefused("the file is empty", "expected a line of column names and rows below it")
    names = [" ".join(name.split()) for name in header]
    _require_names(names)
    columns = _columns(records, names)
    return _named(names, columns, mark)


def _text(raw: bytes) -> str:
    """The file's text. Bytes that are none become U+FFFD, so that their column can be named."""
    utf16 = raw[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    text = raw.decode("utf-16" if utf16 else "utf-8-sig", "replace")
    if "\0" in text:
        raise TableRefused("the file holds NUL characters", "it is no text file: export it as CSV in UTF-8")
    return text


def _stated(text: str) -> tuple[str, str]:
    """The text without a first line ``sep=;``, and the delimiter that such a line names, or nothing."""
    if text[:4].lower() == "sep=" and text[4:5] in DELIMITERS.values() and text[5:6] in ("\r", "\n"):
        return text[5:].lstrip("\r\n"), text[4]
    return text, ""


def _records(text: str, mark: str) -> Iterator[list[str]]:
    """The lines that are not blank, as fields."""
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=mark, skipinitialspace=mark != "\t", strict=True)
    try:
        for fields in lines:
            if len(fields) > 1 or (fields and fields[0].strip()):
                yield fields
    except csv.Error:
        message = "quotes do not pair, or a field is longer than 131,072 characters"
        raise TableRefused(message, "quote whole fields, and write a quote inside as two") from None


def _sniffed(text: str) -> str:
    """The delimiter (rule 2), judged by the first 200 lines."""
    widths = {name: _widths(text, mark) for name, mark in DELIMITERS.items()}
    if not any(widths.values()):
        next(_records(text, ","), None)  # says why, unless there is nothing
        raise TableRefused("the file is empty", "expected a line of column names and rows below it")
    fitting = [name for name, found in widths.items() if found and found[0] > 1 and set(found) == {found[0]}]
    if len(fitting) > 1:
        raise TableRefused(f"the lines divide evenly by {' and by '.join(fitting)}", "say which: parameter delimiter")
    if fitting:
        return DELIMITERS[fitting[0]]
    # None fits all lines: the one that divides most lines alike says best what is wrong with the others.
    best = max(widths, key=lambda name: _agreement(widths[name]))
    if _agreement(widths[best]) == 0:
        raise TableRefused("no line is divided by , ; tab or |", "expected a feature and a target: two columns or more")
    return DELIMITERS[best]


def _widths(text: str, mark: str) -> list[int]:
    """How many fields each of the first lines has, up to one that does not read: reading the file says why."""
    widths: list[int] = []
    with suppress(TableRefused):
        widths.extend(len(fields) for fields in islice(_records(text, mark), _SNIFFED_LINES))
    return widths


def _agreement(widths: list[int]) -> int:
    return max((count for width, count in Counter(widths).items() if width > 1), default=0)


def _require_names(names: list[str]) -> None:
    if len(names) > MOST_COLUMNS:
        raise TableRefused(f"the first line has {len(names)} fields", f"at most {MOST_COLUMNS} columns are read")
    if (characters := sum(map(len, names))) > MOST_NAME_CHARACTERS:
        remedy = f"at most {MOST_NAME_CHARACTERS} are read: give columns shorter names"
        raise TableRefused(f"the names of the columns have {characters} characters together", remedy)
    if unreadable := [name for name in names if _UNREADABLE in name]:
        raise TableRefused(f"the name of column {listed(unreadable)} is not UTF-8", "save the file as UTF-8")
    if numbers := sum(_is_number(name) for name in names):
        # A line of data may stand here: its cells are not shown.
        rule = f"{counted(numbers, 'field')} of the first line {'is a number' if numbers == 1 else 'are numbers'}"
        raise TableRefused(rule, f"expected the names of {len(names)} columns: is the header missing?")
    if twice := [name for name, count in Counter(names).items() if count > 1 and name]:
        raise TableRefused(f"more than one column is named {listed(twice)}", "give each column its own name")


def _columns(records: Iterator[list[str]], names: list[str]) -> list[list[str]]:
    columns: list[list[str]] = [[] for _ in names]
    others: Counter[int] = Counter()
    for fields in records:
        if len(fields) != len(names):
            others[len(fields)] += 1
            continue
        for column, field in zip(columns, fields, strict=True):
            column.append(field.strip())
    if others:
        widths = ", ".join(f"{count} with {counted(width, 'field')}" for width, count in sorted(others.items())[:4])
        fit = "does not fit" if others.total() == 1 else "do not fit"
        rule = f"{counted(others.total(), 'line')} {fit} the {counted(len(names), 'column')} {listed(names)}"
        raise TableRefused(f"{rule}: {widths}", "remove titles and comments, and quote fields that hold the delimiter")
    if not columns[0]:
        raise TableRefused(f"there are no rows below the columns {listed(names)}", "expected rows")
    return columns


def _named(names: list[str], columns: list[list[str]], mark: str) -> Table:
    """Rule 5, and that each cell is text."""
    kept: dict[str, list[str]] = {}
    left_out: list[str] = []
    for place, (name, cells) in enumerate(zip(names, columns, strict=True), start=1):
        if name:
            kept[name] = cells
        elif not any(cells):
            left_out.append(f"column {place}, empty and without a name")
        elif _numbers_rows(cells):
            left_out.append(f"column {place}, row numbers without a name")
        else:
            raise TableRefused(f"column {place} has no name", "name it, or remove it")
    if unreadable := [name for name, cells in kept.items() if any(_UNREADABLE in cell for cell in cells)]:
        raise TableRefused(f"column {listed(unreadable)} holds text that is not UTF-8", "save the file as UTF-8")
    if not kept:
        raise TableRefused("no column has a name", "expected a line of column names")
    return Table(kept, mark, tuple(left_out))


def _numbers_rows(cells: list[str]) -> bool:
    return any(cells == [str(n) for n in range(start, start + len(cells))] for start in (0, 1))


def _is_number(name: str) -> bool:
    """Whether a name is a number in some notation."""
    if not name or len(name) > _LONGEST_NUMBER or not _NUMBER.issuperset(name):
        return False
    try:
        float(name.replace(",", ""))
    except ValueError:
        return False
    return True
