"""One market for all tests that leave it whole; each leaves it with every party up and every coin accounted for.

It ends with the last test of this folder: servers that wait for blocks take a seventh of a core from the tests behind.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sealmarket_localnet.processes import Supervisor
from tests.acceptance.market import Rehearsal, raise_curtain
from tests.acceptance.money import assert_conserved, assert_explained

FOLDER = Path(__file__).parent


class Stage:
    """The shared market while tests need it."""

    def __init__(self) -> None:
        self._running = ExitStack()
        self._market: Rehearsal | None = None

    def market(self, factory: pytest.TempPathFactory) -> Rehearsal:
        """The market, started for the first test that asks."""
        if self._market is None:
            # Short: the device's socket lies in it, and a socket's path has at most 107 bytes.
            folder = factory.mktemp("market")
            programs = self._running.enter_context(Supervisor(logs=folder / "logs"))
            self._market = raise_curtain(programs, folder)
            self._running.callback(self._market.close)
        return self._market

    def close(self) -> None:
        """End every party."""
        self._market = None
        self._running.close()


STAGE = pytest.StashKey[Stage]()


def pytest_configure(config: pytest.Config) -> None:
    """No market runs yet."""
    config.stash[STAGE] = Stage()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """End the market behind the last test of this folder, once that test's own fixtures are through with it, whether
    they failed or not."""
    try:
        return (yield)
    finally:
        if nextitem is None or not nextitem.path.is_relative_to(FOLDER):
            item.config.stash[STAGE].close()


@pytest.fixture(scope="module")
def _stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    return request.config.stash[STAGE].market(tmp_path_factory)


@pytest.fixture
def rehearsal(_stage: Rehearsal) -> Iterator[Rehearsal]:
    """The shared market. What a test took down is up again afterwards, and the money is counted."""
    _stage.mend()
    _stage.fund()
    yield _stage
    _stage.mend()
    assert_conserved(_stage.chain)
    assert_explained(_stage.chain, _stage.explained)
