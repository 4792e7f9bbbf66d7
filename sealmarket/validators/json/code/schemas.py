"""A closed part of JSON Schema 2020-12: what owners write to say what a JSON output may hold.

Keywords: ``type``, ``enum``, ``properties``, ``required``, ``items``, ``minItems``, ``maxItems``, ``maxLength``,
``minimum``, ``maximum``. Objects are closed: what ``properties`` does not name is not allowed, written out or not.
There are no patterns, references or combinations, so that a check takes time linear in the value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from verdict import RULES_INVALID, Refused

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "null": type(None),
}
_KEYWORDS: dict[str, type | tuple[type, ...]] = {
    "type": str,
    "enum": list,
    "properties": dict,
    "required": list,
    "items": dict,
    "minItems": int,
    "maxItems": int,
    "maxLength": int,
    "minimum": (int, float),
    "maximum": (int, float),
}
_MOST_LEVELS = 32


def require_schema(schema: Any, level: int = 0) -> None:
    """Raise :class:`Refused` (``rules_invalid``) for a schema with a keyword or a type that is not listed above."""
    if not isinstance(schema, dict) or level > _MOST_LEVELS:
        raise Refused(RULES_INVALID, "a schema is an object of few levels")
    for keyword, value in schema.items():
        if keyword not in _KEYWORDS or not isinstance(value, _KEYWORDS[keyword]):
            raise Refused(RULES_INVALID, f"schema keyword {keyword!r}")
    if schema.get("type") not in _TYPES:
        raise Refused(RULES_INVALID, "each schema has a type")
    for inner in _inner(schema):
        require_schema(inner, level + 1)


def property_names(schema: dict[str, Any]) -> frozenset[str]:
    """Every key that the schema names, at any level."""
    names: set[str] = set(schema.get("properties", {}))
    for inner in _inner(schema):
        names |= property_names(inner)
    return frozenset(names)


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Whether a checked schema allows the value."""
    if not isinstance(value, _TYPES[schema["type"]]) or isinstance(value, bool) != (schema["type"] == "boolean"):
        return False
    if "enum" in schema and json.dumps(value, sort_keys=True) not in {
        json.dumps(one, sort_keys=True) for one in schema["enum"]
    }:
        return False
    if isinstance(value, dict):
        named = schema.get("properties", {})
        required = set(schema.get("required", ()))
        return required <= value.keys() <= named.keys() and all(fits(value[key], named[key]) for key in value)
    if isinstance(value, list):
        sized = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        return sized and all("items" in schema and fits(inner, schema["items"]) for inner in value)
    if isinstance(value, str):
        return len(value) <= schema.get("maxLength", len(value))
    if value is None or isinstance(value, bool):
        return True
    return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))


def _inner(schema: dict[str, Any]) -> Iterator[Any]:
    yield from schema.get("properties", {}).values()
    if "items" in schema:
        yield schema["items"]
