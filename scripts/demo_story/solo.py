"""A hospital on its own: the same workload on its own rows, in the same sandbox, without any market."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from scripts.demo_story.stage import PreparedWorkload
from sealmarket.workload.bundle import read_bundle
from sealmarket.workload.environment import install
from sealmarket_worker.sandbox.runner import run_workload


def train_alone(workload: PreparedWorkload, rows: bytes, parameters: Mapping[str, object]) -> bytes:
    """The model (ONNX) that the workload makes of one party's rows.

    Raises:
        WorkloadFailed, SandboxUnavailable: as in a job.
    """
    bundle = read_bundle(workload.folder)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle.write(folder / "bundle")
        install(bundle.environment, workload.wheels, folder / "environment")
        (slot,) = bundle.manifest.input_names(1)
        done = run_workload(
            folder / "bundle",
            folder / "environment",
            bundle.manifest,
            {slot: rows},
            bundle.manifest.check_parameters(parameters),
        )
    return done.files["model.onnx"]
