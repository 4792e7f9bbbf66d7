"""Nodes, initialisers and numbers of a model's graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from model_file import present
from onnx import AttributeProto, TensorProto, checker, numpy_helper
from verdict import NOT_DECLARED, NOT_READABLE, NOT_USED, Refused

_TENSORS = {
    TensorProto.FLOAT: ("float_data", 4),
    TensorProto.DOUBLE: ("double_data", 8),
    TensorProto.FLOAT16: ("int32_data", 2),
    TensorProto.INT64: ("int64_data", 8),
    TensorProto.INT32: ("int32_data", 4),
}
_ATTRIBUTES = {
    AttributeProto.FLOAT: "f",
    AttributeProto.INT: "i",
    AttributeProto.STRING: "s",
    AttributeProto.FLOATS: "floats",
    AttributeProto.INTS: "ints",
    AttributeProto.STRINGS: "strings",
    AttributeProto.TENSOR: "t",
}
_NODE = {"input", "output", "name", "op_type", "domain", "attribute"}


def check(model: Any, operators: list[str]) -> list[np.ndarray]:
    """The weights of the graph in the order of their use: initialisers and constants.

    Raises:
        Refused: an operator that ``operators`` does not name (``Relu``, ``ai.onnx.ml.Scaler``), a node or an
            initialiser that no output needs, a tensor that is not plain.
    """
    for node in model.graph.node:
        name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        if name not in operators:
            raise Refused(NOT_DECLARED, f"operator {name}")
        if more := present(node) - _NODE:
            raise Refused(NOT_DECLARED, f"a node has {', '.join(sorted(more))}")
        for attribute in node.attribute:
            _require_plain_attribute(attribute, constant=node.op_type == "Constant")
    for value in (*model.graph.input, *model.graph.output):
        _require_plain_value(value)
    tensors = {one.name: one for one in model.graph.initializer}
    if len(tensors) != len(model.graph.initializer):
        raise Refused(NOT_DECLARED, "two initialisers of one name")
    _require_used(model, set(tensors))
    weights = [_array(tensor) for tensor in _in_order(model, tensors)]
    _require_sound(model)
    return weights


def count(model: Any, weights: list[np.ndarray]) -> int:
    """How many numbers the model holds: weights, numbers of attributes, sides of its inputs and outputs.

    Numbers that only say the structure of trees are not counted; :mod:`trees` leaves no choice in them but the
    feature, which counts with its threshold.
    """
    total = sum(one.size for one in weights)
    for node in model.graph.node:
        trees = node.op_type.startswith("TreeEnsemble")
        for attribute in node.attribute:
            if not trees or attribute.name in ("base_values", "nodes_values", "class_weights", "target_weights"):
                total += len(attribute.floats) + len(attribute.ints)
            elif attribute.name == "classlabels_int64s":
                total += len(attribute.ints)
            total += attribute.type in (AttributeProto.FLOAT, AttributeProto.INT)
    for value in (*model.graph.input, *model.graph.output):
        total += len(value.type.tensor_type.shape.dim)
    return total


def _require_sound(model: Any) -> None:
    """What ONNX's own checker finds, among others an attribute that the operator does not have."""
    try:
        checker.check_model(model)
    except (checker.ValidationError, ValueError) as error:
        raise Refused(NOT_DECLARED, type(error).__name__) from None


def _require_plain_attribute(attribute: Any, *, constant: bool) -> None:
    field = _ATTRIBUTES.get(attribute.type)
    if field is None or (field == "t" and not constant):
        raise Refused(NOT_DECLARED, f"an attribute of kind {attribute.type}")
    if more := present(attribute) - {"name", "type", field}:
        raise Refused(NOT_DECLARED, f"an attribute has {', '.join(sorted(more))}")
    if np.isnan(np.asarray([attribute.f, *attribute.floats])).any():
        raise Refused(NOT_DECLARED, "an attribute is NaN")


def _require_plain_value(value: Any) -> None:
    if present(value) - {"name", "type"}:
        raise Refused(NOT_DECLARED, "an input or output has more than name and type")
    if value.type.WhichOneof("value") != "tensor_type" or value.type.denotation:
        raise Refused(NOT_DECLARED, "an input or output is no plain tensor")
    if any(side.denotation for side in value.type.tensor_type.shape.dim):
        raise Refused(NOT_DECLARED, "a side has a denotation")


def _require_used(model: Any, tensors: set[str]) -> None:
    """Each node, initialiser and input serves an output; each output of a node is used by one or is the graph's."""
    made_by: dict[str, Any] = {}
    for node in model.graph.node:
        for name in node.output:
            if not name or name in made_by or name in tensors:
                raise Refused(NOT_DECLARED, "a value is made twice, or has no name")
            made_by[name] = node
    outputs = [value.name for value in model.graph.output]
    needed, pending = set(), list(outputs)
    while pending:
        name = pending.pop()
        if name and name not in needed:
            needed.add(name)
            if name in made_by:
                pending += made_by[name].input
    given = {value.name for value in model.graph.input}
    if unused := (tensors | given) - needed:
        raise Refused(NOT_USED, f"{len(unused)} initialisers or inputs")
    if any(not needed.intersection(node.output) for node in model.graph.node):
        raise Refused(NOT_USED, "a node")


def _in_order(model: Any, tensors: dict[str, Any]) -> Iterator[Any]:
    seen: set[str] = set()
    for node in model.graph.node:
        for name in node.input:
            if name in tensors and name not in seen:
                seen.add(name)
                yield tensors[name]
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t


def _array(tensor: Any) -> np.ndarray:
    known = _TENSORS.get(tensor.data_type)
    if known is None:
        raise Refused(NOT_DECLARED, f"a tensor of kind {tensor.data_type}")
    field, width = known
    if more := present(tensor) - {"name", "dims", "data_type", "raw_data", field}:
        raise Refused(NOT_DECLARED, f"a tensor has {', '.join(sorted(more))}")
    size = int(np.prod([int(side) for side in tensor.dims], dtype=object)) if tensor.dims else 1
    held = (len(tensor.raw_data), len(getattr(tensor, field)))
    if any(side < 0 for side in tensor.dims) or held not in ((size * width, 0), (0, size)):
        raise Refused(NOT_READABLE, f"a tensor of {held} values for {size}")
    array: np.ndarray = numpy_helper.to_array(tensor)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise Refused(NOT_DECLARED, "a weight is not finite")
    return array
