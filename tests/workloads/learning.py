"""Modules of the templates, loaded from their folders: they import each other by bare names."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from scripts.toolchain import ROOT

TEMPLATES = ROOT / "sealmarket/workloads/templates"


def load(template: str, module: str) -> ModuleType:
    """One module of a template. None of its siblings stays imported, since other bundles use the same names."""
    code = TEMPLATES / template / "code"
    own = {path.stem for path in code.glob("*.py")}
    others = {name: sys.modules.pop(name) for name in own & sys.modules.keys()}
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # a bundle with bytecode is refused
    sys.path.insert(0, str(code))
    try:
        return importlib.import_module(module)
    finally:
        sys.path.remove(str(code))
        sys.dont_write_bytecode = written
        for name in own:
            sys.modules.pop(name, None)
        sys.modules.update(others)
