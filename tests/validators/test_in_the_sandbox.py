"""The shipped validators as an enclave runs them: locked bundles in the sandbox, under the limits that they declare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.toolchain import ROOT
from sealmarket.protocol import output_rules
from sealmarket.workloads.cache import WorkloadCache
from sealmarket.workloads.errors import StepUnknown
from sealmarket.workloads.steps import Step, names, shipped
from sealmarket.workloads.validators import default_validators, json_rules, onnx_rules
from sealmarket_enclave.protocol.codec import Shape, from_builtins
from tests.validators import test_json, test_membership, test_onnx, test_safetensors, test_table
from tests.validators.bundles import ENTRY
from tests.validators.models import cost, forest, rows, spelled, table

KEPT = WorkloadCache(ROOT / "build/workloads")
"""Wheels of a hundred megabytes are downloaded once."""


def said(step: Step, output: bytes, rules: Shape, *tables: bytes) -> str | None:
    data = {f"data-{number}": one for number, one in enumerate(tables, start=1)}
    ended = step.run({"output": output, "rules": rules.canonical(), **data}, {})
    assert (ended.failure, ended.text) == ("", "")
    assert {"seccomp", "landlock-files"} <= set(ended.layers)
    verdict = json.loads(ended.outputs["verdict.json"])
    assert verdict["pass"] == (verdict["code"] is None)
    code: str | None = verdict["code"]
    return code


def read(shape: type[Shape], rules: dict[str, Any]) -> Shape:
    """Rules of a test as an owner's tools read them: the shape and the validator know the same keys."""
    return from_builtins(shape, rules)


def test_a_validator_that_is_none_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(StepUnknown, match="json, membership, onnx, safetensors, table"):
        shipped("gone", WorkloadCache(tmp_path), "validators")
    assert names("validators") == tuple(sorted(ENTRY))


def test_json_and_safetensors_need_no_wheels_and_judge_in_the_sandbox(tmp_path: Path) -> None:
    cache = WorkloadCache(tmp_path)
    step = shipped("json", cache, "validators")
    rules = read(output_rules.JsonRules, test_json.RULES)
    assert said(step, test_json.PATIENTS, rules) == "not_readable"
    assert said(step, b'{"score":0.5}', rules) is None
    step = shipped("safetensors", cache, "validators")
    rules = read(output_rules.SafetensorsRules, test_safetensors.RULES)
    assert said(step, test_safetensors.file(), rules) is None
    assert said(step, test_safetensors.file()[:-1], rules) == "not_readable"


def test_without_the_network_a_draft_has_the_validator_of_json(tmp_path: Path) -> None:
    (made,) = default_validators(WorkloadCache(tmp_path), ["text/plain", "application/json"], ["age", "bmi", "age"])
    assert list(made["rules"]["words"]) == ["age", "bmi"]
    assert made["digest"] == str(shipped("json", WorkloadCache(tmp_path), "validators").digest)
    assert (made["mediaType"], made["data"]) == ("application/json", False)


def test_rows_that_are_labelled_as_json_do_not_pass_the_default_rules(tmp_path: Path) -> None:
    step = shipped("json", WorkloadCache(tmp_path), "validators")
    assert said(step, b"age,cost\n" + b"41,1500.25\n" * 50, json_rules()) == "not_readable"
    assert said(step, json.dumps([[41, 1500.25]] * 500).encode(), json_rules()) == "too_many_numbers"
    assert said(step, json.dumps({"rows": "41;1500.25;" * 500}).encode(), json_rules()) == "too_much_text"
    assert said(step, json.dumps(["41;1500.25"] * 500).encode(), json_rules()) == "too_much_text"


def test_the_rules_of_every_validator_read_as_their_shapes() -> None:
    read(output_rules.OnnxRules, test_onnx.RULES)
    read(output_rules.OnnxRules, test_onnx.LAYERS)
    read(output_rules.TableRules, test_table.RULES)
    read(output_rules.MembershipRules, test_membership.RULES)


@pytest.mark.long
def test_the_others_judge_in_the_sandbox_with_their_locked_wheels() -> None:
    onnx = shipped("onnx", KEPT, "validators")
    model = spelled(test_onnx.FOREST)
    assert said(onnx, model, read(output_rules.OnnxRules, test_onnx.RULES), test_onnx.TABLE) is None
    assert said(onnx, model, onnx_rules(smallest_group=None)) is None
    assert said(onnx, model[:-1], onnx_rules(smallest_group=None)) == "not_readable"
    tables = shipped("table", KEPT, "validators")
    rules = read(output_rules.TableRules, test_table.RULES)
    assert said(tables, test_table.RIGHT, rules, test_table.TABLE) is None
    assert said(tables, test_table.RIGHT + b"west,1,99\n", rules, test_table.TABLE) == "group_too_small"
    membership = shipped("membership", KEPT, "validators")
    rules = read(output_rules.MembershipRules, test_membership.RULES)
    assert said(membership, test_membership.trained(1), rules, test_membership.TABLE) == "remembers_rows"
    assert said(membership, test_membership.trained(60), rules, test_membership.TABLE) is None


@pytest.mark.long
def test_leaves_of_many_trees_over_many_rows_are_counted_within_the_declared_limits() -> None:
    features = rows(100_000)
    target = cost(features)
    made = spelled(forest(features, target, trees=200, smallest=10_000))
    wide = table(features, cost=np.asarray(target))
    ended = shipped("onnx", KEPT, "validators").run(
        {"output": made, "rules": onnx_rules().canonical(), "data-1": wide}, {}
    )
    assert json.loads(ended.outputs["verdict.json"]) == {"code": None, "pass": True}
