"""The reader of archives, loaded from its bundle beside that of tables, whose modules have the same names."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from scripts.toolchain import ROOT

CODE = ROOT / "sealmarket/readers/members/code"
_NAMES = ("archives", "kinds", "read", "unfit")


def load() -> ModuleType:
    """The module ``read`` of the bundle; other modules of its names are left in their places."""
    others = {name: sys.modules.pop(name) for name in _NAMES if name in sys.modules}
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # a bundle with bytecode is refused
    sys.path.insert(0, str(CODE))
    try:
        return importlib.import_module("read")
    finally:
        sys.path.remove(str(CODE))
        sys.dont_write_bytecode = written
        for name in _NAMES:
            sys.modules.pop(name, None)
        sys.modules.update(others)
