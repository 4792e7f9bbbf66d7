"""The set-up: nothing to do is nothing said, and a failure says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import _setup, toolchain
from scripts.toolchain import ROOT


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with the files that the set-up reads, in which every part is done."""
    for name in ("pyproject.toml", "package.json", "package-lock.json", ".npmrc", "hardhat.config.js"):
        (tmp_path / name).write_text(name)
    for folder in _setup.DISTRIBUTIONS[1:]:
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "pyproject.toml").write_text(folder)
    for folder in ("requirements", "contracts", ".venv/bin", "build/artifacts", "node_modules"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "requirements/dev.txt").write_text("a==1 \\\n")
    (tmp_path / "contracts/Market.sol").write_text("contract Market {}")
    products = [tmp_path / ".venv/bin/python", tmp_path / "node_modules/.package-lock.json"]
    for product in products:
        product.write_text("")
    monkeypatch.setattr(_setup, "ROOT", tmp_path)
    monkeypatch.setattr(_setup, "BUILD", tmp_path / "build")
    monkeypatch.setattr(_setup, "LOG", tmp_path / "build/setup.log")
    monkeypatch.setattr(_setup, "STAMP", tmp_path / ".venv/sealmarket-setup.json")
    monkeypatch.setattr(_setup, "_PRODUCTS", {"python": products[:1], "node": products[1:]})
    for part in _setup._PARTS:
        _setup._write_stamp(part)
    return tmp_path


def test_a_failed_download_says_what_to_do(checkout: Path) -> None:
    program = "import sys; sys.exit('connection refused')"
    with pytest.raises(_setup.SetupFailed) as caught:
        _setup._run("pip", [sys.executable, "-c", program], _setup.NETWORK_REMEDY)
    assert "connection refused" in caught.value.detail
    assert caught.value.remedy == _setup.NETWORK_REMEDY


@pytest.mark.parametrize("said", ["EINTEGRITY sha512-x", "Hash mismatch for `x`", "DO NOT MATCH THE HASHES"])
def test_a_file_that_is_not_the_locked_one_is_no_network_problem(checkout: Path, said: str) -> None:
    with pytest.raises(_setup.SetupFailed) as caught:
        _setup._run("pip", [sys.executable, "-c", f"import sys; sys.exit({said!r})"], _setup.NETWORK_REMEDY)
    assert caught.value.remedy == _setup.HASH_REMEDY


def test_a_python_without_venv_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(_setup.SetupFailed, match="apt install python3-venv"):
        _setup._check_venv()


@pytest.mark.parametrize(
    ("changed", "due"),
    [
        ("requirements/dev.txt", ["python", "node"]),
        ("backend/pyproject.toml", ["python", "node"]),
        ("package-lock.json", ["node"]),
        ("contracts/Market.sol", []),
    ],
)
def test_what_changed_decides_what_is_done_again(checkout: Path, changed: str, due: list[str]) -> None:
    (checkout / changed).write_text("changed")
    assert _setup._stale_parts() == due


@pytest.mark.parametrize(
    ("gone", "due"),
    [
        (".venv/bin/python", ["python", "node"]),
        (".venv/sealmarket-setup.json", ["python", "node"]),
        ("node_modules/.package-lock.json", ["node"]),
    ],
)
def test_what_is_gone_is_made_again(checkout: Path, gone: str, due: list[str]) -> None:
    (checkout / gone).unlink()
    assert _setup._stale_parts() == due


def test_a_stamp_cut_short_counts_as_none(checkout: Path) -> None:
    _setup.STAMP.write_text('{"python": "')
    assert _setup._stale_parts() == ["python", "node"]


def test_nothing_to_do_is_done_without_a_word(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _setup.prepare()
    assert capsys.readouterr() == ("", "")


def test_a_second_set_up_waits_for_the_first_and_finds_the_work_done(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / "package-lock.json").write_text("changed")

    def first_one_finishes() -> None:
        _setup._write_stamp("node")

    lock = _setup._only_one

    def late() -> object:
        first_one_finishes()
        return lock()

    monkeypatch.setattr(_setup, "_only_one", late)
    monkeypatch.setitem(_setup._PARTS, "node", lambda: pytest.fail("done twice"))
    _setup.prepare()


def test_a_home_that_cannot_be_written_leads_the_caches_into_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolchain, "BUILD", tmp_path / "build")
    (tmp_path / "home").write_text("no folder, for root as for anybody")
    for home in (str(tmp_path / "home"), "relative"):
        moved = toolchain.cache_environment({"HOME": home})
        assert moved.keys() == toolchain.CACHES.keys()
        assert all(Path(folder).is_dir() for folder in moved.values())
        assert all(Path(folder).is_relative_to(tmp_path / "build") for folder in moved.values())


def test_caches_that_can_be_written_stay_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    own = {variable: str(tmp_path / "mine" / name) for variable, name in toolchain.CACHES.items()}
    assert toolchain.cache_environment(own | {"HOME": str(tmp_path / "home")}) == {}
    assert toolchain.cache_environment({"HOME": str(tmp_path)}) == {}


def test_the_distributions_are_installed_by_paths_that_say_nothing_to_uv(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for lock in ("bootstrap", "node"):
        (checkout / f"requirements/{lock}.txt").write_text("a==1 \\\n")
    commands: list[list[str]] = []
    monkeypatch.setattr(_setup, "_run", lambda _step, command, _remedy: commands.append(command))
    _setup._python_part()
    named = [word for before, word in zip(commands[-1], commands[-1][1:], strict=False) if before == "--editable"]
    assert named == list(_setup.DISTRIBUTIONS), "an absolute path may hold a #, which uv takes for a comment"


def test_an_old_node_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version, found in [("v22.12.9", False), ("v22.13.0", True), ("nonsense", False)]:
        home = tmp_path / version
        (home / "bin").mkdir(parents=True)
        (home / "lib/node_modules/npm/bin").mkdir(parents=True)
        (home / "lib/node_modules/npm/bin/npm-cli.js").write_text("")
        (home / "bin/node").write_text(f"#!/bin/sh\necho {version}\n")
        (home / "bin/node").chmod(0o755)
        monkeypatch.setenv("PATH", f"{home / 'bin'}:/bin")
        assert (toolchain.system_node() is not None) is found


@pytest.mark.parametrize("name", ["bench", "demo", "deploy", "export_abi", "export_layout", "lock", "setup", "test"])
def test_an_old_python_is_told_so(name: str) -> None:
    program = (
        "import runpy, sys; sys.version_info = (3, 10, 1); "
        f"sys.path.insert(0, ''); runpy.run_path({str(ROOT / 'scripts' / name)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Sealmarket needs Python 3.11 or newer; this is 3.10")


def test_every_script_is_executable() -> None:
    scripts = [path for path in (ROOT / "scripts").iterdir() if path.is_file() and not path.suffix]
    assert [path.name for path in [*scripts, ROOT / ".ci/run"] if not os.access(path, os.X_OK)] == []
