"""Rules for all tests: no network, except 127.0.0.1 for those that start programs of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
ACROSS_PROCESSES = (TESTS / "integration", TESTS / "acceptance")
"""Folders whose tests start real programs and talk to them."""
LOOPBACK = ["127.0.0.1", "::1", "localhost"]
ACROSS_PROCESSES_SECONDS = 300


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--long` adds the long tier."""
    parser.addoption("--long", action="store_true", help="run the long tier as well (fuzzing, mutation, soak)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the long tier unless asked for; let tests across processes reach loopback, with more time."""
    for item in items:
        across = any(item.path.is_relative_to(folder) for folder in ACROSS_PROCESSES)
        if across or item.get_closest_marker("loopback"):
            item.add_marker(pytest.mark.allow_hosts(LOOPBACK))
        if across and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(ACROSS_PROCESSES_SECONDS))
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.timeout(0))
            if not config.getoption("--long"):
                item.add_marker(pytest.mark.skip(reason="the long tier runs with --long"))
