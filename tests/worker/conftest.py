"""A real virtual device for the tests that launch enclaves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealmarket_worker.image import build_image
from tests.patience import PATIENCE


@pytest.fixture(scope="module")
def device_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The control socket of a virtual TDX device."""
    folder = tmp_path_factory.mktemp("device")
    path = folder / "tdx.sock"
    command = [sys.executable, "-m", "sealmarket_devices.tdx", "--state", str(folder / "state")]
    process = subprocess.Popen([*command, "--socket", str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert b"Ready" in process.stdout.readline()
    yield path
    process.terminate()
    process.wait(PATIENCE)
    process.stdout.close()


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The enclave image of this tree."""
    return build_image(tmp_path_factory.mktemp("image") / "image")
