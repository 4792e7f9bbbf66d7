"""The validators' own code, loaded from their bundles, and what it says of an output."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from scripts.toolchain import ROOT

FOLDER = ROOT / "sealmarket/validators"
ENTRY = {
    "json": "json_output",
    "membership": "membership",
    "onnx": "onnx_output",
    "safetensors": "safetensors_output",
    "table": "table_output",
}


def load(name: str) -> ModuleType:
    """The entry module of one validator."""
    return load_code(FOLDER / name / "code", ENTRY[name])


def load_code(code: Path, entry: str) -> ModuleType:
    """A module of a bundle. Its siblings have names that other bundles use too: none stays imported."""
    own = {path.stem for path in code.glob("*.py")}
    others = {module: sys.modules.pop(module) for module in own & sys.modules.keys()}
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # a bundle with bytecode is refused
    sys.path.insert(0, str(code))
    try:
        return importlib.import_module(entry)
    finally:
        sys.path.remove(str(code))
        sys.dont_write_bytecode = written
        for module in own:
            sys.modules.pop(module, None)
        sys.modules.update(others)


def verdict(
    validator: ModuleType, output: bytes, rules: Any, *tables: bytes, withheld: Sequence[bytes] = ()
) -> str | None:
    """The code under which the output is withheld, or None where it may leave."""
    files = validator.run(given(output, rules, *tables, withheld=withheld), {})
    said = json.loads(files["verdict.json"])
    assert files.keys() == {"verdict.json"}
    assert said["pass"] == (said["code"] is None)
    code: str | None = said["code"]
    return code


def given(output: bytes, rules: Any, *tables: bytes, withheld: Sequence[bytes] = ()) -> Mapping[str, memoryview]:
    """The inputs of a validator, as the sandbox passes them."""
    spelled = json.dumps(rules, sort_keys=True, separators=(",", ":")).encode()
    data = {f"data-{number}": memoryview(table) for number, table in enumerate(tables, start=1)}
    data |= {f"withheld-{number}": memoryview(table) for number, table in enumerate(withheld, start=1)}
    return {"output": memoryview(output), "rules": memoryview(spelled), **data}


def files(name: str) -> list[Path]:
    """The files of a validator's code."""
    return sorted((FOLDER / name / "code").glob("*.py"))
