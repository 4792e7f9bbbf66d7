"""One virtual TDX platform for all tests of the oracle node, a fresh market for each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from sealmarket_devices.tdx import VirtualTdx
from tests.oracle.operators import Operator
from tests.oracle.world import World, clock


@pytest.fixture(scope="session")
def device(tmp_path_factory: pytest.TempPathFactory) -> VirtualTdx:
    """The platform that the nodes' development root belongs to."""
    return VirtualTdx(tmp_path_factory.mktemp("device"), clock)


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> VirtualTdx:
    """A platform under a root that nobody trusts."""
    return VirtualTdx(tmp_path_factory.mktemp("stranger"), clock)


@pytest.fixture
def world(device: VirtualTdx, tmp_path: Path) -> Iterator[World]:
    """A fresh market."""
    with closing(World(device, tmp_path)) as made:
        yield made


@pytest.fixture
def operator(world: World) -> Iterator[Operator]:
    """The operator of a node of that market."""
    with ExitStack() as stack:
        yield Operator(world, stack)
