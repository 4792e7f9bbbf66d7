"""The measured core is what the kinds of job reach, and it parses nothing but framing and canonical documents."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

import sealmarket_enclave
from sealmarket_enclave.sandbox import launcher
from sealmarket_worker.image import LOCK, kinds_of, locked_versions
from tests.structure.code import Module, imports, modules

PACKAGE = Path(sealmarket_enclave.__file__).parent
KINDS = "sealmarket_enclave.runtime.kinds"
READERS = frozenset(
    {
        *("bz2", "configparser", "csv", "email", "gzip", "html", "http", "lzma", "marshal", "mailbox", "netrc"),
        *("pickle", "plistlib", "shelve", "sqlite3", "tarfile", "urllib", "xml", "xmlrpc", "zipfile", "zipimport"),
        *("zlib", "joblib", "numpy", "onnx", "onnxruntime", "openpyxl", "pandas", "PIL", "pyarrow", "safetensors"),
        *("scipy", "sklearn", "torch", "yaml"),
    }
)
"""Modules that read a format of files, of the network or of models."""


@cache
def core() -> dict[str, Module]:
    return {name: module for name, module in modules().items() if name.split(".")[0] == "sealmarket_enclave"}


def closure(start: set[str]) -> set[str]:
    """What is imported when these are, with the packages that hold them."""
    found: set[str] = set()
    waiting = set(start)
    while waiting:
        name = waiting.pop()
        if name in found or name not in core():
            continue
        found.add(name)
        waiting |= imports(core()[name])
        waiting |= {name.rpartition(".")[0]}
    return found


def sandboxed() -> set[str]:
    """The launcher, and the modules that it loads by the name of their file."""
    source = Path(launcher.__file__).read_text()
    named = re.search(r"names = \(([^)]*)\)", source)
    assert named
    siblings = set(re.findall(r'"(\w+)"', named[1]))
    return {"sealmarket_enclave.sandbox.launcher", *(f"sealmarket_enclave.sandbox.{name}" for name in siblings)}


def test_every_module_of_the_core_is_reached_by_some_kind() -> None:
    starts = {"sealmarket_enclave.runtime.main", *(f"{KINDS}.{kind}" for kind in kinds_of(PACKAGE))}
    assert sorted(core().keys() - closure(starts | sandboxed())) == []


def test_no_module_of_the_core_imports_a_kind_and_no_kind_another() -> None:
    for name, module in core().items():
        own = ".".join(name.split(".")[:4]) if name.startswith(f"{KINDS}.") else None
        found = {other for other in imports(module) if other.startswith(f"{KINDS}.")}
        assert {other for other in found if ".".join(other.split(".")[:4]) != own} == set(), name


@pytest.mark.parametrize("name", sorted(core()))
def test_no_module_of_the_core_imports_a_reader_of_files(name: str) -> None:
    imported = set()
    for node in ast.walk(core()[name].tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    assert imported & READERS == set()


def test_the_lock_is_what_the_distribution_pins() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    pinned = dict(line.split("==") for line in project["dependencies"])
    assert pinned == locked_versions(PACKAGE, "batch")
    lines = (PACKAGE / LOCK).read_text().splitlines()
    assert lines == sorted(lines)


def test_the_lock_names_every_distribution_that_the_core_imports() -> None:
    known = {"Crypto": "pycryptodome", "sha3": "safe-pysha3"}
    standard = sys.stdlib_module_names
    locked = locked_versions(PACKAGE, "batch")
    for module in core().values():
        for node in ast.walk(module.tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            tops = {name.split(".")[0] for name in names} - {"sealmarket_enclave", "__future__"}
            assert {known.get(top, top) for top in tops - standard} <= locked.keys(), module.name
