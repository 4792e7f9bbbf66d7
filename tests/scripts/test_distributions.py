"""Each distribution stands alone: its wheel, with what it declares to need, imports; nothing else lands anywhere."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from scripts.toolchain import DISTRIBUTIONS, ROOT
from sealmarket.workloads.folders import read_files

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
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_IMPORT_ALL = """
import importlib, json, pkgutil, sys
sys.path.insert(0, sys.argv[1])
package = importlib.import_module(sys.argv[2])
for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of each distribution, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheels")
    builds = {
        place: subprocess.Popen(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
            cwd=ROOT / place,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for place in DISTRIBUTIONS
    }
    for place, build in builds.items():
        said, _ = build.communicate()
        assert build.returncode == 0, (place, said.decode())
    return {path.name.split("-")[0].replace("_", "-"): path for path in folder.glob("*.whl")}


def test_no_production_installation_holds_a_simulator_a_forge_or_a_development_root(wheels: dict[str, Path]) -> None:
    needed = {name for start in PRODUCTION for name in _closure(start, wheels)}
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
    for needed in _closure(name, wheels):
        if needed in wheels:
            with zipfile.ZipFile(wheels[needed]) as wheel:
                wheel.extractall(tmp_path)
        else:
            _link(needed, tmp_path)
    command = [sys.executable, "-I", "-S", "-c", _IMPORT_ALL, str(tmp_path), *LANDS[name]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_folders_that_are_packaged_are_those_with_a_project_file() -> None:
    named = {
        tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]["name"] for folder in DISTRIBUTIONS
    }
    assert named == set(LANDS)


def _closure(name: str, wheels: dict[str, Path]) -> set[str]:
    """The distributions that an installation of ``name`` brings, itself included."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += _requirements(one, wheels)
    return found


def _requirements(name: str, wheels: dict[str, Path]) -> Iterator[str]:
    if name in wheels:
        with zipfile.ZipFile(wheels[name]) as wheel:
            text = wheel.read(next(file for file in wheel.namelist() if file.endswith(".dist-info/METADATA"))).decode()
        declared = re.findall(r"^Requires-Dist: (.*)$", text, re.MULTILINE)
    else:
        declared = metadata.requires(name) or []
    for line in declared:
        requirement, _, marker = line.partition(";")
        if "extra ==" in marker:
            continue
        match = _NAME.match(requirement.strip())
        assert match
        wanted = match[0].lower().replace("_", "-").replace(".", "-")
        if wanted in wheels or _installed(wanted):
            yield wanted
        else:
            assert marker, f"{name} needs {wanted}, which the locks do not bring"


def _installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _link(name: str, folder: Path) -> None:
    """Show an installed distribution under ``folder``: links to each of its top-level files and folders."""
    distribution = metadata.distribution(name)
    tops = {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}
    for top in tops:
        source = Path(str(distribution.locate_file(top)))
        target = folder / top
        if not target.exists() and source.exists():
            target.symlink_to(source)
