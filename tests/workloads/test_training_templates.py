"""The training templates learn what the target's type says, the same bytes each time, and pass the default validators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sealmarket.workloads.measure import measure
from tests.workloads.trained import arrow, held_by_default, locked, run, table

COLUMNS = ["age", "bmi", "smoker", "cost", "stage", "ill", "early", "middle", "late"]
TABLES = (table(900, 1), table(700, 2))
INPUTS = {f"rows-{number}": one for number, one in enumerate(TABLES, start=1)}
LEARNT = [
    ("cost", "stage,ill", "regression", None),
    ("stage", "cost,ill", "classification", ["early", "late", "middle"]),
    ("ill", "cost,stage", "classification", [False, True]),
]


def predicted(model: bytes, rows: list[list[float]]) -> Any:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"rows": np.array(rows, dtype=np.float32)})


def metadata(model: bytes) -> dict[str, Any]:
    import onnx

    return {one.key: json.loads(one.value) for one in onnx.load_from_string(model).metadata_props}


@pytest.mark.long
@pytest.mark.parametrize("template", ["xgboost", "pytorch"])
def test_what_cannot_be_learnt_is_refused_with_the_column_and_no_cell(template: str, tmp_path: Path) -> None:
    bundle = locked(template, tmp_path)
    large = table(100, 3, id=np.arange(100) + (1 << 40))
    hole = arrow(_with_a_hole())
    for inputs, parameters, said in [
        ({"rows-1": TABLES[0]}, {"target": "wage"}, "there is no column 'wage'"),
        ({"rows-1": TABLES[0]}, {"target": "cost"}, "the feature 'stage' is of type string"),
        ({"rows-1": TABLES[0]}, {"target": "cost", "ignore": "stage,ill", "task": "classification"}, "type double"),
        ({"rows-1": TABLES[0]}, {"target": "stage", "ignore": "ill", "task": "regression"}, "which is no quantity"),
        ({"rows-1": table(40, 3)}, {"target": "cost", "ignore": "stage,ill"}, "expected 50 rows"),
        ({"rows-1": large}, {"target": "cost", "ignore": "stage,ill"}, "would change in 32 bits"),
        ({"rows-1": TABLES[0], "rows-2": large}, {"target": "cost"}, "other columns or types"),
        ({"rows-1": hole}, {"target": "cost", "ignore": "stage,ill"}, "cells are missing in ['age']"),
        ({"rows-1": b"age,cost\n41,1500\n"}, {"target": "cost"}, "is no Arrow table"),
    ]:  # fmt: skip
        ended = run(bundle, tmp_path / template, inputs, **parameters)
        assert ended.failure == "raised"
        assert said in ended.text


def _with_a_hole() -> Any:
    import pyarrow as pa

    with pa.ipc.open_stream(TABLES[0]) as stream:
        whole = stream.read_all()
    ages = [None, *whole.column("age").to_pylist()[1:]]
    return whole.set_column(0, "age", pa.array(ages, pa.int64()))


@pytest.mark.long
@pytest.mark.parametrize(("target", "ignore", "task", "labels"), LEARNT)
def test_xgboost_learns_by_the_targets_type_alike_in_two_processes_and_its_model_may_leave(
    target: str, ignore: str, task: str, labels: list[Any] | None, tmp_path: Path
) -> None:
    bundle = locked("xgboost", tmp_path)
    first, second = (run(bundle, tmp_path / "xgboost", INPUTS, target=target, ignore=ignore) for _ in range(2))
    assert first.failure == "", first.text
    assert first.outputs == second.outputs
    model, metrics = first.outputs["model.onnx"], json.loads(first.outputs["metrics.json"])
    assert (metrics["task"], metrics["target"], metrics["features"]) == (task, target, ["age", "bmi", "smoker"])
    assert metrics["splits"] == {"held_out": 320, "seed": 20191, "trained_on": 1200}
    assert metrics["score"] > 0.75
    described = metadata(model)
    assert described["workload_code_sha256"] == measure(bundle).code_sha256
    assert described["feature_names"] == ["age", "bmi", "smoker"]
    assert described.get("class_labels") == labels
    _, *rest = answers = predicted(model, [[30, 20, 0], [85, 35, 1]])
    wanted = {"cost": None, "stage": ["early", "late"], "ill": [0, 1]}[target]
    if wanted is None:
        assert abs(answers[0][:, 0] - np.array([290, 705])).max() < 60
    else:
        assert list(answers[0]) == wanted
        assert np.allclose(rest[0].sum(axis=1), 1, atol=1e-5)
    assert held_by_default(first.outputs, COLUMNS, *TABLES) == [None, None]


@pytest.mark.long
def test_a_model_whose_leaves_stand_for_single_rows_does_not_leave(tmp_path: Path) -> None:
    bundle = locked("xgboost", tmp_path)
    words = {"target": "cost", "ignore": "stage,ill", "smallest_group": 1, "max_depth": 6, "n_estimators": 20}
    ended = run(bundle, tmp_path / "xgboost", INPUTS, **words)
    assert held_by_default(ended.outputs, COLUMNS, *TABLES) == ["group_too_small", None]
