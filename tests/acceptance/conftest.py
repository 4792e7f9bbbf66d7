"""One market for all tests that leave it whole; each leaves it with every party up and every coin accounted for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sealmarket_localnet.processes import Supervisor
from tests.acceptance.market import Rehearsal, raise_curtain
from tests.acceptance.money import assert_conserved, assert_explained


@pytest.fixture(scope="session")
def _stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    # Short: the device's socket lies in it, and a socket's path has at most 107 bytes.
    folder: Path = tmp_path_factory.mktemp("market")
    with Supervisor(logs=folder / "logs") as programs:
        stage = raise_curtain(programs, folder)
        yield stage
        stage.close()


@pytest.fixture
def rehearsal(_stage: Rehearsal) -> Iterator[Rehearsal]:
    """The shared market. What a test took down is up again afterwards, and the money is counted."""
    _stage.mend()
    _stage.fund()
    yield _stage
    _stage.mend()
    assert_conserved(_stage.chain)
    assert_explained(_stage.chain, _stage.explained)
