"""The reader of tables: holds a file against its data card, and makes a typed Arrow table of it (docs/spec/card.md).

Columns come out in the card's order. What does not fit ends the reading with a code of the card's closed list; only a
run on the owner's own machine says more.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

# Arrow's own pools reserve address space, which the sandbox counts.
os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"

import binary
import checks
import csv_file
import inferring
import promise
import pyarrow as pa
import pyarrow.compute as pc
import spelled
from promise import Column, Promise
from unfit import Unfit
from withholding import Withholding, withholding_of

_NO_DIALECT = promise.Dialect("utf-8", ",", ".", "", 0, "", frozenset())
"""JSON spells numbers in one way, and missing values as null."""


def run(inputs: Mapping[str, memoryview], parameters: Mapping[str, Any]) -> Mapping[str, bytes]:
    """Entry point: ``data`` is the file, ``card`` its card (with ``infer``: what its owner states of it)."""
    pa.set_cpu_count(1)
    data, card = memoryview(inputs["data"]).cast("B"), bytes(inputs["card"])
    outputs: dict[str, bytes] = {}
    rows: int | None = None
    unfit: Unfit | None = None
    try:
        if parameters["infer"]:
            outputs["inferred.json"] = json.dumps(inferring.infer(data, json.loads(card)), sort_keys=True).encode()
        else:
            wanted = bool(parameters["table"])
            apart = withholding_of(parameters) if wanted else None
            rows, table, withheld = read(data, promise.read(card), table=wanted, apart=apart)
            outputs |= {"table.arrow": table} if wanted else {}
            outputs |= {"withheld.arrow": withheld} if apart else {}
    except Unfit as error:
        unfit = error
        if parameters["explain"] or parameters["infer"]:
            outputs["explanation.txt"] = error.detail.encode("utf-8", "replace")[:4096]
    report = {
        "fits": unfit is None,
        "code": unfit.code if unfit else None,
        "column": unfit.column[:200] if unfit and unfit.column else None,
        "rows": rows,
    }
    return outputs | {"report.json": json.dumps(report, sort_keys=True).encode()}


def read(
    data: memoryview, promised: Promise, *, table: bool, apart: Withholding | None = None
) -> tuple[int, bytes, bytes]:
    """The number of rows, the table as an Arrow stream (empty unless ``table``), and likewise the rows held ``apart``.

    Raises:
        Unfit: the first thing that is not as promised.
    """
    schema = pa.schema([pa.field(c.name, spelled.ARROW_TYPES[c.type], nullable=c.missing) for c in promised.columns])
    sinks = pa.BufferOutputStream(), pa.BufferOutputStream()
    rows = 0
    singles: dict[str, list[pa.Array]] = {column.name: [] for column in promised.columns if column.single}
    with pa.ipc.new_stream(sinks[0], schema) as stream, pa.ipc.new_stream(sinks[1], schema) as withheld:
        for arrays in _typed(data, promised):
            rows += len(arrays[0])
            if promised.rows is not None and rows > promised.rows[1]:
                checks.require_rows(rows, promised.rows)
            for column, values in zip(promised.columns, arrays, strict=True):
                checks.require_promised(column, values)
                if column.single:
                    singles[column.name].append(values)
            batch = pa.record_batch(arrays, schema=schema)
            if apart:
                kept = apart.kept(arrays)
                withheld.write_batch(batch.filter(pc.invert(kept)))
                batch = batch.filter(kept)
            if table:
                stream.write_batch(batch)
    checks.require_rows(rows, promised.rows)
    for name, chunks in singles.items():
        checks.require_single(name, pa.chunked_array(chunks))
    made, others = (sink.getvalue().to_pybytes() if table else b"" for sink in sinks)
    return rows, made, others if apart else b""


def _typed(data: memoryview, promised: Promise) -> Iterator[list[pa.Array]]:
    columns = promised.columns
    if promised.dialect is not None:
        for batch in csv_file.batches(data, promised.dialect):
            checks.require_names(columns, list(batch))
            yield [_of_csv(column, batch[column.name], promised.dialect) for column in columns]
    elif promised.media_type == binary.JSON_LINES:
        for cells in binary.json_batches(data):
            checks.require_names(columns, list(cells))
            yield [_of_json(column, cells[column.name]) for column in columns]
    else:
        for arrays in binary.arrow_batches(data, promised.media_type):
            checks.require_names(columns, list(arrays))
            yield [binary.converted(column, arrays[column.name]) for column in columns]


def _of_csv(column: Column, cells: pa.StringArray, dialect: promise.Dialect) -> pa.Array:
    return spelled.typed(column, spelled.cells_of(column.name, cells, dialect), dialect)


def _of_json(column: Column, cells: list[Any]) -> pa.Array:
    return spelled.typed(column, pa.array(binary.json_texts(column, cells), pa.string()), _NO_DIALECT)
