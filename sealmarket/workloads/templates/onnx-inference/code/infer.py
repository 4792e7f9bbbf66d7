"""Ask an ONNX model about tables of other owners: one line for each row, in their order.

The model names its features in its metadata; columns are taken by name, and what a cast to 32 bits would change is
refused with its column. A model that tells classes apart answers with the likeliest class and its probability.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # others reserve address space, which the sandbox counts

import numpy as np
import onnxruntime
import pyarrow as pa

_BATCH = 65_536


class Refused(ValueError):
    """Model and rows do not go together; names columns, never a cell."""


def run(inputs: Mapping[str, memoryview], parameters: Mapping[str, Any]) -> Mapping[str, bytes]:
    """Entry point: ``model`` and the tables ``rows-1``, ``rows-2`` … in, answers and a summary out."""
    session = _session(bytes(inputs["model"]))
    described = {key: _json(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    names = described.get("feature_names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Refused("the model does not name its features: metadata feature_names is missing")
    tables = sorted((name for name in inputs if name != "model"), key=lambda name: int(name.rpartition("-")[2]))
    text, counts = io.StringIO(), []
    lines = csv.writer(text, lineterminator="\n")
    labels = described.get("class_labels")
    lines.writerow(["table", "row", *(["value"] if labels is None else ["label", "probability"])])
    for number, name in enumerate(tables, start=1):
        rows = _features(inputs[name], names, keep=parameters["missing"] == "keep")
        counts.append(len(rows))
        answers = _answers(session, rows, classes=labels is not None)
        for row, answer in enumerate(_written(answers, labels, int(parameters["digits"])), start=1):
            lines.writerow([number, row, *answer])
    summary = {"features": names, "rows": counts, "target": described.get("target"), "task": described.get("task")}
    return {"answers.csv": text.getvalue().encode(), "summary.json": json.dumps(summary, sort_keys=True).encode()}


def _session(model: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    if len(session.get_inputs()) != 1:
        raise Refused(f"the model has {len(session.get_inputs())} inputs; expected one of rows and features")
    return session


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _features(raw: memoryview, names: list[str], *, keep: bool) -> np.ndarray:
    try:
        with pa.ipc.open_stream(pa.py_buffer(raw)) as stream:
            table = stream.read_all()
    except (pa.ArrowException, OSError):
        raise Refused("an input is no Arrow table; its asset needs a data card with a reader") from None
    if missing := [name for name in names if name not in table.column_names]:
        raise Refused(f"the rows lack the features {missing[:8]} of the model")
    return np.column_stack([_numbers(name, table.column(name), keep=keep) for name in names])


def _numbers(name: str, column: Any, *, keep: bool) -> np.ndarray:
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise Refused(f"the feature {name!r} is of type {kind}; expected numbers")
    if column.null_count and not keep:
        raise Refused(f"cells are missing in {name!r}; say missing=keep if the model knows what that means")
    wide = column.cast(pa.float64(), safe=False).to_numpy()
    with np.errstate(over="ignore"):
        narrow: np.ndarray = wide.astype(np.float32)
    if pa.types.is_integer(kind) and (narrow.astype(np.float64) != wide)[~np.isnan(wide)].any():
        raise Refused(f"whole numbers of {name!r} would change in 32 bits")
    return narrow


def _answers(session: Any, rows: np.ndarray, *, classes: bool) -> np.ndarray:
    """Probabilities (the last output) or quantities (the first), in two dimensions."""
    name, output = session.get_inputs()[0].name, session.get_outputs()[-1 if classes else 0].name
    parts = [
        session.run([output], {name: rows[start : start + _BATCH]})[0] for start in range(0, max(1, len(rows)), _BATCH)
    ]
    return np.concatenate(parts).reshape(len(rows), -1)


def _written(answers: np.ndarray, labels: list[Any] | None, digits: int) -> Iterator[list[str]]:
    if labels is None:
        yield from ([f"{value:.{digits}g}"] for value in answers[:, 0].tolist())
        return
    for probabilities in answers.tolist():
        likeliest = max(range(len(labels)), key=probabilities.__getitem__)
        yield [str(labels[likeliest]), f"{probabilities[likeliest]:.{digits}g}"]
