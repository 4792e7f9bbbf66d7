"""Train one XGBoost model on the tables of several owners, and return it as ONNX.

Deterministic: one thread, no sampling. Each leaf stands for ``smallest_group`` rows or more of those trained on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import learning
import numpy as np
import onnx_model
import xgboost

_VERSIONS = ("numpy", "onnx", "pyarrow", "xgboost-cpu")


def run(inputs: Mapping[str, memoryview], parameters: Mapping[str, Any]) -> Mapping[str, bytes]:
    """Entry point. ``inputs`` are Arrow tables by name, ``parameters`` follow workload.toml."""
    seed, target = int(os.environ.get("SEALMARKET_SEED", "0")), str(parameters["target"])
    task = learning.prepare(inputs, parameters)
    kept, held = task.split(seed)
    rows = xgboost.DMatrix(task.features[kept], label=task.target[kept], nthread=1)
    booster = xgboost.train(_settings(task, parameters, seed), rows, num_boost_round=int(parameters["n_estimators"]))
    answers = booster.predict(xgboost.DMatrix(task.features[held], nthread=1))
    score = learning.score(task, held, _chosen(answers, task))
    versions = {name: version(name) for name in _VERSIONS}
    return {
        "model.onnx": onnx_model.of_booster(booster, task, learning.describe(task, target, versions)),
        "metrics.json": learning.report(task, target, seed, len(kept), len(held), score),
    }


def _settings(task: learning.Task, parameters: Mapping[str, Any], seed: int) -> dict[str, Any]:
    # A leaf's weight is its rows times the loss's curvature, which is at most 1 for squares and 1/4 for two classes
    # (1/2 for several): the bound on the weight is one on the rows.
    objective = "reg:squarederror" if task.labels is None else "binary:logistic"
    settings: dict[str, Any] = {"min_child_weight": float(parameters["smallest_group"])}
    if task.labels is not None:
        settings["min_child_weight"] /= 4 if len(task.labels) == 2 else 2
    if task.labels is not None and len(task.labels) > 2:
        objective, settings["num_class"] = "multi:softprob", len(task.labels)
    return settings | {
        "objective": objective,
        "max_depth": int(parameters["max_depth"]),
        "learning_rate": float(parameters["learning_rate"]),
        "tree_method": "hist",
        "nthread": 1,
        "seed": seed,
    }


def _chosen(answers: np.ndarray, task: learning.Task) -> np.ndarray:
    if task.labels is None:
        return answers
    return answers.argmax(axis=1) if answers.ndim == 2 else (answers > 0.5).astype(np.int64)
