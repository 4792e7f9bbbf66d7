"""A scene and an enclave for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.enclave.runtime.twins import EnclaveTwin, SandboxTwin
from tests.enclave.scene import Scene


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    folder = tmp_path / "scene"
    folder.mkdir()
    return Scene(folder)


@pytest.fixture
def sandbox() -> SandboxTwin:
    return SandboxTwin()


@pytest.fixture
def enclave(tmp_path: Path, sandbox: SandboxTwin) -> Iterator[EnclaveTwin]:
    twin = EnclaveTwin(tmp_path / "scratch", sandbox=sandbox)
    yield twin
    twin.close()
