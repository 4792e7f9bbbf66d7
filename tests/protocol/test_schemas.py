"""The schemas in docs/spec/schemas say what the shapes say."""

from scripts import schemas


def test_the_published_schemas_are_those_of_the_shapes() -> None:
    assert schemas.differing() == []


def test_every_shape_that_is_versioned_refuses_another_version_and_unknown_fields() -> None:
    for name, schema in schemas.schemas().items():
        root = schema["$defs"][schema["$ref"].rsplit("/", 1)[1]]
        assert root["additionalProperties"] is False, name
        version = root["properties"].get("version", {})
        assert version.get("type") == "integer" or not version or len(version["enum"]) == 1, name
