"""Train one gradient boosting model on the CSV rows of several owners, and return it as ONNX.

Every input is a CSV with one header line and numbers below it; all inputs have the same columns. The target column is
a parameter, all other columns are features. What leaves is the model and a few rounded figures over all rows
together, none of them about one owner or one row. Deterministic: the same rows, parameters and seed give the same
bytes.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
from sklearn.model_selection import train_test_split

_HELD_OUT = 0.2
_OPSET = 17
_FEWEST_ROWS = 50


def run(inputs: Mapping[str, memoryview], parameters: Mapping[str, Any]) -> Mapping[str, bytes]:
    """Entry point. ``inputs`` are CSV files by name, ``parameters`` follow workload.toml.

    Raises:
        ValueError: inputs whose columns differ, a missing target, too few rows, or something that is no number.
    """
    seed = int(os.environ.get("SEALMARKET_SEED", "0"))
    columns, rows = _pool([inputs[name] for name in sorted(inputs)])
    features, target = _apart(columns, rows, str(parameters["target"]))
    classify = parameters["task"] == "classification"
    if classify:
        target = target.astype(np.int64)
    kept, held, kept_target, held_target = train_test_split(features, target, test_size=_HELD_OUT, random_state=seed)
    kind = GradientBoostingClassifier if classify else GradientBoostingRegressor
    model = kind(
        n_estimators=int(parameters["n_estimators"]),
        max_depth=int(parameters["max_depth"]),
        learning_rate=float(parameters["learning_rate"]),
        random_state=seed,
    ).fit(kept, kept_target)
    metrics = {
        "features": len(columns) - 1,
        "rows": _rounded_down(len(rows)),
        "score": round(float(model.score(held, held_target)), 3),
        "score_kind": "accuracy" if classify else "r2",
        "task": str(parameters["task"]),
    }
    return {
        "model.onnx": _onnx(model, features.shape[1], classify=classify),
        "metrics.json": json.dumps(metrics, sort_keys=True).encode(),
    }


def _pool(files: list[memoryview]) -> tuple[list[str], np.ndarray]:
    """The rows of all files, one below the other, in float32, which is what ONNX will compute with."""
    header, parts = None, []
    for file in files:
        text = io.StringIO(bytes(file).decode("utf-8-sig"))
        columns = [column.strip().strip('"') for column in text.readline().strip().split(",")]
        if header is not None and columns != header:
            raise ValueError("the inputs differ in their columns")
        header = columns
        parts.append(np.loadtxt(text, delimiter=",", dtype=np.float32, ndmin=2))
    rows = np.concatenate(parts)
    if header is None or len(set(header)) != len(header) or rows.shape[1] != len(header):
        raise ValueError("the header does not name each column once")
    if len(rows) < _FEWEST_ROWS or not np.isfinite(rows).all():
        raise ValueError(f"expected at least {_FEWEST_ROWS} rows of finite numbers")
    return header, rows


def _apart(columns: list[str], rows: np.ndarray, target: str) -> tuple[np.ndarray, np.ndarray]:
    if target not in columns or len(columns) < 2:
        raise ValueError("the target is not a column, or is the only one")
    index = columns.index(target)
    return np.delete(rows, index, axis=1), rows[:, index]


def _onnx(model: Any, width: int, *, classify: bool) -> bytes:
    options = {id(model): {"zipmap": False}} if classify else None
    shape = [("rows", FloatTensorType([None, width]))]
    converted = convert_sklearn(model, "sealmarket", shape, options=options, target_opset=_OPSET)
    return bytes(converted.SerializeToString(deterministic=True))


def _rounded_down(count: int) -> int:
    """Two significant digits: the exact number of rows is the owners' business."""
    unit = 10 ** max(0, len(str(count)) - 2)
    return count // unit * unit
