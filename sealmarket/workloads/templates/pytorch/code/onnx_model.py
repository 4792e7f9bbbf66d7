"""A trained network as ONNX: one input ``rows`` of 32-bit floats, weights in the order of the layers.

Written here, and not by an exporter: those name every step of the computation, and names are text that may not leave.
"""

from __future__ import annotations

from typing import Any

import onnx
from learning import Task
from onnx import TensorProto, helper, numpy_helper

IR_VERSION, OPSET = 8, 17


def of_network(network: Any, task: Task, metadata: dict[str, str]) -> bytes:
    """The model's bytes: probabilities of the classes in the order of ``class_labels``, or one quantity."""
    nodes: list[Any] = []
    tensors: list[Any] = []
    last = "rows"
    for layer in network:
        for kind, weights, attributes in _steps(layer):
            names = [f"w{len(tensors) + number}" for number in range(len(weights))]
            tensors += [numpy_helper.from_array(one, name) for one, name in zip(weights, names, strict=True)]
            nodes.append(helper.make_node(kind, [last, *names], [f"v{len(nodes)}"], **attributes))
            last = f"v{len(nodes) - 1}"
    if task.labels is None:
        nodes[-1].output[0] = last = "variable"
    else:
        last = "probabilities"
        nodes.append(helper.make_node("Softmax", [nodes[-1].output[0]], [last], axis=1))
    width = 1 if task.labels is None else len(task.labels)
    graph = helper.make_graph(
        nodes,
        "sealmarket",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, len(task.names)])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, [None, width])],
        tensors,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="sealmarket")
    helper.set_model_props(made, metadata)
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString(deterministic=True))


def _steps(layer: Any) -> list[tuple[str, list[Any], dict[str, Any]]]:
    """Operator, weights and attributes of each step of a layer."""
    if type(layer).__name__ == "Standardised":
        return [("Sub", [layer.mean.numpy()], {}), ("Mul", [layer.scale.numpy()], {})]
    if type(layer).__name__ == "Linear":
        weights = [layer.weight.detach().numpy(), layer.bias.detach().numpy()]
        return [("Gemm", weights, {"transB": 1})]
    return [("Relu", [], {})]
