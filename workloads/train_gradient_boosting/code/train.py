"""Train one gradient boosting model on the rows of several owners, and return it as ONNX.

Every input is a typed table that the reader of its owner's card made, as an Arrow stream; all have the same columns, in
any order. ``values`` turns them into numbers and labels by stated rules (docs/spec/tables.md). The target column is a
parameter, all other columns are features. What leaves is the model and a few rounded figures over all rows together,
none of them about one owner or one row. Deterministic: the same rows, parameters and seed give the same bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import model
import pooling
import tasks
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
from sklearn.model_selection import train_test_split

_HELD_OUT = 0.2


def run(inputs: Mapping[str, memoryview], parameters: Mapping[str, Any]) -> Mapping[str, bytes]:
    """Entry point. ``inputs`` are Arrow streams by name, ``parameters`` follow workload.toml.

    Raises:
        TableRefused: inputs that cannot be read or learnt from, with the columns named.
    """
    seed = int(os.environ.get("SEALMARKET_SEED", "0"))
    pooled = pooling.pool(inputs, parameters)
    task = tasks.prepare(pooled.columns, str(parameters["target"]), str(parameters["task"]))
    split = train_test_split(
        task.features,
        task.target,
        test_size=_HELD_OUT,
        random_state=seed,
        stratify=task.target if task.classify else None,
    )
    kept, held, kept_target, held_target = split
    kind = GradientBoostingClassifier if task.classify else GradientBoostingRegressor
    fitted = kind(
        n_estimators=int(parameters["n_estimators"]),
        max_depth=int(parameters["max_depth"]),
        learning_rate=float(parameters["learning_rate"]),
        min_samples_leaf=int(parameters["smallest_group"]),
        random_state=seed,
    ).fit(kept, kept_target)
    metrics = {
        "features": list(task.names),
        "left_out": list(pooled.left_out),
        "rows": _rounded_down(len(task.target)),
        "rows_dropped": _rounded_down(pooled.dropped),
        "score": round(float(fitted.score(held, held_target)), 3),
        "score_kind": "accuracy" if task.classify else "r2",
        "splits": {"held_out": _rounded_down(len(held)), "seed": seed, "trained_on": _rounded_down(len(kept))},
        "target": str(parameters["target"]),
        "task": "classification" if task.classify else "regression",
    }
    if task.classify:
        metrics["classes"] = fitted.classes_.tolist()
    return {
        "model.onnx": model.to_onnx(fitted, model.describe(task, str(parameters["target"]), fitted)),
        "metrics.json": json.dumps(metrics, sort_keys=True).encode(),
    }


def _rounded_down(count: int) -> int:
    """Two significant digits: the exact number of rows is the owners' business."""
    unit = 10 ** max(0, len(str(count)) - 2)
    return count // unit * unit
