"""The sandboxed process: confine itself, then load the workload, run it once, write its outputs.

Started as ``interpreter -P -s -S -B launcher.py SETTINGS_FD`` with a cleared environment: ``-I`` without its
``-E``, since the only ``PYTHON*`` variable there is ours, a fixed hash seed, without which no run could be
repeated.

What goes to the output pipe (parent's side in ``runner.py``), in order:

1. before any workload code: ``R || u32(length) || JSON {"layers": [...], "failed": [...]}``
2. ``L``, when its modules are loaded: it waits for its inputs
3. then one of ``O || u64(length) || outputs`` (framing of ``sealmarket_enclave.sealed.outputs``), ``E || kind`` for a
   failure, where the kind is one byte. Everything after step 1 may be forged by the workload.

Standard library only, and no line of the workload runs before the layers are in force.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import mmap
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

RAISED, OUT_OF_MEMORY, OUTPUT_INVALID, NOT_LOADED = b"r", b"m", b"i", b"l"
LOADED = b"L"


def main() -> None:
    """Run one workload and end the process, whatever happens."""
    settings = _settings(int(sys.argv[1]))
    pipe = settings["output"]
    names = ("confine", "landlock", "private_root", "seccomp", "serving", "syscalls")
    modules = {name: _sibling(name) for name in names}
    held, failed = modules["confine"].enforce(settings, modules)
    ready = json.dumps({"layers": held, "failed": failed}).encode()
    _write(pipe, b"R" + len(ready).to_bytes(4, "big") + ready)
    if set(settings["required"]) <= set(held) and settings["entry_point"]:
        _write(pipe, modules["serving"].run(settings) if settings["service"] else _run(settings))
    os._exit(0)


def _run(settings: dict[str, Any]) -> bytes:
    """The last message. Modules are loaded first; data comes when the parent says so."""
    kind = NOT_LOADED
    try:
        sys.argv = ["workload"]
        sys.path[:0] = [settings["code"], settings["environment"]]
        module, _, function = settings["entry_point"].partition(":")
        entry = getattr(importlib.import_module(module), function)
        _write(settings["output"], LOADED)
        if not os.read(settings["go"], 1):
            os._exit(0)
        os.close(settings["go"])
        inputs = {name: _mapped(descriptor) for name, descriptor in settings["inputs"]}
        kind = RAISED
        outputs = entry(inputs, settings["parameters"])
        kind = OUTPUT_INVALID
        body = _framed(outputs)
    except MemoryError:
        return b"E" + OUT_OF_MEMORY
    except BaseException:  # noqa: BLE001 - only the kind leaves; the message may hold data
        return b"E" + kind
    return b"O" + len(body).to_bytes(8, "big") + body


def _framed(outputs: Any) -> bytes:
    parts = [len(outputs).to_bytes(4, "big")]
    for name in sorted(outputs):
        raw, data = name.encode("ascii"), bytes(memoryview(outputs[name]))
        parts += [len(raw).to_bytes(2, "big"), raw, len(data).to_bytes(8, "big"), data]
    return b"".join(parts)


def _settings(descriptor: int) -> dict[str, Any]:
    with os.fdopen(descriptor, "rb") as source:
        settings: dict[str, Any] = json.load(source)
    return settings


def _mapped(descriptor: int) -> memoryview:
    """An input as read-only memory. An empty file cannot be mapped."""
    size = os.fstat(descriptor).st_size
    view = memoryview(mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) if size else b"")
    os.close(descriptor)
    return view


def _sibling(name: str) -> ModuleType:
    path = Path(__file__).resolve().with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"_sandbox_{name}", path)
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks its module up while it is being defined.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


if __name__ == "__main__":
    main()
