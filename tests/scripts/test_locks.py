"""The locks: everything by hash, nothing by address, no script of a package at installation."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from scripts.toolchain import ROOT

PYTHON_LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
ADDRESS = re.compile(r"(?:https?|file|git|ssh)(?:\+\w+)?:/|--(?:extra-)?index-url|--find-links|@ ")


@pytest.mark.parametrize("lock", PYTHON_LOCKS, ids=lambda path: path.stem)
def test_a_python_lock_names_no_address(lock: Path) -> None:
    assert ADDRESS.search(lock.read_text()) is None


@pytest.mark.parametrize("lock", PYTHON_LOCKS, ids=lambda path: path.stem)
def test_every_python_package_is_pinned_with_hashes(lock: Path) -> None:
    text = re.sub(r"(?m)^\s*#.*\n", "", lock.read_text()).replace("\\\n", " ")
    packages = [line for line in text.splitlines() if line.strip()]
    assert packages
    loose = [line.split()[0] for line in packages if not re.match(r"[\w.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line)]
    assert loose == []


def test_the_npm_lock_holds_a_hash_and_no_address_for_each_package() -> None:
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    entries = {name: entry for name, entry in packages.items() if name}
    # A package inside another's archive is covered by that archive's hash.
    bare = [name for name, entry in entries.items() if "integrity" not in entry and not entry.get("inBundle")]
    assert bare == []
    assert [name for name, entry in entries.items() if "resolved" in entry] == []


def test_npm_runs_no_script_of_a_package() -> None:
    assert "ignore-scripts=true" in (ROOT / ".npmrc").read_text().splitlines()


def test_every_direct_npm_dependency_is_exact() -> None:
    manifest = json.loads((ROOT / "package.json").read_text())
    kinds = ("dependencies", "devDependencies", "optionalDependencies")
    versions = [version for kind in kinds for version in manifest[kind].values()]
    assert [version for version in versions if not re.fullmatch(r"\d+\.\d+\.\d+", version)] == []
