"""How long a workload loads its modules: from sources, and from bytecode that its digest covers.

Processor time of the sandbox's process, from its start to the moment when it waits for its data, for the training
workload of the demo; medians of several loads, by turns.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from scripts.toolchain import ROOT
from sealmarket.workloads.cache import WorkloadCache
from sealmarket.workloads.fetch import lock_environment
from sealmarket.workloads.folders import read_bundle
from sealmarket_enclave.sandbox.runner import StartedWorkload
from sealmarket_enclave.workload.bundle import Bundle
from sealmarket_enclave.workload.environment import take

WORKLOAD = ROOT / "workloads/train_gradient_boosting"
RUNS = 5
TARGET = 0.5
"""Of the time from sources."""


def main(arguments: Sequence[str]) -> int:
    """Measure and report; 1 where bytecode does not halve the time."""
    parser = argparse.ArgumentParser(prog="scripts/bench load", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"loads of each ({RUNS})")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="sealmarket-") as name:
        prepared = {kind: _prepare(Path(name, kind), compiled=kind == "bytecode") for kind in ("sources", "bytecode")}
        loads: dict[str, list[float]] = {kind: [] for kind in prepared}
        for _ in range(options.runs):
            for kind, (bundle, folder) in prepared.items():
                loads[kind].append(_load(bundle, folder))
    results = [
        {"name": "workload_load_s", "value": round(statistics.median(loads["bytecode"]), 2), "unit": "s"},
        {"name": "workload_load_from_sources_s", "value": round(statistics.median(loads["sources"]), 2), "unit": "s"},
    ]
    if options.json:
        print(json.dumps({"bench": "load", "results": results}))
    else:
        for result in results:
            print(f"{result['name']:32}{result['value']:>8} {result['unit']}")
    return 0 if statistics.median(loads["bytecode"]) <= TARGET * statistics.median(loads["sources"]) else 1


def _prepare(folder: Path, *, compiled: bool) -> tuple[Bundle, Path]:
    """A locked copy of the workload, with code and environment as an enclave has them."""
    cache = WorkloadCache(ROOT / "build/workloads")
    shutil.copytree(WORKLOAD, folder / "source")
    lock_environment(folder / "source", cache.wheels(folder / "source"), compiled=compiled)
    bundle = read_bundle(folder / "source")
    take(cache.environment(bundle, folder / "source"), bundle.environment, folder / "environment")
    bundle.write(folder / "bundle")
    return bundle, folder


def _load(bundle: Bundle, folder: Path) -> float:
    manifest = bundle.manifest
    values = manifest.check_parameters({"target": "cost"})
    began = _children()
    with StartedWorkload(
        folder / "bundle", folder / "environment", manifest, manifest.input_names(1), values
    ) as started:
        started.loaded()
    return _children() - began


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
