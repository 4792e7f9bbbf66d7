"""A trained booster as ONNX: one input ``rows`` of 32-bit floats, one ensemble of trees, numbered in pre-order.

Written here, and not by a converter: those bring scikit-learn and SciPy, and seconds of loading, for these lines.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import onnx
from learning import Task
from onnx import TensorProto, helper

IR_VERSION, OPSET, ML_OPSET = 8, 17, 1


def of_booster(booster: Any, task: Task, metadata: dict[str, str]) -> bytes:
    """The model's bytes. Classes are numbers or texts as in the data; truth values are 0 and 1."""
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    base = _base(learner["learner_model_param"]["base_score"])
    model = learner["gradient_booster"]["model"]
    nodes, weights = _trees(model["trees"], model["tree_info"])
    if task.labels is None:
        node = helper.make_node(
            "TreeEnsembleRegressor", ["rows"], ["variable"], domain="ai.onnx.ml", n_targets=1, base_values=base,
            post_transform="NONE", **nodes, **{f"target_{key}": values for key, values in weights.items()},
        )  # fmt: skip
        outputs = [helper.make_tensor_value_info("variable", TensorProto.FLOAT, [None, 1])]
    else:
        labels, kind = _labels(task.labels)
        two = len(task.labels) == 2
        node = helper.make_node(
            "TreeEnsembleClassifier", ["rows"], ["label", "probabilities"], domain="ai.onnx.ml", **labels,
            base_values=[math.log(base[0] / (1 - base[0]))] if two else (base * len(task.labels))[: len(task.labels)],
            post_transform="LOGISTIC" if two else "SOFTMAX", **nodes,
            **{f"class_{key}": values for key, values in weights.items()},
        )  # fmt: skip
        outputs = [
            helper.make_tensor_value_info("label", kind, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, len(task.labels)]),
        ]
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, len(task.names)])
    graph = helper.make_graph([node], "sealmarket", [rows], outputs)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="sealmarket")
    helper.set_model_props(made, metadata)
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString(deterministic=True))


def _base(text: str) -> list[float]:
    """``5E-1`` of older versions, ``[5E-1]`` or one number for each class of newer ones."""
    return [float(part) for part in text.strip("[]").split(",")]


def _labels(labels: tuple[Any, ...]) -> tuple[dict[str, Any], int]:
    if isinstance(labels[0], str):
        return {"classlabels_strings": list(labels)}, TensorProto.STRING
    return {"classlabels_int64s": [int(label) for label in labels]}, TensorProto.INT64


def _trees(trees: list[dict[str, Any]], classes: list[int]) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    names = ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids")
    nodes: dict[str, list[Any]] = {f"nodes_{name}": [] for name in (*names, "missing_value_tracks_true")}
    weights: dict[str, list[Any]] = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    for number, (tree, of_class) in enumerate(zip(trees, classes, strict=True)):
        left, right = tree["left_children"], tree["right_children"]
        order = list(_preorder(left, right))
        place = {node: new for new, node in enumerate(order)}
        for new, node in enumerate(order):
            leaf = left[node] < 0
            row = (number, new, 0, "LEAF", 0.0, 0, 0, 0) if leaf else (
                number, new, tree["split_indices"][node], "BRANCH_LT", tree["split_conditions"][node],
                place[left[node]], place[right[node]], int(tree["default_left"][node]),
            )  # fmt: skip
            for values, value in zip(nodes.values(), row, strict=True):
                values.append(value)
            if leaf:
                row = (number, new, of_class, tree["split_conditions"][node])
                for values, value in zip(weights.values(), row, strict=True):
                    values.append(value)
    return nodes, weights


def _preorder(left: list[int], right: list[int]) -> Iterator[int]:
    pending = [0]
    while pending:
        node = pending.pop()
        yield node
        if left[node] >= 0:
            pending += [right[node], left[node]]
