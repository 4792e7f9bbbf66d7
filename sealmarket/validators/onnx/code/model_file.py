"""The bytes of an ONNX output -> its model, if they are the one spelling of it.

A field that the format does not know, a second spelling of a number, a field that is written twice, or another order
of fields would hold data that no reader of models shows.
"""

from __future__ import annotations

from typing import Any

import onnx
from google.protobuf.message import DecodeError
from verdict import NOT_DECLARED, NOT_READABLE, Refused

MOST_BYTES = 1 << 30
_MOST_VERSION = 100


def read(raw: memoryview) -> Any:
    """The model. Raises :class:`Refused` unless it is a plain one: no functions, training steps or configurations."""
    if len(raw) > MOST_BYTES:
        raise Refused(NOT_READABLE, f"{len(raw)} bytes")
    data = bytes(raw)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
        model.DiscardUnknownFields()
        spelled = model.SerializeToString(deterministic=True)
    except (DecodeError, ValueError):
        raise Refused(NOT_READABLE, "no ONNX model") from None
    if spelled != data:
        raise Refused(NOT_READABLE, "another spelling of its model, or unknown fields")
    known = {"ir_version", "producer_name", "producer_version", "domain", "opset_import", "graph", "metadata_props"}
    if more := present(model) - known:
        raise Refused(NOT_DECLARED, f"the model has {', '.join(sorted(more))}")
    known = {"node", "name", "initializer", "input", "output"}
    if more := present(model.graph) - known:
        raise Refused(NOT_DECLARED, f"the graph has {', '.join(sorted(more))}")
    versions = [model.ir_version, *(one.version for one in model.opset_import)]
    if len(versions) > 5 or not all(0 < version <= _MOST_VERSION for version in versions):
        raise Refused(NOT_DECLARED, "versions out of range")
    return model


def present(message: Any) -> set[str]:
    """The fields of a message that say something. Writers spell out zeros and empty texts."""
    return {field.name for field, value in message.ListFields() if not (isinstance(value, int | str) and not value)}
