"""The shipped validators as an enclave runs them: locked bundles in the sandbox, under the limits that they declare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest

from scripts.toolchain import ROOT
from sealmarket.protocol import output_rules
from sealmarket.workloads.cache import WorkloadCache
from sealmarket.workloads.errors import StepUnknown
from sealmarket.workloads.local import LocalRun
from sealmarket.workloads.local_steps import StepShelf, judged, read_by_cards
from sealmarket.workloads.steps import Kind, Step, names, shipped
from sealmarket.workloads.validators import default_validators, json_rules, onnx_rules
from sealmarket_enclave.protocol.card import ARROW, Card, Column, ReaderRef
from sealmarket_enclave.protocol.codec import Shape, from_builtins, to_builtins
from sealmarket_enclave.protocol.policy import OutputRules, Validator
from sealmarket_enclave.workload.manifest import parse_manifest
from tests.validators import test_json, test_membership, test_onnx, test_safetensors, test_table
from tests.validators.bundles import ENTRY
from tests.validators.models import NAMES, cost, forest, rows, spelled, table

KEPT = WorkloadCache(ROOT / "build/workloads")
"""Wheels of a hundred megabytes are downloaded once."""
ONNX = "application/onnx"
TRAINS = f"""\
schema = 1
name = "train"
version = "1.0.0"
summary = "Learns from a table."
entry_point = "train:run"

[[inputs]]
name = "rows"
media_type = "{ARROW}"

[[outputs]]
name = "model.onnx"
media_type = "{ONNX}"
max_bytes = 16777216

[limits]
cpu_seconds = 20
wall_seconds = 20
memory_bytes = 1073741824
"""


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


@pytest.mark.parametrize("kind", get_args(Kind))
def test_what_every_shipped_step_says_of_itself_reads(kind: Kind) -> None:
    for name in names(kind):
        assert parse_manifest((ROOT / "sealmarket" / kind / name / "workload.toml").read_bytes()).name


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


@pytest.mark.long
def test_a_tree_that_remembers_the_rows_it_was_given_is_refused_and_a_sound_model_leaves() -> None:
    step, features = shipped("membership", KEPT, "validators"), rows(3000)
    rules = read(output_rules.MembershipRules, test_membership.RULES)
    check = Validator(media_type=ONNX, digest=step.digest, rules=to_builtins(rules), withheld=100)
    demand = OutputRules(media_types=(ONNX,), max_outputs=1, max_bytes=1 << 24, bucket_bytes=1, validators=(check,))
    manifest, shelf = parse_manifest(TRAINS.encode()), StepShelf(KEPT)
    columns = tuple(Column(name=name, type="number") for name in (*NAMES, "cost"))
    reader = ReaderRef(name="tables", digest=shipped("tables", KEPT).digest)
    card = Card(kind="table", media_type=ARROW, reader=reader, columns=columns)
    file = table(features.astype(np.float64), cost=cost(features))
    inputs = read_by_cards(manifest, {"rows": file}, [card], shelf, demand.withholds)
    given = pa.ipc.open_stream(inputs.given["rows"]).read_all()
    assert 2600 < given.num_rows < 2800
    had = np.column_stack([given.column(name).to_numpy() for name in NAMES]).astype(np.float32)
    target = given.column("cost").to_numpy()
    for model, code in ((forest(had, target, trees=1, smallest=1), "remembers_rows"), (forest(had, target), None)):
        ran = LocalRun(failure="", outputs={"model.onnx": spelled(model)})
        ended, (one,) = judged(ran, manifest, demand, inputs, shelf)
        assert (one.name, one.code) == ("membership", code)
        assert ended.failure == ("output_refused" if code else "")


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
