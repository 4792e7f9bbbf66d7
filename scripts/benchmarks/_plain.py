"""The peer of a job: the same training on the same rows, by an interpreter without sandbox or measuring.

Started as ``interpreter -P -s -S -B _plain.py SETTINGS.json``, as the sandbox starts a workload, so that neither side
has an advantage. Standard library only. It loads its modules, says ``loaded``, and waits for a line, as a workload in
the enclave waits for its data. What is timed comes after that: reading the rows, training, and writing the files.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path


def main() -> None:
    """Run once; prints seconds, and seconds of processor time."""
    settings = json.loads(Path(sys.argv[1]).read_text())
    sys.path[:0] = [settings["code"], settings["environment"]]
    module, _, function = settings["entryPoint"].partition(":")
    entry = getattr(importlib.import_module(module), function)
    print("loaded", flush=True)
    if not sys.stdin.readline():
        return  # the benchmark has ended
    began, used = time.perf_counter(), time.process_time()
    inputs = {name: memoryview(Path(path).read_bytes()) for name, path in settings["inputs"].items()}
    for name, content in entry(inputs, settings["parameters"]).items():
        Path(settings["out"], name).write_bytes(content)
    print(time.perf_counter() - began, time.process_time() - used)


if __name__ == "__main__":
    main()
