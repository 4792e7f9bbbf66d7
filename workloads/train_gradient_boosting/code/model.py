"""The trained model as ONNX, with what a reader needs to use it: features, classes, versions, and the code's hash."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType

if TYPE_CHECKING:
    from tasks import Task

OPSET = 17
_VERSIONS = ("scikit-learn", "skl2onnx", "onnx", "numpy")


def describe(task: Task, target: str, fitted: Any) -> dict[str, str]:
    """The model's metadata: JSON texts by key, in the order of the input's columns."""
    described: dict[str, Any] = {
        "feature_names": list(task.names),
        "target": target,
        "task": "classification" if task.classify else "regression",
        "versions": {name: version(name) for name in _VERSIONS},
        "workload_code_sha256": code_hash(Path(__file__).parent),
    }
    if task.classify:
        described["class_labels"] = fitted.classes_.tolist()
    return {key: json.dumps(value, ensure_ascii=False, sort_keys=True) for key, value in described.items()}


def to_onnx(fitted: Any, metadata: dict[str, str]) -> bytes:
    """ONNX with one input ``rows`` of 32-bit floats, shape (n, features), in the order of ``feature_names``."""
    options = {id(fitted): {"zipmap": False}} if hasattr(fitted, "classes_") else None
    shape = [("rows", FloatTensorType([None, fitted.n_features_in_]))]
    converted = convert_sklearn(fitted, "sealmarket", shape, options=options, target_opset=OPSET)
    onnx.helper.set_model_props(converted, dict(sorted(metadata.items())))
    return bytes(converted.SerializeToString(deterministic=True))


def code_hash(folder: Path) -> str:
    """SHA-256 over the code's files: lines of ``path``, two blanks, hex of the file's SHA-256, sorted by path.

    ``sealmarket workload measure`` prints it beside the workload's digest, which the code itself cannot know.
    """
    lines = [
        f"{path.relative_to(folder).as_posix()}  {hashlib.sha256(path.read_bytes()).hexdigest()}\n"
        for path in folder.rglob("*")
        if path.is_file()
    ]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
