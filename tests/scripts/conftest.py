"""The wheels of this checkout, built once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.toolchain import DISTRIBUTIONS, ROOT


@pytest.fixture(scope="session")
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
