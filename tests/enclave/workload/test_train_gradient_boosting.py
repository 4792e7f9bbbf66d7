"""The workload that the demo trains with: its bundle is sound, and what it makes is small, repeatable ONNX."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sealmarket.workloads.fetch import lock_environment
from sealmarket.workloads.folders import code_sha256, read_bundle, read_files
from sealmarket.workloads.trial import run_workload
from sealmarket.workloads.wheels import install
from sealmarket_enclave.sandbox import FailureKind, WorkloadFailed
from sealmarket_enclave.workload.environment import take
from sealmarket_enclave.workload.errors import ParametersRefused
from sealmarket_enclave.workload.manifest import parse_manifest
from tests.workloads.training import stream as stream_of

ROOT = Path(__file__).resolve().parents[3]
BUNDLE = ROOT / "workloads/train_gradient_boosting"
FILES = read_files(BUNDLE)
LOCK = hashlib.sha256(FILES["requirements.lock"].data).hexdigest()[:16]
KEPT = ROOT / "build/wheels" / f"{LOCK}-{sys.implementation.cache_tag}"
"""Where the demo keeps what it downloads."""
WHEELS = Path(os.environ.get("SEALMARKET_WHEELS", KEPT))
MANIFEST = parse_manifest(FILES["workload.toml"].data)


def stream(**columns: Any) -> bytes:
    """An Arrow stream, as a reader makes it."""
    return stream_of(pa.table(columns))


def rows(count: int, start: int, second: str = "visits") -> bytes:
    """A table in which the cost follows from the rest."""
    numbers = range(start, start + count)
    columns = {"age": [n % 61 for n in numbers], second: [n % 7 for n in numbers]}
    return stream(**columns, cost=[(n % 61) * 2 + (n % 7) ** 2 for n in numbers])


def test_every_requirement_is_pinned_with_hashes_and_no_address() -> None:
    lock = FILES["requirements.lock"].data.decode()
    pins = re.findall(r"^([a-z0-9-]+)==[^ ]+", lock, re.MULTILINE)
    blocks = re.split(r"^(?=[a-z0-9-]+==)", lock, flags=re.MULTILINE)[1:]
    assert len(pins) == len(blocks)
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in lock
    assert set(FILES["requirements.in"].data.decode().split()) <= set(pins)


def test_nothing_is_pickled() -> None:
    assert not any(b"pickle" in file.data for path, file in FILES.items() if path.startswith("code/"))


@pytest.mark.parametrize("name", ["n_estimators", "max_depth", "learning_rate", "task"])
def test_parameters_out_of_range_are_refused(name: str) -> None:
    with pytest.raises(ParametersRefused):
        MANIFEST.check_parameters({"target": "cost", name: 10**9})


def test_each_owner_is_one_input() -> None:
    assert MANIFEST.input_names(2) == ("rows-1", "rows-2")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The locked bundle and its environment, each in a folder of its own."""
    if not list(WHEELS.glob("*.whl")):
        pytest.skip(f"no wheels in {WHEELS}: run scripts/demo once, or set SEALMARKET_WHEELS")
    folder = tmp_path_factory.mktemp("training")
    shutil.copytree(BUNDLE, folder / "bundle")
    lock_environment(folder / "bundle", WHEELS)
    bundle = read_bundle(folder / "bundle")
    install(bundle.environment, WHEELS, folder / "unpacked")
    take(folder / "unpacked", bundle.environment, folder / "environment")
    bundle.write(folder / "private")
    return folder / "private", folder / "environment"


@pytest.mark.long
@pytest.mark.parametrize(("first", "second", "target"), [
    (rows(100, 0), rows(100, 0, "days"), "cost"),
    (rows(100, 0), rows(100, 100), "income"),
    (rows(10, 0), rows(10, 10), "cost"),
    (rows(100, 0), b"age,visits,cost\n1,2,3\n", "cost"),
])  # fmt: skip
def test_inputs_that_do_not_fit_together_fail_without_a_word_about_them(
    installed: tuple[Path, Path], first: bytes, second: bytes, target: str
) -> None:
    parameters = MANIFEST.check_parameters({"target": target})
    with pytest.raises(WorkloadFailed) as failure:
        run_workload(*installed, MANIFEST, {"rows-1": first, "rows-2": second}, parameters)
    assert failure.value.kind is FailureKind.RAISED


@pytest.mark.long
def test_the_model_is_onnx_that_predicts_and_the_same_every_time(installed: tuple[Path, Path]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    inputs = {"rows-1": rows(2000, 0), "rows-2": rows(2000, 2000)}
    parameters = MANIFEST.check_parameters({"target": "cost", "n_estimators": 60})
    first = run_workload(*installed, MANIFEST, inputs, parameters)
    assert first.files == run_workload(*installed, MANIFEST, inputs, parameters).files
    metrics = json.loads(first.files["metrics.json"])
    assert metrics["rows"] == 4000
    assert metrics["features"] == ["age", "visits"]
    assert metrics["splits"] == {"held_out": 800, "seed": MANIFEST.limits.seed, "trained_on": 3200}
    assert metrics["task"] == "regression"
    assert metrics["score"] > 0.95
    session = onnxruntime.InferenceSession(first.files["model.onnx"], providers=["CPUExecutionProvider"])
    import numpy as np

    (predicted,) = session.run(None, {"rows": np.array([[30, 3]], dtype=np.float32)})
    assert abs(float(predicted[0][0]) - 69) < 15


@pytest.mark.long
@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([0, 1], [0, 1]),
        ([-1, 1], [-1, 1]),
        ([0.0, 0.5, 1.0], ["0", "0.5", "1"]),
        ([20000001, 20000002, 20000003], [20000001, 20000002, 20000003]),
        (["healthy", "ill"], ["healthy", "ill"]),
    ],
)
def test_the_models_classes_are_the_labels_of_the_table_and_its_metadata_says_what_it_is(
    installed: tuple[Path, Path], labels: list[Any], classes: list[object]
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    import numpy as np

    kind = [n * len(labels) // 61 for n in (m % 61 for m in range(600))]
    file = stream(
        visits=[n % 61 for n in range(600)], age=[n % 7 for n in range(600)], kind=[labels[one] for one in kind]
    )
    parameters = MANIFEST.check_parameters({"target": "kind", "task": "classification", "n_estimators": 20})
    done = run_workload(*installed, MANIFEST, {"rows-1": file}, parameters)
    session = onnxruntime.InferenceSession(done.files["model.onnx"], providers=["CPUExecutionProvider"])
    inputs = np.array([[n % 61, n % 7] for n in range(600)], dtype=np.float32)
    predicted = session.run(None, {"rows": inputs})[0].tolist()
    assert predicted == [classes[one] for one in kind]
    described = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}
    assert described["feature_names"] == ["visits", "age"]
    assert described["class_labels"] == classes == json.loads(done.files["metrics.json"])["classes"]
    assert described["versions"].keys() == {"numpy", "onnx", "scikit-learn", "skl2onnx"}
    assert described["workload_code_sha256"] == code_sha256(FILES)
