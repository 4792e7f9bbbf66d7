"""A test process that is killed ends the run within seconds, and the run fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import checks
from scripts.toolchain import ROOT

KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
RUN_SECONDS = 60


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a folder's tests as `scripts/test` does, with this repository's settings."""
    for name in "cd":
        (folder / f"test_{name}.py").write_text(f"def test_{name}() -> None: pass\n")
    settings = ["--rootdir", str(folder), "-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest"]
    settings += ["-o", f"cache_dir={folder / 'cache'}"]
    return subprocess.run(
        [sys.executable, "-P", "-m", "pytest", *settings, "-rA", *checks.pytest_options(False), "."],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )


def test_a_worker_killed_in_a_test_ends_the_run_and_names_it_and_a_test_that_hangs_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text(f"def test_that_kills() -> None:\n    {KILL}\ndef test_after(): pass\n")
    hang = "import pytest, time\n@pytest.mark.timeout(0.2)\ndef test_that_hangs(): time.sleep(60)\n"
    (tmp_path / "test_b.py").write_text(f"{hang}def test_the_next(): pass\n")
    done = run(tmp_path)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "FAILED test_a.py::test_that_kills" in done.stdout
    assert "FAILED test_b.py::test_that_hangs" in done.stdout
    assert "PASSED test_b.py::test_the_next" in done.stdout


def test_a_worker_killed_between_tests_fails_the_run(tmp_path: Path) -> None:
    program = f"if hasattr(session.config, 'workerinput'): {KILL}"
    (tmp_path / "conftest.py").write_text(f"def pytest_sessionfinish(session):\n    {program}\n")
    done = run(tmp_path)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "was killed (out of memory?)" in done.stdout
