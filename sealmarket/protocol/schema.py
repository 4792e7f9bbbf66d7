"""JSON Schema of any wire shape: what a document must look like, for tools in other languages.

A schema says less than the reader: the one canonical spelling, hashes and signatures are checked by code.
"""

from __future__ import annotations

import inspect
from typing import Any

import msgspec

from sealmarket_enclave.protocol.codec import HexBytes, Uint


def json_schema(*kinds: type) -> dict[str, Any]:
    """JSON Schema (2020-12) of shapes: one document, its root the first of them."""
    (root, *_), components = _components(kinds, "#/$defs/{name}")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root, "$defs": components}


def openapi_schemas(*kinds: type) -> dict[str, Any]:
    """The schemas of shapes, and of those that they hold, as an OpenAPI document names them, by the shape's name."""
    return _components(kinds, "#/components/schemas/{name}")[1]


def _components(kinds: tuple[type, ...], template: str) -> tuple[tuple[dict[str, Any], ...], dict[str, Any]]:
    roots, components = msgspec.json.schema_components(kinds, schema_hook=_spelling, ref_template=template)
    # Python 3.13 strips a docstring's indentation when it compiles, older ones keep it.
    for component in components.values():
        if "description" in component:
            component["description"] = inspect.cleandoc(component["description"])
    return roots, components


def _spelling(kind: type) -> dict[str, Any]:
    if issubclass(kind, HexBytes):
        digits = "*" if kind.length is None else f"{{{kind.length}}}"
        return {"type": "string", "pattern": f"^0x([0-9a-f]{{2}}){digits}$"}
    if issubclass(kind, Uint):
        bound = f"A decimal string below 2^{kind.bits}."
        return {"type": "string", "pattern": "^(0|[1-9][0-9]{0,77})$", "description": bound}
    raise NotImplementedError(f"no schema for {kind.__name__}")
