"""The market that the acceptance tests share ends behind the last of them, whatever that test's fixtures did."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONFTEST = """
from pathlib import Path
import pytest
from tests.acceptance.conftest import STAGE, pytest_runtest_teardown

class Stage:
    def close(self):
        Path(__file__).with_name("closed").touch()

def pytest_configure(config):
    config.stash[STAGE] = Stage()

@pytest.fixture
def market():
    yield
    assert not Path(__file__).with_name("closed").exists(), "closed before its fixtures were through"
    raise RuntimeError("the money does not add up")
"""


def test_the_market_ends_behind_the_last_test_whose_fixture_fails(tmp_path: Path) -> None:
    for name, text in (
        ("conftest.py", CONFTEST),
        ("test_last.py", "def test_last(market): pass\n"),
        ("pytest.ini", "[pytest]\n"),
    ):
        (tmp_path / name).write_text(text, "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-c", str(tmp_path / "pytest.ini"), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "the money does not add up" in done.stdout
    assert (tmp_path / "closed").exists()
