"""Each distribution stands alone: its wheel, with what it declares to need, imports; nothing else lands anywhere."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from scripts.toolchain import DISTRIBUTIONS, ROOT
from sealmarket.workloads.folders import read_files
from tests.scripts.closure import closure, link

PRODUCTION = frozenset(
    {"sealmarket", "sealmarket-backend", "sealmarket-enclave", "sealmarket-oracle", "sealmarket-worker"}
)
LANDS = {
    "sealmarket": {"sealmarket"},
    "sealmarket-backend": {"sealmarket_backend"},
    "sealmarket-devices": {"sealmarket_devices"},
    "sealmarket-enclave": {"sealmarket_enclave"},
    "sealmarket-localnet": {"sealmarket_localnet"},
    "sealmarket-oracle": {"sealmarket_oracle"},
    "sealmarket-worker": {"sealmarket_worker"},
}
_IMPORT_ALL = """
import importlib, json, pkgutil, sys
sys.path.insert(0, sys.argv[1])
package = importlib.import_module(sys.argv[2])
for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
"""


def test_no_production_installation_holds_a_simulator_a_forge_or_a_development_root(wheels: dict[str, Path]) -> None:
    needed = {name for start in PRODUCTION for name in closure(start, wheels)}
    assert not needed & {"sealmarket-devices", "sealmarket-localnet"}
    for name in PRODUCTION:
        with zipfile.ZipFile(wheels[name]) as wheel:
            for file in wheel.namelist():
                assert not re.search(r"forge|virtual|simulator|/tests?/", file), (name, file)
                assert not re.search(rb"-----BEGIN (EC |RSA )?PRIVATE KEY", wheel.read(file)), (name, file)


@pytest.mark.parametrize("name", sorted(LANDS))
def test_a_wheel_holds_one_package_and_its_license(name: str, wheels: dict[str, Path]) -> None:
    with zipfile.ZipFile(wheels[name]) as wheel:
        top = {file.split("/")[0] for file in wheel.namelist()}
    assert {entry for entry in top if not entry.endswith(".dist-info")} == LANDS[name]
    assert set(wheels) == set(LANDS)


def test_the_wheel_of_the_library_holds_each_template_whole(wheels: dict[str, Path]) -> None:
    folder = "sealmarket/workloads/templates"
    for template in (ROOT / folder).iterdir():
        with zipfile.ZipFile(wheels["sealmarket"]) as wheel:
            packed = {
                name.removeprefix(f"{folder}/{template.name}/"): wheel.read(name)
                for name in wheel.namelist()
                if name.startswith(f"{folder}/{template.name}/")
            }
        assert packed == {path: file.data for path, file in read_files(template).items()}


@pytest.mark.parametrize("name", sorted(LANDS))
def test_a_wheel_with_what_it_declares_imports_in_an_empty_environment(
    name: str, wheels: dict[str, Path], tmp_path: Path
) -> None:
    for needed in closure(name, wheels):
        if needed in wheels:
            with zipfile.ZipFile(wheels[needed]) as wheel:
                wheel.extractall(tmp_path)
        else:
            link(needed, tmp_path)
    command = [sys.executable, "-I", "-S", "-c", _IMPORT_ALL, str(tmp_path), *LANDS[name]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_folders_that_are_packaged_are_those_with_a_project_file() -> None:
    named = {
        tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]["name"] for folder in DISTRIBUTIONS
    }
    assert named == set(LANDS)
