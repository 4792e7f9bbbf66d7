"""Shells complete groups, commands and options; the groups are loaded when one of them is completed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_market_commands import run

PROGRAM = [sys.executable, "-m", "sealmarket.cli.main"]


def completed(words: str, shell: str = "bash") -> list[str]:
    """What a shell is offered behind these words."""
    asked = {
        "bash": {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": words},
        "fish": {"_TYPER_COMPLETE_ARGS": words, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    environment = os.environ | asked | {"_SEALMARKET_COMPLETE": f"complete_{shell}"}
    done = subprocess.run(PROGRAM, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.split()


def test_another_shell_is_a_wrong_call(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, error = run(["completion", "csh"], capsys)
    assert code == 2
    assert "bash, zsh, fish" in error


def test_a_broken_profile_stops_no_completion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("SEALMARKET_PROFILE", "missing")
    assert "list" in completed("sealmarket consumer li")


def test_groups_commands_and_options_are_completed() -> None:
    assert completed("sealmarket cons") == ["consumer"]
    assert completed("sealmarket consumer canc") == ["cancel"]
    assert "--max-compute-price" in completed("sealmarket consumer request --max")
    assert completed("sealmarket worker image bu") == ["build"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_offered_the_same(shell: str) -> None:
    assert "account" in " ".join(completed("sealmarket acc", shell))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_its_shell_reads(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, script, _ = run(["completion", shell], capsys)
    assert code == 0
    assert "_SEALMARKET_COMPLETE" in script
    if (program := shutil.which(shell)) is not None:
        done = subprocess.run([program, "-n"], input=script, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
