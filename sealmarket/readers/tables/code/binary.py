"""Parquet, Arrow and JSON lines -> batches of columns: typed Arrow arrays, or text that says what kind it was.

The files are hostile: Arrow's own validation runs on every batch, and what a library raises is ``not_readable``. Memory
is bounded by the sandbox.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from csv_file import MOST_COLUMNS
from promise import Column
from spelled import ARROW_TYPES
from unfit import Unfit, counted, listed

BATCH_ROWS = 1 << 16
_LONGEST_LINE = 1 << 24
_MOST_BRACKETS = 1000
PARQUET = "application/vnd.apache.parquet"
ARROW_STREAM = "application/vnd.apache.arrow.stream"
ARROW_FILE = "application/vnd.apache.arrow.file"
JSON_LINES = "application/jsonl"


def arrow_batches(raw: memoryview, media_type: str) -> Iterator[dict[str, pa.Array]]:
    """Columns by name of a Parquet or Arrow file, batch by batch. Raises :class:`Unfit` for one that does not read."""
    try:
        for batch in _batches(pa.BufferReader(pa.py_buffer(raw)), media_type):
            batch.validate(full=True)
            names = batch.schema.names
            if len(names) > MOST_COLUMNS or len(set(names)) != len(names):
                raise Unfit("not_readable", f"{len(names)} columns with {len(set(names))} names")
            yield dict(zip(names, batch.columns, strict=True))
    except MemoryError:
        raise  # a machine may have too little: that is no verdict on the file, though Arrow's kind is its exception too
    except (pa.ArrowException, OSError, ValueError, OverflowError, TypeError) as error:
        raise Unfit("not_readable", f"the file does not read as {media_type}: {type(error).__name__}") from None


def _batches(source: pa.BufferReader, media_type: str) -> Iterator[pa.RecordBatch]:
    if media_type == ARROW_STREAM:
        with pa.ipc.open_stream(source) as stream:
            yield from stream
    elif media_type == ARROW_FILE:
        with pa.ipc.open_file(source) as file:
            for number in range(file.num_record_batches):
                yield file.get_batch(number)
    else:
        import pyarrow.parquet as pq

        yield from pq.ParquetFile(source).iter_batches(BATCH_ROWS, use_threads=False)


def converted(column: Column, values: pa.Array) -> pa.Array:
    """Arrow values as the card's type, without loss. Raises :class:`Unfit`: ``column_type``, ``column_precision``."""
    found, wanted = values.type, ARROW_TYPES[column.type]
    if pa.types.is_dictionary(found):
        values = values.dictionary_decode()
        found = values.type
    if not (pa.types.is_null(found) or FAMILIES[column.type](found)):
        raise Unfit("column_type", f"column {listed([column.name])} holds {found}", column.name)
    if pa.types.is_floating(found):
        values = pc.if_else(pc.is_nan(values), None, values)
        if pc.any(pc.is_inf(values)).as_py():
            raise Unfit("column_type", f"column {listed([column.name])} holds infinity", column.name)
    try:
        cast = values.cast(wanted, safe=True)
        if not column.rounded and pa.types.is_decimal(found) and not cast.cast(found, safe=False).equals(values):
            raise pa.ArrowInvalid(column.name)
    except pa.ArrowInvalid:
        rule = f"column {listed([column.name])} holds {found} that {wanted} does not keep"
        raise Unfit("column_precision", rule, column.name) from None
    return cast


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


FAMILIES = {
    "integer": pa.types.is_integer,
    "number": _is_number,
    "boolean": pa.types.is_boolean,
    "category": _is_text,
    "text": _is_text,
    "date": pa.types.is_date,
    "timestamp": pa.types.is_timestamp,
}


class Digits(str):
    """A JSON number as it was written."""

    __slots__ = ()


def json_batches(raw: memoryview) -> Iterator[dict[str, list[Any]]]:
    """JSON lines as columns of ``str``, :class:`Digits`, ``bool`` or None; a key that a line lacks is None.

    Every object has the keys of the first; a value is no list and no object. Raises :class:`Unfit`.
    """
    names: list[str] = []
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(_lines(raw), start=1):
        row = _object(line, number)
        names = names or list(row)
        if row.keys() - set(names) or len(names) > MOST_COLUMNS:
            raise Unfit("not_readable", f"line {number} has other keys than the first")
        rows.append(row)
        if len(rows) == BATCH_ROWS:
            yield {name: [row.get(name) for row in rows] for name in names}
            rows = []
    if rows:
        yield {name: [row.get(name) for row in rows] for name in names}


def _lines(raw: memoryview) -> Iterator[bytes]:
    at, end = 0, len(raw)
    data = bytes(raw)
    while at < end:
        after = data.find(b"\n", at)
        after = end if after < 0 else after
        if after - at > _LONGEST_LINE:
            raise Unfit("not_readable", f"a line is longer than {_LONGEST_LINE} bytes")
        if line := data[at:after].strip():
            yield line
        at = after + 1


def _object(line: bytes, number: int) -> dict[str, Any]:
    # How deep the interpreter follows brackets is a setting of the process, so it is not left to it.
    if line.count(b"[") + line.count(b"{") > _MOST_BRACKETS:
        raise Unfit("not_readable", f"line {number} has more than {_MOST_BRACKETS} brackets")
    try:
        row = json.loads(
            line.decode(), parse_int=Digits, parse_float=Digits, parse_constant=_refuse, object_pairs_hook=_unique
        )
    except (ValueError, RecursionError):
        raise Unfit("not_readable", f"line {number} is no JSON object with unique keys") from None
    if not isinstance(row, dict) or any(isinstance(value, list | dict) for value in row.values()):
        raise Unfit("not_readable", f"line {number} is no flat JSON object")
    return row


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) != len(pairs):
        raise ValueError("a key twice")
    return found


def _refuse(text: str) -> None:
    raise ValueError(text)


def json_texts(column: Column, cells: list[Any]) -> list[str | None]:
    """The cells as texts, where each is of the kind that the column's type asks of JSON. Raises :class:`Unfit`."""
    wanted: type = {"integer": Digits, "number": Digits, "boolean": bool}.get(column.type, str)
    others = sum(cell is not None and type(cell) is not wanted for cell in cells)
    if others:
        rule = f"column {listed([column.name])} holds {counted(others, 'value')} of another kind than {column.type}"
        raise Unfit("column_type", rule, column.name)
    return [None if cell is None else str(cell).lower() if wanted is bool else str(cell) for cell in cells]
