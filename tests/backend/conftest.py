"""A database in memory for each test, closed with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sealmarket_backend.tables import Database


@pytest.fixture
def database() -> Iterator[Database]:
    """Empty tables."""
    with Database(None) as made:
        yield made
