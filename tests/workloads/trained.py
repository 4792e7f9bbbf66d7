"""The templates as their users run them: created, locked, and run in the sandbox; and tables for them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from scripts.toolchain import ROOT
from sealmarket.workloads.cache import WorkloadCache
from sealmarket.workloads.fetch import lock_environment
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.steps import shipped
from sealmarket.workloads.templates import create
from sealmarket.workloads.trial import run_workload
from sealmarket_enclave.protocol.codec import Shape
from sealmarket_enclave.workload.bundle import Bundle

KEPT = WorkloadCache(ROOT / "build/workloads")
"""Wheels of hundreds of megabytes are downloaded once."""


def locked(template: str, folder: Path) -> Bundle:
    """A new project of a template, locked as it is."""
    made = folder / template
    create(made, template)
    lock_environment(made, KEPT.wheels(made))
    return read_bundle(made)


def run(bundle: Bundle, folder: Path, inputs: Mapping[str, bytes], **parameters: Any) -> dict[str, bytes]:
    """What one run of it in a sandbox of its own returns. ``folder`` is the project's."""
    private = folder.with_name(f"{folder.name}-private")
    if not private.exists():
        bundle.write(private)
    environment, values = KEPT.environment(bundle, folder), bundle.manifest.check_parameters(parameters)
    return dict(run_workload(private, environment, bundle.manifest, inputs, values).files)


def held(name: str, output: bytes, rules: Shape, *tables: bytes) -> str | None:
    """What a shipped validator says of an output."""
    data = {f"data-{number}": table for number, table in enumerate(tables, start=1)}
    ended = shipped(name, KEPT, "validators").run({"output": output, "rules": rules.canonical(), **data}, {})
    assert ended.failure == "", ended.text
    code: str | None = json.loads(ended.outputs["verdict.json"])["code"]
    return code


def table(count: int, seed: int, **more: Any) -> bytes:
    """Patients: ``age`` (whole), ``bmi``, ``smoker``, and what follows from them: ``cost``, ``stage``, ``ill``."""
    random = np.random.default_rng(seed)
    age, bmi = random.integers(20, 90, count), random.normal(26, 4, count).round(1)
    smoker = random.random(count) < 0.3
    cost = (age * 3 + bmi * 10 + smoker * 100 + random.normal(0, 20, count)).round(2)
    stage = np.where(cost < 450, "early", np.where(cost < 550, "middle", "late"))
    columns = {"age": age, "bmi": bmi, "smoker": smoker, "cost": cost, "stage": stage, "ill": cost > 500}
    made = pa.table(columns | more)
    return arrow(made)


def arrow(made: pa.Table) -> bytes:
    """A table as an Arrow IPC stream."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, made.schema) as writer:
        writer.write_table(made)
    return sink.getvalue()
