"""Is an ONNX output what its owner's rules allow? (docs/spec/outputs.md, "ONNX")

1. The file is the one spelling of its model; nothing lies outside of it (:mod:`model_file`).
2. Operators are allowed, each node and initialiser serves an output, and nothing is NaN (:mod:`graph`).
3. The layers are the declared ones, where the rules declare them; numbers are few, also for each cell of the data.
4. Names, metadata and labels are little text beside the declared keys and words (:mod:`text`).
5. Trees are numbered in one order, and enough rows of the data reach each leaf (:mod:`trees`).
"""

from __future__ import annotations

import graph
import model_file
import text
import trees
from tables import Tables
from verdict import NOT_DECLARED, TOO_MANY_NUMBERS, Inputs, Refused, judged, read_rules

_KINDS: dict[str, type | tuple[type, ...]] = {
    "architecture": (list, type(None)),
    "maxNumbers": int,
    "maxText": int,
    "metadata": dict,
    "numbersPerThousandCells": (int, type(None)),
    "operators": list,
    "smallestGroup": int,
    "words": list,
}


def run(inputs: Inputs, parameters: object) -> dict[str, bytes]:
    """Entry point: ``output``, ``rules`` and the tables in, ``verdict.json`` out."""
    del parameters
    return judged(check, inputs)


def check(inputs: Inputs) -> None:
    """Raise :class:`Refused` unless the output may leave."""
    rules = read_rules(inputs["rules"], _KINDS)
    model = model_file.read(inputs["output"])
    weights = graph.check(model, rules["operators"])
    if rules["architecture"] is not None and [list(one.shape) for one in weights] != rules["architecture"]:
        raise Refused(NOT_DECLARED, "the layers are not the declared ones")
    ensembles = trees.read(model)
    numbers = graph.count(model, weights)
    if numbers > rules["maxNumbers"]:
        raise Refused(TOO_MANY_NUMBERS, f"{numbers} numbers, expected at most {rules['maxNumbers']}")
    tables = Tables(inputs)
    text.check(model, rules["metadata"], rules["maxText"], frozenset(rules["words"]) | tables.columns)
    limit, smallest = rules["numbersPerThousandCells"], rules["smallestGroup"]
    if limit is None and not (ensembles and smallest > 1):
        return
    rows = tables.features(text.feature_names(model))
    if limit is not None and numbers * 1000 > limit * rows.size:
        raise Refused(TOO_MANY_NUMBERS, f"{numbers} numbers for {rows.size} cells")
    for ensemble in ensembles:
        trees.require_groups(ensemble, rows, smallest)
