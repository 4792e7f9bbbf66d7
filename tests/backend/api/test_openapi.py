"""The OpenAPI document says of every route what it reads and answers, and of every field what it means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from sealmarket.protocol.schema import openapi_schemas
from sealmarket_backend.api.documents import SHAPES
from sealmarket_backend.api.meanings import MEANINGS
from tests.backend.test_api import Client

Route = tuple[str, str, dict[str, Any]]


@pytest.fixture
def whole(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(client.get("/openapi.json").content)
    return found


def routes(whole: dict[str, Any]) -> Iterator[Route]:
    for path, methods in whole["paths"].items():
        for method, route in methods.items():
            yield path, method, route


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(found := part.get("$ref"), str):
            yield found
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_every_field_says_what_it_means(whole: dict[str, Any]) -> None:
    schemas = whole["components"]["schemas"]
    silent = [
        f"{shape}.{name}"
        for shape, schema in schemas.items()
        for name, field in schema.get("properties", {}).items()
        if not field.get("description")
    ]
    assert silent == []


def test_no_meaning_is_of_a_field_that_is_gone() -> None:
    fields = {
        word
        for shape, schema in openapi_schemas(*SHAPES).items()
        for name in schema.get("properties", {})
        for word in (name, f"{shape}.{name}")
    }
    assert sorted(MEANINGS.keys() - fields) == []


def test_amounts_times_and_sizes_say_their_unit(whole: dict[str, Any]) -> None:
    units = {"Price": "smallest unit", "Fee": "smallest unit", "Window": "seconds", "Seconds": "seconds"}
    for schema in whole["components"]["schemas"].values():
        for name, field in schema.get("properties", {}).items():
            for ending, unit in units.items():
                if name.endswith(ending):
                    assert unit in field["description"], name


def test_every_route_says_what_it_is_and_that_it_refuses_by_problems(whole: dict[str, Any]) -> None:
    for path, method, route in routes(whole):
        if path == "/healthz":
            continue
        assert route["summary"], (path, method)
        refusal = route["responses"]["default"]["content"]
        assert refusal == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def test_every_post_names_its_document_and_takes_an_idempotency_key(whole: dict[str, Any]) -> None:
    posts = [(path, route) for path, method, route in routes(whole) if method == "post" and "sign-in" not in path]
    assert len(posts) >= 8
    for path, route in posts:
        assert "$ref" in route["requestBody"]["content"]["application/json"]["schema"], path
        assert "Idempotency-Key" in [one["name"] for one in route["parameters"]], path


def test_every_list_takes_a_cursor_and_a_bounded_limit(whole: dict[str, Any]) -> None:
    lists = 0
    for path, _method, route in routes(whole):
        answer = route["responses"].get("200", {}).get("content", {}).get("application/json", {}).get("schema", {})
        if not answer.get("$ref", "").endswith("Page"):
            continue
        lists += 1
        parameters = {one["name"]: one["schema"] for one in route["parameters"]}
        assert "cursor" in parameters, path
        assert parameters["limit"]["maximum"] <= 500, path
    assert lists >= 6


def test_what_is_referred_to_is_there(whole: dict[str, Any]) -> None:
    names = {f"#/components/schemas/{name}" for name in whole["components"]["schemas"]}
    assert set(references(whole)) <= names
