"""Small bundles and wheels for the tests, made on the spot."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

MANIFEST = """
schema = 1
name = "count-rows"
version = "1.0.0"
summary = "Counts rows."
entry_point = "job:run"

[[inputs]]
name = "card"
media_type = "application/json"

[[inputs]]
name = "rows"
media_type = "text/csv"
minimum = 1
maximum = 3

[[parameters]]
name = "target"
type = "string"
max_length = 8

[[parameters]]
name = "n_estimators"
type = "integer"
default = 10
minimum = 1
maximum = 100

[[parameters]]
name = "rate"
type = "number"
default = 0.5
minimum = 0
maximum = 1

[[parameters]]
name = "task"
type = "string"
default = "a"
choices = ["a", "b"]

[[parameters]]
name = "verbose"
type = "boolean"
default = false

[[outputs]]
name = "count.json"
media_type = "application/json"
max_bytes = 100

[limits]
cpu_seconds = 5
wall_seconds = 10
memory_bytes = 1073741824
"""
CODE = "def run(inputs, parameters):\n    return {'count.json': b'1'}\n"


def wheel(folder: Path, name: str, files: dict[str, bytes]) -> Path:
    """A wheel with these files, a RECORD and a WHEEL."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inner, data in files.items():
            archive.writestr(inner, data)
        archive.writestr(f"{name}-1.0.dist-info/WHEEL", "Root-Is-Purelib: true\n")
        archive.writestr(f"{name}-1.0.dist-info/RECORD", "differs on every machine\n")
    return path


def lock_line(path: Path) -> str:
    """The line of a lockfile for one wheel."""
    return f"{path.name.split('-')[0]}==1.0 \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def bundle(folder: Path, lock: str = "", code: str = CODE, manifest: str = MANIFEST) -> Path:
    """A bundle that is not locked yet."""
    (folder / "code").mkdir(parents=True)
    (folder / "workload.toml").write_text(manifest)
    (folder / "requirements.lock").write_text(lock)
    (folder / "code/job.py").write_text(code)
    return folder
