"""A backend over a chain in memory, and a client of its API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sealmarket.chain.memory import MemoryChain
from sealmarket_backend.api import create_app
from sealmarket_backend.service import Backend
from tests.backend.orders import BOOK
from tests.backend.test_api import Client, Silent


@pytest.fixture
def chain() -> MemoryChain:
    """A chain on which no account is a contract."""
    made = MemoryChain(BOOK)
    made.code = lambda _account, _block: b""  # type: ignore[method-assign,assignment]
    return made


@pytest.fixture
def backend(chain: MemoryChain, tmp_path: Path) -> Iterator[Backend]:
    """Its keeper does not run."""
    with Backend(chain, Silent(), tmp_path) as made:  # type: ignore[arg-type]
        yield made


@pytest.fixture
def client(backend: Backend) -> Client:
    """Asks the API without a socket."""
    return Client(create_app(backend))
