"""Small ONNX models and tables for the validators: trees that are grown by hand, and a network of two layers."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
from onnx import TensorProto, helper, numpy_helper

NAMES = ("age", "bmi", "visits")
METADATA: dict[str, Any] = {"feature_names": list(NAMES), "target": "cost", "task": "regression"}


def rows(count: int, seed: int = 0) -> np.ndarray:
    """Features as float32, shape (n, 3)."""
    return np.random.default_rng(seed).random((count, len(NAMES))).astype(np.float32)


def cost(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """A target that follows from the features and some noise."""
    noise = np.random.default_rng(seed + 1).normal(0, 0.2, len(features))
    return np.asarray(features[:, 0] + 2 * features[:, 1] + noise)


def table(features: np.ndarray, **more: Any) -> bytes:
    """An Arrow IPC stream of these columns."""
    columns = {name: features[:, place] for place, name in enumerate(NAMES)} | more
    sink = io.BytesIO()
    made = pa.table(columns)
    with pa.ipc.new_stream(sink, made.schema) as writer:
        writer.write_table(made)
    return sink.getvalue()


def forest(features: np.ndarray, target: np.ndarray, *, trees: int = 3, smallest: int = 20) -> onnx.ModelProto:
    """A boosted regression whose leaves hold ``smallest`` rows or more, split at medians, in pre-order."""
    return grown(features, target, trees=trees, smallest=smallest)[0]


def grown(features: np.ndarray, target: np.ndarray, *, trees: int, smallest: int) -> tuple[onnx.ModelProto, int]:
    """Such a model, and how many rows its smallest leaf holds."""
    nodes: dict[str, list[Any]] = {key: [] for key in ("tree", "node", "feature", "mode", "value", "true", "false")}
    weights: dict[str, list[Any]] = {key: [] for key in ("tree", "node", "weight", "rows")}
    left = target.astype(np.float64)
    for number in range(trees):
        left = left - _grow(number, features, left, smallest, nodes, weights)
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["rows"],
        ["variable"],
        domain="ai.onnx.ml",
        n_targets=1,
        post_transform="NONE",
        nodes_treeids=nodes["tree"],
        nodes_nodeids=nodes["node"],
        nodes_featureids=nodes["feature"],
        nodes_modes=nodes["mode"],
        nodes_values=nodes["value"],
        nodes_truenodeids=nodes["true"],
        nodes_falsenodeids=nodes["false"],
        nodes_missing_value_tracks_true=[0] * len(nodes["tree"]),
        nodes_hitrates=[1.0] * len(nodes["tree"]),
        target_treeids=weights["tree"],
        target_nodeids=weights["node"],
        target_ids=[0] * len(weights["tree"]),
        target_weights=weights["weight"],
    )
    return model([node], ["variable"], width=features.shape[1]), min(weights["rows"])


def _grow(
    tree: int, features: np.ndarray, target: np.ndarray, smallest: int, nodes: dict[str, Any], weights: dict[str, Any]
) -> np.ndarray:
    """One tree's answers; its nodes and weights are added to those there are."""
    answers, start = np.zeros(len(target)), len(nodes["tree"])

    def add(here: np.ndarray, depth: int) -> None:
        place = len(nodes["tree"])
        column = (tree + depth) % features.shape[1]
        cells = features[here, column]
        middle = np.float32(np.median(cells))
        taken = cells <= middle
        split = min(taken.sum(), (~taken).sum()) >= smallest
        row = (tree, place - start, column, "BRANCH_LEQ", float(middle), place - start + 1, 0)
        for key, value in zip(nodes, row if split else (tree, place - start, 0, "LEAF", 0.0, 0, 0), strict=True):
            nodes[key].append(value)
        if not split:
            answers[here] = target[here].mean()
            for key, value in zip(weights, (tree, place - start, float(target[here].mean()), len(here)), strict=True):
                weights[key].append(value)
            return
        add(here[taken], depth + 1)
        nodes["false"][place] = len(nodes["tree"]) - start
        add(here[~taken], depth + 1)

    add(np.arange(len(target)), 0)
    return answers


def network(features: int = 3, hidden: int = 4) -> onnx.ModelProto:
    """Two layers: ``hidden`` units, one output."""
    values = np.random.default_rng(2).normal(size=features * hidden + 2 * hidden + 1).astype(np.float32)
    shapes = {"w0": (features, hidden), "b0": (hidden,), "w1": (hidden, 1), "b1": (1,)}
    tensors, at = [], 0
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        tensors.append(numpy_helper.from_array(values[at : at + size].reshape(shape), name))
        at += size
    nodes = [
        helper.make_node("Gemm", ["rows", "w0", "b0"], ["h0"]),
        helper.make_node("Relu", ["h0"], ["h1"]),
        helper.make_node("Gemm", ["h1", "w1", "b1"], ["variable"]),
    ]
    return model(nodes, ["variable"], tensors, width=features)


def model(nodes: list[Any], outputs: list[str], tensors: list[Any] | None = None, *, width: int) -> onnx.ModelProto:
    """A model with one input ``rows`` and the metadata that workloads give theirs."""
    graph = helper.make_graph(
        nodes,
        "sealmarket",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in outputs],
        tensors or [],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="sealmarket")
    helper.set_model_props(made, {key: json.dumps(value) for key, value in sorted(METADATA.items())})
    return made


def spelled(made: onnx.ModelProto, *changes: Callable[[Any], object]) -> bytes:
    """The bytes of a copy that was changed."""
    copy = onnx.ModelProto()
    copy.CopyFrom(made)
    for change in changes:
        change(copy)
    return bytes(copy.SerializeToString(deterministic=True))


def attribute(made: Any, name: str, node: int = 0) -> Any:
    """One attribute of a node."""
    return next(one for one in made.graph.node[node].attribute if one.name == name)
