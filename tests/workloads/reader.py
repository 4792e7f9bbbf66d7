"""The training workload's own reader, loaded from its bundle; it needs numpy and nothing else."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

from scripts.toolchain import ROOT

CODE = ROOT / "workloads/train_gradient_boosting/code"
DEFAULTS: dict[str, Any] = {"ignore": "", "missing": "refuse", "delimiter": "auto", "decimal": "auto"}


def load(name: str) -> ModuleType:
    """A module of the bundle's ``code`` folder, by the name under which the others import it."""
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # a bundle with bytecode is refused
    sys.path.insert(0, str(CODE))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(CODE))
        sys.dont_write_bytecode = written


pooling, tables, tasks, values = (load(name) for name in ("pooling", "tables", "tasks", "values"))
TableRefused: type[ValueError] = load("refusals").TableRefused


def prepare(*files: bytes, target: str = "score", task: str = "auto", **parameters: Any) -> Any:
    """What the workload learns from these files; raises its refusal."""
    inputs = {f"rows-{number}": memoryview(file) for number, file in enumerate(files, start=1)}
    pooled = pooling.pool(inputs, DEFAULTS | parameters)
    return tasks.prepare(pooled.columns, target, task)
