"""Rules for all tests: no network, except 127.0.0.1 for those that start programs of their own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

TESTS = Path(__file__).resolve().parent
ACROSS_PROCESSES = (TESTS / "integration", TESTS / "acceptance")
"""Folders whose tests start real programs and talk to them."""
LOOPBACK = ["127.0.0.1", "::1", "localhost"]
ACROSS_PROCESSES_SECONDS = 600
"""Beyond any wait of a test (tests/patience.py), which says what did not come."""

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--long` adds the long tier."""
    parser.addoption("--long", action="store_true", help="run the long tier as well (fuzzing, mutation, soak)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the long tier unless asked for; let tests across processes reach loopback, with more time.

    These come first: they wait for chains more than they compute, and a long file that begins last runs alone.
    """
    items.sort(key=lambda item: not _is_across(item))
    for item in items:
        across = _is_across(item)
        if across or item.get_closest_marker("loopback"):
            item.add_marker(pytest.mark.allow_hosts(LOOPBACK))
        if across and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(ACROSS_PROCESSES_SECONDS))
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.timeout(0))
            if not config.getoption("--long"):
                item.add_marker(pytest.mark.skip(reason="the long tier runs with --long"))


def _is_across(item: pytest.Item) -> bool:
    return any(item.path.is_relative_to(folder) for folder in ACROSS_PROCESSES)


@pytest.fixture(scope="session", autouse=True)
def _no_state_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Commands remember what they sent per user: not for the user who runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        # Nor does a profile of the person who runs the tests reach them.
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        patch.delenv("SEALMARKET_PROFILE", raising=False)
        yield


@pytest.fixture(autouse=True)
def _logs_of_one_test() -> Iterator[None]:
    """A program that runs inside a test configures logs on streams that end with it."""
    root, level = logging.getLogger(), logging.getLogger().level
    yield
    root.setLevel(level)
    for handler in root.handlers[:]:
        if type(handler) is logging.StreamHandler:
            root.removeHandler(handler)


LOST_WORKER = pytest.StashKey[str]()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: WorkerController, error: object | None) -> None:
    """Remember a worker that was killed: what was left to it has not run."""
    if error is not None:
        node.config.stash[LOST_WORKER] = str(node.gateway.id)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that lost a worker, also when no test was running there."""
    if LOST_WORKER in session.config.stash and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which worker was lost, and what usually kills one."""
    if LOST_WORKER in config.stash:
        terminalreporter.write_line(
            f"worker {config.stash[LOST_WORKER]} was killed (out of memory?): tests that were left to it did not run"
        )


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are named by their argument: fresh keys and signatures differ from worker to worker."""
    if isinstance(val, bytes) and not (len(val) <= 32 and val.isascii() and val.decode("ascii").isprintable()):
        return argname
    return None
