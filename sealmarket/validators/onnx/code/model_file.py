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
    if more := [field.name for field, _ in model.ListFields() if field.name not in known]:
        raise Refused(NOT_DECLARED, f"the model has {', '.join(more)}")
    known = {"node", "name", "initializer", "input", "output"}
    if more := [field.name for field, _ in model.graph.ListFields() if field.name not in known]:
        raise Refused(NOT_DECLARED, f"the graph has {', '.join(more)}")
    versions = [model.ir_version, *(one.version for one in model.opset_import)]
    if len(versions) > 5 or not all(0 < version <= _MOST_VERSION for version in versions):
        raise Refused(NOT_DECLARED, "versions out of range")
    return model
