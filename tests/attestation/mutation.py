"""Mutation runs: one exact replacement in a copy of the library must fail a test whose name holds the given words."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.vectors import FOLDER

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "sealmarket" / "attestation"


@dataclass(frozen=True)
class Mutant:
    """``old`` becomes ``new`` in a module; ``killer`` is in the name of a test of ``tests`` that must then fail."""

    module: str
    old: str
    new: str
    killer: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.module}-{self.killer}"


def copy_library(folder: Path) -> Path:
    """A copy of the library and of what its tests need, to be altered, with RSA keys that all runs share."""
    clean = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "sealmarket", folder / "sealmarket", ignore=clean)
    for part in ("forge", "attestation"):
        shutil.copytree(ROOT / "tests" / part, folder / "tests" / part, ignore=clean)
    for file in ("pyproject.toml", "tests/conftest.py", "tests/vectors.py"):
        shutil.copyfile(ROOT / file, folder / file)
    (folder / "keys").mkdir()
    return folder


def run_tests(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run tests of a copy in a fresh process."""
    environment = {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",
        "SEALMARKET_VECTORS": str(FOLDER),
        "SEALMARKET_TEST_KEYS": str(folder / "keys"),
    }
    command = [sys.executable, "-m", "pytest", "-q", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    return done.returncode, done.stdout + done.stderr


def killers_of(folder: Path, mutant: Mutant) -> Sequence[str]:
    """The names of the tests that fail while the mutant is in place; it stops at the first."""
    file = folder / "sealmarket" / "attestation" / f"{mutant.module}.py"
    source = file.read_text()
    file.write_text(source.replace(mutant.old, mutant.new))
    try:
        code, output = run_tests(folder, *mutant.tests, "-x", "-k", mutant.killer.removeprefix("test_"))
    finally:
        file.write_text(source)
    if code not in (0, 1):
        raise AssertionError(output)
    return re.findall(r"^FAILED \S+?::(\S+)", output, re.MULTILINE)
