"""Requests of every form that the OpenAPI document allows, and of many that it does not, are answered as it says.

Schemathesis draws them, some valid and some not; none may end in an error of the server, and every answer is of the
shape that the document names. More of them run in the long tier.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from sealmarket.chain.memory import MemoryChain
from sealmarket_backend.api import create_app
from sealmarket_backend.service import Backend
from tests.backend.orders import BOOK
from tests.backend.test_api import Silent

CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]
FEW, MANY = 3, 60


def ask_every_route(folder: Path, examples: int) -> int:
    """Ask each route so many times; returns how many routes there are."""
    chain = MemoryChain(BOOK)
    chain.code = lambda _account, _block: b""  # type: ignore[method-assign,assignment]
    with Backend(chain, Silent(), folder) as backend:  # type: ignore[arg-type]
        backend.clock = lambda: float(chain.head().timestamp)
        app = create_app(backend)
        # A stream has no end; `test_streams` asks for it.
        schema = schemathesis.openapi.from_asgi("/openapi.json", app).exclude(path="/v1/events")
        found = list(schema.get_all_operations())
        operations = [one.ok() for one in found if isinstance(one, Ok)]
        assert len(operations) == len(found)
        for operation in operations:
            modes = [operation.as_strategy(generation_mode=mode) for mode in GenerationMode]
            _ask(st.one_of(modes), examples)
    return len(operations)


def _ask(cases: st.SearchStrategy[Any], examples: int) -> None:
    @given(case=cases)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any) -> None:
        case.call_and_validate(checks=CHECKS)

    ask()


def test_no_request_ends_in_an_error_of_the_server(tmp_path: Path) -> None:
    assert ask_every_route(tmp_path, FEW) > 30


@pytest.mark.long
def test_none_of_many_requests_ends_in_an_error_of_the_server(tmp_path: Path) -> None:
    assert ask_every_route(tmp_path, MANY) > 30
