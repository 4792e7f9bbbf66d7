"""The templates that train learn by the target's type, the same bytes each time, and pass the default validators."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sealmarket.protocol.output_rules import OnnxRules
from sealmarket.workloads.errors import FetchFailed
from sealmarket.workloads.measure import measure
from sealmarket.workloads.validators import json_rules, onnx_rules
from sealmarket_enclave.workload.bundle import Bundle
from tests.workloads.trained import held, locked, run, table

COLUMNS = ["age", "bmi", "smoker", "cost", "stage", "ill", "early", "middle", "late"]
TABLES = (table(900, 1), table(700, 2))
INPUTS = {f"rows-{number}": one for number, one in enumerate(TABLES, start=1)}
LEARNT = [
    ("cost", "stage,ill", "regression", None),
    ("stage", "cost,ill", "classification", ["early", "late", "middle"]),
    ("ill", "cost,stage", "classification", [False, True]),
]
PATIENTS = [[30, 20, 0], [85, 35, 1]]
ANSWERS = {"cost": [290, 705], "stage": [0, 1], "ill": [0, 1]}
"""What each target should say of these two: a quantity, or the place of a class in ``class_labels``."""


def network(outputs: int, *, quantity: bool) -> OnnxRules:
    """What an owner writes who allows the network of the PyTorch template over three features."""
    rules = onnx_rules(COLUMNS)
    layers = ((3,), (3,), (16, 3), (16,), (outputs, 16), (outputs,), *(((1,), (1,)) if quantity else ()))
    operators = ("Sub", "Mul", "Gemm", "Relu", "Softmax")
    return OnnxRules(
        operators=operators,
        architecture=layers,
        max_numbers=rules.max_numbers,
        numbers_per_thousand_cells=rules.numbers_per_thousand_cells,
        smallest_group=rules.smallest_group,
        max_text=rules.max_text,
        metadata=rules.metadata,
        words=rules.words,
    )


def project(template: str, folder: Path) -> Bundle:
    try:
        return locked(template, folder)
    except FetchFailed as error:
        pytest.skip(f"the wheels of {template} cannot be fetched here: {error}")


@pytest.mark.long
@pytest.mark.parametrize("template", ["xgboost", "pytorch"])
def test_a_template_learns_by_the_targets_type_alike_in_two_processes_and_its_model_may_leave(
    template: str, tmp_path: Path
) -> None:
    bundle = project(template, tmp_path)
    # Three classes take three times the trees: fewer of them stay below the owners' limit for so few rows.
    more = {"n_estimators": 30} if template == "xgboost" else {}
    for target, ignore, task, labels in LEARNT:
        words = {"target": target, "ignore": ignore, **more}
        first, second = (run(bundle, tmp_path / template, INPUTS, **words) for _ in range(2))
        assert first == second
        model, metrics = first["model.onnx"], json.loads(first["metrics.json"])
        assert (metrics["task"], metrics["target"], metrics["features"]) == (task, target, ["age", "bmi", "smoker"])
        assert metrics["splits"] == {"held_out": 320, "seed": 20191, "trained_on": 1200}
        assert metrics["score"] > 0.75
        described = metadata(model)
        assert described["workload_code_sha256"] == measure(bundle).code_sha256
        assert described["feature_names"] == ["age", "bmi", "smoker"]
        assert described.get("class_labels") == labels
        answers = predicted(model)
        if labels is None:
            assert np.abs(answers[:, 0] - ANSWERS[target]).max() < 60
        else:
            assert answers.argmax(axis=1).tolist() == ANSWERS[target]
        layers = network(1 if labels is None else len(labels), quantity=labels is None)
        rules = onnx_rules(COLUMNS) if template == "xgboost" else layers
        assert held("onnx", model, rules, *TABLES) is None
        assert held("json", first["metrics.json"], json_rules(COLUMNS)) is None


@pytest.mark.long
@pytest.mark.parametrize(("target", "ignore"), [("cost", "stage,ill"), ("ill", "cost,stage")])
def test_gradient_boosting_gives_the_same_bytes_twice_and_its_model_may_leave(
    target: str, ignore: str, tmp_path: Path
) -> None:
    bundle = project("gradient-boosting", tmp_path)
    words = {"target": target, "ignore": ignore}
    first, second = (run(bundle, tmp_path / "gradient-boosting", INPUTS, **words) for _ in range(2))
    assert first == second
    assert held("onnx", first["model.onnx"], onnx_rules(COLUMNS), *TABLES) is None
    assert held("json", first["metrics.json"], json_rules(COLUMNS)) is None


@pytest.mark.long
def test_a_model_whose_leaves_stand_for_single_rows_does_not_leave(tmp_path: Path) -> None:
    bundle = project("xgboost", tmp_path)
    words = {"target": "cost", "ignore": "stage,ill", "smallest_group": 1, "max_depth": 6, "n_estimators": 9}
    outputs = run(bundle, tmp_path / "xgboost", INPUTS, **words)
    assert held("onnx", outputs["model.onnx"], onnx_rules(COLUMNS), *TABLES) == "group_too_small"


@pytest.mark.long
def test_one_owners_model_answers_about_the_rows_of_others(tmp_path: Path) -> None:
    trainer, asker = project("xgboost", tmp_path), project("onnx-inference", tmp_path)
    model = run(trainer, tmp_path / "xgboost", INPUTS, target="ill", ignore="cost,stage")["model.onnx"]
    given = {"model": model, "rows-1": table(40, 7), "rows-2": table(30, 8)}
    first, second = (run(asker, tmp_path / "onnx-inference", given) for _ in range(2))
    assert first == second
    header, *lines = csv.reader(io.StringIO(first["answers.csv"].decode()))
    assert header == ["table", "row", "label", "probability"]
    assert len(lines) == 70
    assert {line[2] for line in lines} == {"False", "True"}
    assert json.loads(first["summary.json"])["rows"] == [40, 30]


def predicted(model: bytes) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"rows": np.array(PATIENTS, dtype=np.float32)})[-1]


def metadata(model: bytes) -> dict[str, Any]:
    import onnx

    return {one.key: json.loads(one.value) for one in onnx.load_from_string(model).metadata_props}
