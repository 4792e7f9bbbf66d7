"""CSV without quotes, by Arrow: the same cells as the reader of records gives, several times faster.

Only a file whose lines mean the same to both is read here; :class:`NotPlain` sends the rest of any other to the reader
of records, which also says what is wrong with it.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
from promise import Dialect
from pyarrow import csv

_SCAN = 1 << 24
BLOCK = 1 << 22
LONGEST_FIELD = 131_072
"""Characters that the reader of records takes for one field."""


class NotPlain(Exception):
    """The rest of the file is for the reader of records."""


def is_plain(raw: memoryview, dialect: Dialect) -> bool:
    """Whether no line means something else to Arrow: UTF-8, no quotes, no comments or titles, no lone CR."""
    if dialect.encoding != "utf-8" or dialect.comment or dialect.skip_lines or bytes(raw[:4]).lower() == b"sep=":
        return False
    for at in range(0, len(raw), _SCAN):
        part = bytes(raw[at : at + _SCAN])
        if b'"' in part or (b"\r" in part and part.count(b"\r") != part.count(b"\r\n")):
            return False
    return True


def body(raw: memoryview) -> memoryview:
    """What is below the header: the first line that is not blank."""
    at = len(codecs.BOM_UTF8) if bytes(raw[:3]) == codecs.BOM_UTF8 else 0
    while at < len(raw):
        line, at = _line(raw, at)
        if line.strip():
            break
    return raw[at:]


def _line(raw: memoryview, at: int) -> tuple[bytes, int]:
    """The line at a place, and where the next one begins."""
    parts = []
    while at < len(raw):
        part = bytes(raw[at : at + 4096])
        end = part.find(b"\n")
        if end >= 0:
            return b"".join([*parts, part[:end]]), at + end + 1
        parts.append(part)
        at += len(part)
    return b"".join(parts), at


def blocks(raw: memoryview, delimiter: str, width: int) -> Iterator[list[pa.StringArray]]:
    """The stripped cells of each column, block by block.

    Raises:
        NotPlain: a line of another width, bytes that are no UTF-8, a field that is too long, no line at all.
    """
    names = [str(place) for place in range(width)]
    try:
        with csv.open_csv(
            pa.BufferReader(pa.py_buffer(raw)),
            csv.ReadOptions(use_threads=False, block_size=BLOCK, column_names=names),
            csv.ParseOptions(delimiter=delimiter, quote_char=False, double_quote=False, escape_char=False),
            csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
        ) as opened:
            for batch in opened:
                if any((pc.max(pc.binary_length(column)).as_py() or 0) > LONGEST_FIELD for column in batch.columns):
                    raise NotPlain
                if len(batch):
                    yield [pc.utf8_trim_whitespace(column) for column in batch.columns]
    except pa.ArrowException:
        raise NotPlain from None
