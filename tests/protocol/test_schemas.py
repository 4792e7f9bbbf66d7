"""The schemas in docs/spec/schemas say what the shapes say."""

import pytest

from scripts import schemas
from sealmarket.protocol.schema import json_schema
from sealmarket_enclave.protocol.codec import Shape


def test_the_published_schemas_are_those_of_the_shapes() -> None:
    assert schemas.differing() == []


def test_every_shape_that_is_versioned_refuses_another_version_and_unknown_fields() -> None:
    for name, schema in schemas.schemas().items():
        root = schema["$defs"][schema["$ref"].rsplit("/", 1)[1]]
        assert root["additionalProperties"] is False, name
        version = root["properties"].get("version", {})
        assert version.get("type") == "integer" or not version or len(version["enum"]) == 1, name


class Described(Shape, frozen=True):
    """A shape."""


@pytest.mark.parametrize("docstring", ["One.\n\n    Two.\n    ", "One.\n\nTwo.\n"], ids=["as written", "as stripped"])
def test_a_description_is_the_same_on_interpreters_that_strip_docstrings(
    docstring: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Described, "__doc__", docstring)
    assert json_schema(Described)["$defs"]["Described"]["description"] == "One.\n\nTwo."
