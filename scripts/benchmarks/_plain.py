"""The peer of a job: the same training on the same rows, by an interpreter that nobody confines or measures.

Started as ``interpreter -P -s -S -B _plain.py SETTINGS.json``, as the sandbox starts a workload, so that neither side
has an advantage. Standard library only. Modules are loaded before the clock starts, as the enclave's are loaded while
it waits for the chain; what is timed is reading the rows, training, and writing the files.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path


def main() -> None:
    """Run once; prints seconds."""
    settings = json.loads(Path(sys.argv[1]).read_text())
    sys.path[:0] = [settings["code"], settings["environment"]]
    module, _, function = settings["entryPoint"].partition(":")
    entry = getattr(importlib.import_module(module), function)
    began = time.perf_counter()
    inputs = {name: memoryview(Path(path).read_bytes()) for name, path in settings["inputs"].items()}
    for name, content in entry(inputs, settings["parameters"]).items():
        Path(settings["out"], name).write_bytes(content)
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main()
