"""What a table of its owner holds: dialect, columns with types, and what is odd. Runs on the owner's own machine.

All figures go to the owner, who chooses which of them the card shows. Types are those of cards; of two that fit the
narrower is taken: integer, number, boolean, date, timestamp, category, text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import binary
import csv_file
import promise
import pyarrow as pa
import pyarrow.compute as pc
import single
import sniffing
import spelled
from promise import Column, Dialect
from unfit import Unfit, counted

FEWEST_OF_A_CLASS = 10
"""A label of fewer rows may tell who is in the data, so such a column is text until its owner declares it."""
MOST_CLASSES = 50
_FEWEST_KEYS = 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PATTERNS = {
    "integer": spelled.INTEGER,
    "number": spelled.NUMBER,
    "boolean": r"^(?i:true|false)$",
    "date": spelled.DATE,
    "timestamp": spelled.TIMESTAMP,
}
_ORDERED = ("integer", "number", "date", "timestamp")
_NO_DIALECT = Dialect("utf-8", ",", ".", "", 0, "", frozenset())


def infer(data: memoryview, stated: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a table. ``stated`` may hold ``mediaType``, ``dialect`` (some fields) and ``types`` by column.

    Raises:
        Unfit: a file with two readings, or none; a column that is not of its stated type.
    """
    kind = stated.get("mediaType") or sniffing.media_type(data)
    types = stated.get("types", {})
    if kind == sniffing.CSV:
        texts, dialect = _csv(data, stated.get("dialect", {}))
        columns = [_of_texts(name, cells, dialect, types.get(name)) for name, cells in texts.items()]
    elif kind == binary.JSON_LINES:
        dialect = None
        columns = [_of_json(name, cells, types.get(name)) for name, cells in _joined(binary.json_batches(data)).items()]
    else:
        dialect = None
        arrays = _joined(binary.arrow_batches(data, kind))
        columns = [_of_arrow(name, chunks, types.get(name)) for name, chunks in arrays.items()]
    if unknown := [name for name in types if name not in {column["name"] for column in columns}]:
        raise Unfit("column_missing", f"there is no column {unknown[0]!r} to declare", unknown[0])
    if not columns or not columns[0]["rows"]:
        raise Unfit("row_count", "there are no rows: expected one at least")
    return {"mediaType": kind, "dialect": _spelled(dialect), "rows": columns[0]["rows"], "columns": columns}


def _spelled(dialect: Dialect | None) -> dict[str, Any] | None:
    if dialect is None:
        return None
    return {
        "encoding": dialect.encoding,
        "delimiter": dialect.delimiter,
        "decimal": dialect.decimal,
        "thousands": dialect.thousands,
        "skipLines": dialect.skip_lines,
        "comment": dialect.comment,
        "missing": sorted(dialect.missing),
    }


def _joined(batches: Iterator[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The batches of each column, in order. Raises :class:`Unfit` where batches have other columns."""
    joined: dict[str, list[Any]] = {}
    for number, batch in enumerate(batches):
        if number and batch.keys() != joined.keys():
            raise Unfit("not_readable", "the parts of the file have other columns")
        for name, cells in batch.items():
            joined.setdefault(name, []).append(cells)
    return joined


def _csv(data: memoryview, stated: Mapping[str, Any]) -> tuple[dict[str, pa.ChunkedArray], Dialect]:
    known = sniffing.dialect(data, stated)
    batches = (
        {name: spelled.cells_of(name, cells, known) for name, cells in batch.items()}
        for batch in csv_file.batches(data, known)
    )
    texts = {name: pa.chunked_array(chunks, pa.string()) for name, chunks in _joined(batches).items()}
    if "decimal" not in stated and "thousands" not in stated:
        mark = sniffing.decimal_mark(texts)
        known = promise.dialect_of({**(_spelled(known) or {}), "decimal": mark})
    return texts, known


def _of_texts(name: str, texts: pa.ChunkedArray, dialect: Dialect, declared: str | None) -> dict[str, Any]:
    whole = texts.combine_chunks()
    plain = spelled.plain_numbers(whole, dialect)
    found = {kind: plain if kind in ("integer", "number") else whole for kind in _PATTERNS}
    there = len(whole) - whole.null_count
    fits = {kind: pc.sum(spelled.matching(found[kind], pattern)).as_py() or 0 for kind, pattern in _PATTERNS.items()}
    kind = declared or next((k for k in _PATTERNS if there and fits[k] == there), None) or _text_kind(whole)
    odd = []
    if kind in ("text", "category") and not declared and there and 0 < there - fits["number"] <= there // 10:
        odd.append(f"{counted(there - fits['number'], 'cell')} of {there} {_is(there - fits['number'])} no number")
    return _described(name, kind, whole, dialect, odd)


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _text_kind(texts: pa.Array) -> str:
    """``category`` for few labels of many rows each, else ``text``."""
    sizes = pc.value_counts(texts.drop_null()).field("counts").to_pylist()
    return "category" if sizes and len(sizes) <= MOST_CLASSES and min(sizes) >= FEWEST_OF_A_CLASS else "text"


def _described(name: str, kind: str, texts: pa.Array, dialect: Dialect, odd: list[str]) -> dict[str, Any]:
    """A column of texts as its type; numbers that a float does not keep make it a rounded one."""
    rounded = False
    try:
        values = spelled.typed(_column(name, kind, rounded=False), texts, dialect)
    except Unfit as error:
        if kind != "number" or error.code != "column_precision":
            raise
        rounded = True
        odd = [*odd, "some numbers have more digits than 64-bit floats keep: the card says that they are rounded"]
        values = spelled.typed(_column(name, kind, rounded=True), texts, dialect)
    return _facts(name, kind, values, odd) | {"rounded": rounded}


def _column(name: str, kind: str, *, rounded: bool) -> Column:
    return Column(name, kind, missing=True, rounded=rounded, single=False, minimum=None, maximum=None, classes=())


def _of_json(name: str, chunks: list[list[Any]], declared: str | None) -> dict[str, Any]:
    cells = [cell for chunk in chunks for cell in chunk]
    kinds = {type(cell) for cell in cells if cell is not None}
    if len(kinds) > 1:
        raise Unfit("column_type", f"column {name[:60]!r} holds values of several kinds", name)
    texts = pa.array([None if cell is None else str(cell).lower() if kinds == {bool} else str(cell) for cell in cells])
    chunked = pa.chunked_array([texts.cast(pa.string())])
    if kinds == {str} and declared is None:
        whole = chunked.combine_chunks()
        dated = [k for k in ("date", "timestamp") if pc.all(spelled.matching(whole, _PATTERNS[k])).as_py()]
        return _described(name, dated[0] if dated else _text_kind(whole), whole, _NO_DIALECT, [])
    return _of_texts(name, chunked, _NO_DIALECT, declared)


def _of_arrow(name: str, chunks: list[pa.Array], declared: str | None) -> dict[str, Any]:
    found = chunks[0].type
    kind = declared or _arrow_kind(found)
    if kind is None:
        raise Unfit("column_type", f"column {name[:60]!r} holds {found}, which no card describes: leave it out", name)
    rounded, odd = False, []
    try:
        parts = [binary.converted(_column(name, kind, rounded=False), chunk) for chunk in chunks]
    except Unfit as error:
        if kind != "number" or error.code != "column_precision":
            raise
        rounded, odd = True, ["some numbers have more digits than 64-bit floats keep"]
        parts = [binary.converted(_column(name, kind, rounded=True), chunk) for chunk in chunks]
    values = pa.concat_arrays(parts)
    if kind == "text" and not declared:
        kind = _text_kind(values)
    return _facts(name, kind, values, odd) | {"rounded": rounded}


def _arrow_kind(found: pa.DataType) -> str | None:
    if pa.types.is_dictionary(found):
        found = found.value_type
    if pa.types.is_null(found):
        return "text"
    tests = {kind: binary.FAMILIES[kind] for kind in ("integer", "number", "boolean", "text", "date", "timestamp")}
    return next((kind for kind, test in tests.items() if test(found)), None)


def _facts(name: str, kind: str, values: pa.Array, odd: list[str]) -> dict[str, Any]:
    """All that is known of a column. Texts spell values in the column's own notation."""
    there = values.drop_null()
    distinct = pc.count_distinct(there).as_py()
    facts: dict[str, Any] = {
        "name": name,
        "type": kind,
        "rows": len(values),
        "missing": values.null_count,
        "distinct": distinct,
        "single": kind in ("integer", "number") and single.fits(there),
        "odd": [*odd, *_oddities(kind, there, distinct)],
    }
    if kind in _ORDERED and len(there):
        facts |= {"minimum": spell(pc.min(there)), "maximum": spell(pc.max(there))}
    if kind in ("integer", "number") and len(there):
        facts |= {"mean": repr(pc.mean(there).as_py()), "deviation": repr(pc.stddev(there).as_py())}
    if kind == "category":
        counts = {str(item["values"]): int(item["counts"]) for item in pc.value_counts(there).to_pylist()}
        facts["classes"] = dict(sorted(counts.items()))
    return facts


def _oddities(kind: str, there: pa.Array, distinct: int) -> Iterator[str]:
    if not len(there):
        yield "empty: each cell is missing"
    elif distinct == 1 and len(there) > 1:
        yield "constant: one value in all rows"
    elif distinct == len(there) >= _FEWEST_KEYS and kind in ("integer", "text", "timestamp"):
        yield "like a key: each row has its own value, which may name a person"


def spell(value: pa.Scalar) -> str:
    """A value in the notation of bounds."""
    if pa.types.is_timestamp(value.type):  # microseconds in UTC; Arrow itself looks for a database of time zones
        return (_EPOCH + timedelta(microseconds=value.value)).isoformat()
    found = value.as_py()
    return found.isoformat() if hasattr(found, "isoformat") else repr(found)
