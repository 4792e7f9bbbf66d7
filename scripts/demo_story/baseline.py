"""A hospital on its own: the same workload on its own rows, in the same sandbox, without any market."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from scripts.demo_story.setup import PreparedWorkload, describe_rows
from sealmarket.workloads.cache import WorkloadCache
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.local_steps import StepShelf, read_by_cards
from sealmarket.workloads.trial import run_workload
from sealmarket.workloads.wheels import install
from sealmarket_enclave.workload.bundle import Bundle


def train_alone(workload: PreparedWorkload, rows: bytes, parameters: Mapping[str, object]) -> bytes:
    """The model (ONNX) that the workload makes of one party's rows.

    Raises:
        WorkloadFailed, SandboxUnavailable: as in a job.
    """
    bundle = read_bundle(workload.folder)
    environment = workload.folder.with_name("home-environment")
    if not environment.exists():
        install(bundle.environment, workload.wheels, environment)
    with tempfile.TemporaryDirectory() as name:
        code = Path(name, "bundle")
        bundle.write(code)
        (slot,) = bundle.manifest.input_names(1)
        checked = bundle.manifest.check_parameters(parameters)
        done = run_workload(code, environment, bundle.manifest, {slot: table_of(bundle, slot, rows)}, checked)
    return done.files["model.onnx"]


def table_of(bundle: Bundle, slot: str, rows: bytes) -> bytes:
    """What the workload is given of one party's rows: the table that the reader makes of them."""
    shelf = StepShelf(WorkloadCache.of_user())
    return read_by_cards(bundle.manifest, {slot: rows}, [describe_rows(rows, "")], shelf).given[slot]
