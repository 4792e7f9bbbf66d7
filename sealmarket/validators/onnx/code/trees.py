"""Tree ensembles of ONNX (``TreeEnsembleClassifier``, ``TreeEnsembleRegressor``): one numbering, enough rows in a leaf.

The format gives each node a number and lists them in any order; a workload could hide rows in that choice. So the
nodes of each tree stand in pre-order, the true branch first, and are numbered from 0 in that order; trees are numbered
likewise. skl2onnx and onnxmltools write them so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from verdict import GROUP_TOO_SMALL, NOT_DECLARED, Refused

_BRANCHES = (b"BRANCH_LEQ", b"BRANCH_LT")
_LEAF = b"LEAF"
_KINDS = {"TreeEnsembleClassifier": "class", "TreeEnsembleRegressor": "target"}


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Nodes of all trees, in their order; ``starts`` are the places of the roots."""

    starts: np.ndarray
    leaf: np.ndarray
    strict: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    missing_true: np.ndarray
    false: np.ndarray


def read(model: Any) -> list[Ensemble]:
    """The ensembles of a model, whose input is the graph's own.

    Raises:
        Refused: ``not_declared`` for another numbering, a number without a use, or trees behind another operator.
    """
    given = [value.name for value in model.graph.input]
    found = []
    for node in model.graph.node:
        if node.op_type not in _KINDS:
            continue
        if list(node.input) != given or len(given) != 1:
            raise Refused(NOT_DECLARED, "trees read the model's one input")
        attributes = {one.name: one for one in node.attribute}
        ensemble = _ensemble(attributes, _width(model))
        _require_weights(attributes, _KINDS[node.op_type], ensemble)
        found.append(ensemble)
    return found


def require_groups(ensemble: Ensemble, rows: np.ndarray, smallest: int) -> None:
    """Raise :class:`Refused` (``group_too_small``) unless each leaf is reached by ``smallest`` rows.

    ``rows``: float32 of shape (n, features). A row with a missing cell goes where the model sends it.
    """
    if rows.shape[1] <= int(ensemble.feature.max(initial=0)):
        raise Refused(NOT_DECLARED, "trees ask for a feature that is not named")
    columns = np.ascontiguousarray(rows.T)
    for start in ensemble.starts.tolist():
        pending = [(start, np.arange(len(rows)))]
        while pending:
            node, here = pending.pop()
            if len(here) < smallest:
                raise Refused(GROUP_TOO_SMALL, f"a part of a tree has {len(here)} rows, expected at least {smallest}")
            if ensemble.leaf[node]:
                continue
            cells, threshold = columns[ensemble.feature[node]][here], ensemble.threshold[node]
            taken = cells < threshold if ensemble.strict[node] else cells <= threshold
            if ensemble.missing_true[node]:
                taken |= np.isnan(cells)
            pending.append((node + 1, here[taken]))
            pending.append((start + int(ensemble.false[node]), here[~taken]))


def _width(model: Any) -> int:
    sides = model.graph.input[0].type.tensor_type.shape.dim
    if len(sides) != 2 or sides[1].dim_value < 1:
        raise Refused(NOT_DECLARED, "trees read rows of a stated number of features")
    return int(sides[1].dim_value)


def _ensemble(attributes: dict[str, Any], width: int) -> Ensemble:
    modes = list(attributes["nodes_modes"].strings) if "nodes_modes" in attributes else []
    count = len(modes)
    if not count or not set(modes) <= {*_BRANCHES, _LEAF}:
        raise Refused(NOT_DECLARED, "nodes of another kind than <=, < and leaf")
    trees, numbers, features, true, false = (
        _ints(attributes, f"nodes_{name}", count)
        for name in ("treeids", "nodeids", "featureids", "truenodeids", "falsenodeids")
    )
    missing = _ints(attributes, "nodes_missing_value_tracks_true", count, absent=0)
    values, hits = _floats(attributes, "nodes_values"), _floats(attributes, "nodes_hitrates")
    if len(values) != count or len(hits) not in (0, count) or not (hits == 1).all():
        raise Refused(NOT_DECLARED, "values or hit rates of nodes that are not there")
    leaf = np.array([mode == _LEAF for mode in modes])
    idle = leaf & ((features != 0) | (true != 0) | (false != 0) | (values != 0) | np.signbit(values) | (missing != 0))
    starts = np.flatnonzero(numbers == 0)
    edges = np.append(starts, count)
    expected_trees = np.repeat(np.arange(len(starts)), np.diff(edges)) if len(starts) and starts[0] == 0 else None
    if expected_trees is None or (trees != expected_trees).any() or idle.any():
        raise Refused(NOT_DECLARED, "trees in another order, or numbers in a leaf")
    if (numbers != np.arange(count) - np.repeat(starts, np.diff(edges))).any():
        raise Refused(NOT_DECLARED, "nodes in another order")
    if (features < 0).any() or (features >= width).any() or not set(missing.tolist()) <= {0, 1}:
        raise Refused(NOT_DECLARED, "a feature that the input does not have")
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        _require_preorder(leaf[start:end].tolist(), true[start:end].tolist(), false[start:end].tolist())
    strict = np.array([mode == b"BRANCH_LT" for mode in modes])
    return Ensemble(starts, leaf, strict, features, values, missing == 1, false)


def _require_preorder(leaf: list[bool], true: list[int], false: list[int]) -> None:
    waiting: list[int] = []
    for place, ends in enumerate(leaf):
        if not ends:
            if true[place] != place + 1:
                raise Refused(NOT_DECLARED, "nodes out of pre-order")
            waiting.append(false[place])
            continue
        following = waiting.pop() if waiting else len(leaf)
        if following != place + 1:
            raise Refused(NOT_DECLARED, "nodes out of pre-order")
    if waiting:
        raise Refused(NOT_DECLARED, "a branch that leads nowhere")


def _require_weights(attributes: dict[str, Any], kind: str, ensemble: Ensemble) -> None:
    """Each leaf has its weights in the order of leaves, for ascending classes or targets, and nothing else has any."""
    weights = attributes[f"{kind}_weights"].floats if f"{kind}_weights" in attributes else ()
    count = len(weights)
    trees, nodes, ids = (_ints(attributes, f"{kind}_{name}", count) for name in ("treeids", "nodeids", "ids"))
    lengths = np.diff(np.append(ensemble.starts, len(ensemble.leaf)))
    if (trees < 0).any() or (trees >= len(lengths)).any() or (nodes < 0).any() or (nodes >= lengths[trees]).any():
        raise Refused(NOT_DECLARED, "a weight of a node that is not there")
    places = ensemble.starts[trees] + nodes
    order = places * (int(ids.max(initial=0)) + 1) + ids
    if (ids < 0).any() or (ids > _most_ids(attributes)).any() or (np.diff(order) <= 0).any():
        raise Refused(NOT_DECLARED, "weights in another order, or of another class")
    if set(places.tolist()) != set(np.flatnonzero(ensemble.leaf).tolist()):
        raise Refused(NOT_DECLARED, "leaves and weights do not go together")


def _most_ids(attributes: dict[str, Any]) -> int:
    if "n_targets" in attributes:
        return int(attributes["n_targets"].i) - 1
    labels = [len(one.ints) + len(one.strings) for name, one in attributes.items() if name.startswith("classlabels_")]
    return sum(labels) - 1


def _ints(attributes: dict[str, Any], name: str, count: int, absent: int | None = None) -> np.ndarray:
    if name not in attributes and absent is not None:
        return np.full(count, absent, dtype=np.int64)
    found = np.asarray(attributes[name].ints if name in attributes else (), dtype=np.int64)
    if len(found) != count:
        raise Refused(NOT_DECLARED, f"{len(found)} values in {name}, expected {count}")
    return found


def _floats(attributes: dict[str, Any], name: str) -> np.ndarray:
    return np.asarray(attributes[name].floats if name in attributes else (), dtype=np.float32)
