"""What is wrong with a workload's folder is named, all of it at once, before anything is sealed or paid."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealmarket.workloads.check import Finding, check
from sealmarket.workloads.folders import read_bundle
from tests.workloads.projects import project


def paths(folder: Path) -> list[str]:
    return [finding.path for finding in check(folder).findings]


@pytest.mark.parametrize(
    "path",
    [
        ".git/HEAD", "code/__pycache__/job.cpython-311.pyc", ".venv/bin/python", ".idea/workspace.xml",
        "code/.vscode/x",
        "code/job.py~", "code/.job.py.swp", ".DS_Store", "rows.csv", "code/rows.parquet", "code/model.pkl", ".env",
        "try.ipynb", ".gitignore", "notes.txt", "code/.ipynb_checkpoints/job.py", "mine.egg-info/PKG-INFO", "build/x",
    ],
)  # fmt: skip
def test_a_file_that_does_not_belong_is_named(tmp_path: Path, path: str) -> None:
    folder = project(tmp_path)
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(b"x")
    (found,) = check(folder).findings
    assert path.startswith(found.path)
    assert "move it out" in found.remedy


def test_what_is_named_as_meant_is_part_of_the_digest(tmp_path: Path) -> None:
    folder = project(tmp_path)
    before = read_bundle(folder).digest
    (folder / "code/weights.npy").write_bytes(b"x")
    assert paths(folder) == ["code/weights.npy"]
    checked = check(folder, keep=["code/weights.npy"])
    assert checked.findings == ()
    assert checked.measured
    assert checked.measured.digest == read_bundle(folder).digest != before


def test_a_name_that_is_no_text_is_named_without_it(tmp_path: Path) -> None:
    folder = project(tmp_path)
    Path(f"{folder}/\udcff\x1b[31m.csv").write_bytes(b"x")
    assert paths(folder) == ["'\\udcff\\x1b[31m.csv'"]


def test_a_folder_of_a_thousand_caches_is_not_walked(tmp_path: Path) -> None:
    folder = project(tmp_path)
    for number in range(1000):
        (folder / f".git/objects/{number}").mkdir(parents=True)
    (folder / ".git/link").symlink_to("/")
    assert paths(folder) == [".git"]


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("def run(inputs, parameters)\n    return {}\n", "it does not parse as Python"),
        ("def start(inputs, parameters):\n    return {}\n", "it defines no run"),
        ("def run(inputs):\n    return {}\n", "run does not take two arguments"),
        ("def run(inputs, parameters, more):\n    return {}\n", "run does not take two arguments"),
        ("def run(inputs, parameters, *, more):\n    return {}\n", "run does not take two arguments"),
        ("async def run(inputs, parameters):\n    return {}\n", "run is asynchronous"),
        (
            "import numpy\n\ndef run(inputs, parameters):\n    return {}\n",
            "it imports numpy, which no locked wheel brings",
        ),
        ("from yaml import load\n\ndef run(i, p):\n    return {}\n", "it imports yaml, which no locked wheel brings"),
    ],
)
def test_code_that_could_not_run_is_named(tmp_path: Path, code: str, found: str) -> None:
    folder = project(tmp_path)
    (folder / "code/job.py").write_text(code)
    assert [finding.found for finding in check(folder).findings] == [found]


@pytest.mark.parametrize(
    "code",
    [
        "def run(inputs, parameters):\n    return {}\n",
        "def run(inputs, parameters=None):\n    return {}\n",
        "def run(*anything):\n    return {}\n",
        "import helpers\nfrom helpers import run\n",
        "try:\n    import numpy\nexcept ImportError:\n    numpy = None\nrun = lambda inputs, parameters: {}\n",
    ],
)
def test_code_that_can_run_is_sound(tmp_path: Path, code: str) -> None:
    folder = project(tmp_path)
    (folder / "code/helpers.py").write_text("import json\n\ndef run(inputs, parameters):\n    return {}\n")
    (folder / "code/job.py").write_text(code)
    assert check(folder).findings == ()


@pytest.mark.parametrize(
    ("lock", "found"),
    [
        ("numpy==2.0\n", "'numpy==2.0' is not pinned with == and a SHA-256"),
        ("numpy>=2 --hash=sha256:" + "0" * 64, "'numpy>=2' is not pinned with == and a SHA-256"),
        ("--index-url http://there/simple\n", "'--index-url http://there/simple' is an option or an address"),
        ("a @ https://there/a.whl --hash=sha256:" + "0" * 64, "is an option or an address"),
    ],
)
def test_a_lock_that_pins_nothing_is_named(tmp_path: Path, lock: str, found: str) -> None:
    folder = project(tmp_path)
    (folder / "requirements.lock").write_text(lock)
    assert any(found in finding.found for finding in check(folder).findings)


def test_all_that_is_wrong_is_named_at_once(tmp_path: Path) -> None:
    folder = project(tmp_path)
    (folder / "code/job.py").write_text("def run(")
    (folder / "requirements.lock").write_text("numpy\n")
    (folder / "environment.json").unlink()
    assert paths(folder) == ["code/job.py:1", "requirements.lock", "environment.json"]


def test_a_manifest_that_does_not_hold_is_named_with_its_field(tmp_path: Path) -> None:
    folder = project(tmp_path)
    text = (folder / "workload.toml").read_text()
    (folder / "workload.toml").write_text(text.replace("max_bytes = 4096", "max_bytes = -1"))
    (found,) = check(folder).findings
    assert found.path == "workload.toml"
    assert "maxBytes" in found.found


def test_an_environment_for_another_interpreter_is_named(tmp_path: Path) -> None:
    folder = project(tmp_path)
    document = (folder / "environment.json").read_text()
    (folder / "environment.json").write_text(document.replace('"implementation":"cpython"', '"implementation":"pypy"'))
    (found,) = check(folder).findings
    assert isinstance(found, Finding)
    assert "it is for pypy" in found.found
