"""A CSV file by a stated dialect -> batches of columns of text (docs/spec/tables.md, "Reading").

Nothing is guessed here: what the dialect does not say is refused. At most one batch is held.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from itertools import islice

import plain
import pyarrow as pa
from promise import Dialect
from unfit import Unfit, counted, listed

BATCH_ROWS = 1 << 16
MOST_COLUMNS = 4096
MOST_NAME_CHARACTERS = 16_384
UNREADABLE = "\ufffd"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_NUMBER = frozenset("0123456789+-.,eE")
_LONGEST_NUMBER = 64

Batch = dict[str, pa.StringArray]


class _Reading(io.RawIOBase):
    """A buffer as a file, without a copy of it."""

    def __init__(self, raw: memoryview) -> None:
        self._raw, self._at = raw, 0

    def readable(self) -> bool:
        return True

    def readinto(self, target: memoryview, /) -> int:  # type: ignore[override]
        part = self._raw[self._at : self._at + len(target)]
        target[: len(part)] = part
        self._at += len(part)
        return len(part)


def opened(raw: memoryview, encoding: str) -> io.TextIOWrapper:
    """The text of a file. Bytes that are none become U+FFFD, so that their column can be named."""
    utf16 = bytes(raw[:2]) in _UTF16
    if utf16 != (encoding == "utf-16"):
        raise Unfit("not_readable", f"the file {'is' if utf16 else 'is not'} UTF-16 with a byte order mark")
    codec = {"utf-8": "utf-8-sig"}.get(encoding, encoding)
    return io.TextIOWrapper(io.BufferedReader(_Reading(raw), 1 << 20), codec, "replace", newline="")


def records(text: io.TextIOBase, dialect: Dialect) -> Iterator[list[str]]:
    """The lines that are neither blank nor comments, as fields; ``skip_lines`` of them are left out at the start."""
    lines = csv.reader(
        _kept(text, dialect),
        delimiter=dialect.delimiter,
        skipinitialspace=dialect.delimiter != "\t",
        strict=True,
    )
    try:
        for fields in lines:
            if len(fields) > 1 or (fields and fields[0].strip()):
                yield fields
    except csv.Error:
        message = "quotes do not pair, or a field is longer than 131,072 characters"
        raise Unfit("not_readable", f"{message}: quote whole fields, and write a quote inside as two") from None


def _kept(text: io.TextIOBase, dialect: Dialect) -> Iterator[str]:
    """The text's lines without a first line ``sep=;`` (Excel's), titles above the header, and comments."""
    skipped, first = 0, True
    for line in text:
        if first and line[:4].lower() == "sep=" and line[5:] in ("\r", "\n", "\r\n"):
            first = False
            continue
        first = False
        if skipped < dialect.skip_lines and line.strip():
            skipped += 1
        elif not (dialect.comment and line.startswith(dialect.comment)):
            yield line


def batches(raw: memoryview, dialect: Dialect) -> Iterator[Batch]:
    """Cells by column name, stripped; columns without a name that are empty or number the rows are left out.

    Raises:
        Unfit: ``not_readable``, with the column where one is to blame.
    """
    with opened(raw, dialect.encoding) as text:
        header = next(records(text, dialect), None)
    if header is None:
        raise Unfit("not_readable", "the file is empty: expected a line of column names and rows below it")
    names = [" ".join(name.split()) for name in header]
    require_names(names)
    unnamed = _Unnamed()
    for columns in _columns(raw, dialect, names):
        unnamed.check([cells for name, cells in zip(names, columns, strict=True) if not name], names)
        yield {name: cells for name, cells in zip(names, columns, strict=True) if name}


def _columns(raw: memoryview, dialect: Dialect, names: list[str]) -> Iterator[list[pa.StringArray]]:
    """The columns, batch by batch: by Arrow as far as the file is plain, the rest as records."""
    done = 0
    if len(names) > 1 and plain.is_plain(raw, dialect):
        try:
            for columns in plain.blocks(plain.body(raw), dialect.delimiter, len(names)):
                yield columns
                done += len(columns[0])
        except plain.NotPlain:
            pass
        else:
            return
    with opened(raw, dialect.encoding) as text:
        lines = islice(records(text, dialect), done + 1, None)
        while rows := list(islice(lines, BATCH_ROWS)):
            _require_widths(rows, names)
            yield [pa.array([field.strip() for field in column], pa.string()) for column in zip(*rows, strict=True)]


class _Unnamed:
    """Columns without a name over all batches: each is empty throughout, or counts the rows from 0 or 1."""

    def __init__(self) -> None:
        self._rows = 0
        self._may: list[set[str]] | None = None

    def check(self, columns: list[pa.StringArray], names: list[str]) -> None:
        self._may = self._may or [{"empty", "0", "1"} for _ in columns]
        for place, cells in enumerate(column.to_pylist() for column in columns):
            may = self._may[place]
            may -= {"empty"} if any(cells) else set()
            for start in may - {"empty"}:
                begin = self._rows + int(start)
                if cells != [str(number) for number in range(begin, begin + len(cells))]:
                    may.discard(start)
            if not may:
                at = [n for n, name in enumerate(names, 1) if not name][place]
                raise Unfit("not_readable", f"column {at} has no name: name it, or remove it")
        self._rows += len(columns[0]) if columns else 0


def require_names(names: list[str]) -> None:
    """The first line names columns: none twice, none a number, all of them text."""
    if len(names) > MOST_COLUMNS:
        raise Unfit("not_readable", f"the first line has {len(names)} fields: at most {MOST_COLUMNS} columns are read")
    if (characters := sum(map(len, names))) > MOST_NAME_CHARACTERS:
        rule = f"the names of the columns have {characters} characters together"
        raise Unfit("not_readable", f"{rule}: at most {MOST_NAME_CHARACTERS} are read")
    if unreadable := [name for name in names if UNREADABLE in name or "\0" in name]:
        rule = f"the name of column {listed(unreadable)} is not text of the stated encoding"
        raise Unfit("not_readable", rule, unreadable[0])
    if numbers := sum(_is_number(name) for name in names):
        # A line of data may stand here: its cells are not shown.
        rule = f"{counted(numbers, 'field')} of the first line {'is a number' if numbers == 1 else 'are numbers'}"
        raise Unfit("not_readable", f"{rule}: expected the names of {len(names)} columns; is the header missing?")
    if twice := [name for name, count in Counter(names).items() if count > 1 and name]:
        raise Unfit("not_readable", f"more than one column is named {listed(twice)}: give each its own name", twice[0])
    if not any(names):
        raise Unfit("not_readable", "no column has a name: expected a line of column names")


def _require_widths(rows: list[list[str]], names: list[str]) -> None:
    others = Counter(len(fields) for fields in rows if len(fields) != len(names))
    if others:
        widths = ", ".join(f"{count} with {counted(width, 'field')}" for width, count in sorted(others.items())[:4])
        fit = "does not fit" if others.total() == 1 else "do not fit"
        rule = f"{counted(others.total(), 'line')} {fit} the {counted(len(names), 'column')} {listed(names)}: {widths}"
        raise Unfit("not_readable", f"{rule}; remove titles and comments, and quote fields that hold the delimiter")


def _is_number(name: str) -> bool:
    """Whether a name is a number in some notation."""
    if not name or len(name) > _LONGEST_NUMBER or not _NUMBER.issuperset(name):
        return False
    try:
        float(name.replace(",", ""))
    except ValueError:
        return False
    return True
