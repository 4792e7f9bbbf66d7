"""The ONNX validator lets a sound model through; rows hidden anywhere in the file are withheld, one test per place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given as cases
from hypothesis import settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tests.validators.bundles import load, verdict
from tests.validators.models import attribute, cost, forest, grown, network, rows, spelled, table

VALIDATOR = load("onnx")
FEATURES = rows(600)
TABLE = table(FEATURES, cost=cost(FEATURES))
FOREST, NETWORK = forest(FEATURES, cost(FEATURES)), network()
RULES: dict[str, Any] = {
    "architecture": [],
    "maxNumbers": 5000,
    "maxText": 200,
    "metadata": {"feature_names": 64, "target": 16, "task": 16},
    "numbersPerThousandCells": 500,
    "operators": ["ai.onnx.ml.TreeEnsembleRegressor", "Identity"],
    "smallestGroup": 10,
    "words": [],
}
LAYERS = RULES | {
    "architecture": [[3, 4], [4], [4, 1], [1]],
    "operators": ["Gemm", "Relu", "Identity", "Add", "Constant"],
}
PATIENT = "41;1500.25;diagnosis F32.1;"
Change = Callable[[Any], object]


def said(output: bytes, *tables: bytes, **rules: Any) -> str | None:
    return verdict(VALIDATOR, output, RULES | rules, *(tables or (TABLE,)))


def weights(values: Any, name: str = "rows41") -> Any:
    return numpy_helper.from_array(np.asarray(values, dtype=np.float32), name)


# --- the file ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "output",
    [
        b"age,cost\n41,1500.25\n",
        b"\xff" * 40,
        spelled(FOREST)[:-3],
        spelled(FOREST) + b"\xa2\x06\x0441,1",  # field 100, which ONNX does not have
        spelled(FOREST) + b"\x28\x00",  # a default that is written out
        b"\x08\x88\x00" + spelled(FOREST)[2:],  # a number in more bytes than it needs
        b"\x08\x07" + spelled(FOREST),  # a field twice: the last counts
    ],
)
def test_what_is_not_the_one_spelling_of_a_model_is_withheld(output: bytes) -> None:
    assert said(output) == "not_readable"


def test_bytes_that_no_reader_shows_do_not_leave_inside_the_graph() -> None:
    inner = FOREST.graph.SerializeToString(deterministic=True) + b"\xa2\x06\x0441,1"
    copy = onnx.ModelProto()
    copy.CopyFrom(FOREST)
    copy.ClearField("graph")
    graph = b"\x3a" + _varint(len(inner)) + inner
    head, tail = copy.SerializeToString(deterministic=True).split(b"sealmarket", 1)
    assert said(head + b"sealmarket" + graph + tail) == "not_readable"


def _varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


# --- rows in parts that a model does not need ----------------------------------------------------------------


def _external(made: Any) -> None:
    made.graph.initializer[0].data_location = TensorProto.EXTERNAL
    made.graph.initializer[0].ClearField("raw_data")
    made.graph.initializer[0].external_data.add(key="location", value="rows.bin")


def _subgraph(made: Any) -> None:
    inner = helper.make_graph([], "g", [], [], [weights(np.arange(40))])
    made.graph.node[1].attribute.append(helper.make_attribute("body", inner))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda made: made.graph.initializer.append(weights(np.arange(400))), "not_used"),
        (lambda made: made.graph.node.append(helper.make_node("Relu", ["h0"], ["dead"])), "not_used"),
        (lambda made: made.graph.input.append(helper.make_tensor_value_info("x", 1, [41, 1500])), "not_used"),
        (lambda made: made.graph.initializer.append(made.graph.initializer[0]), "not_declared"),
        (lambda made: made.graph.sparse_initializer.add(dims=[41, 1500]), "not_declared"),
        (lambda made: made.graph.value_info.append(made.graph.output[0]), "not_declared"),
        (lambda made: setattr(made.graph, "doc_string", PATIENT), "not_declared"),
        (lambda made: setattr(made, "doc_string", PATIENT), "not_declared"),
        (lambda made: setattr(made, "model_version", 411500), "not_declared"),
        (lambda made: made.functions.add(name="f", domain="d"), "not_declared"),
        (lambda made: made.training_info.add(), "not_declared"),
        (lambda made: setattr(made.opset_import[0], "version", 411500), "not_declared"),
        (lambda made: setattr(made.graph.node[0], "doc_string", PATIENT), "not_declared"),
        (lambda made: made.graph.node[0].metadata_props.add(key="a", value=PATIENT), "not_declared"),
        (lambda made: made.graph.metadata_props.add(key="a", value=PATIENT), "not_declared"),
        (lambda made: setattr(made.graph.input[0], "doc_string", PATIENT), "not_declared"),
        (lambda made: setattr(made.graph.input[0].type, "denotation", PATIENT), "not_declared"),
        (lambda made: setattr(made.graph.input[0].type.tensor_type.shape.dim[0], "denotation", "a"), "not_declared"),
        (lambda made: setattr(made.graph.initializer[0], "doc_string", PATIENT), "not_declared"),
        (lambda made: made.graph.initializer[0].float_data.append(41.0), "not_readable"),
        (lambda made: setattr(made.graph.initializer[0], "raw_data", bytes(52)), "not_readable"),
        (lambda made: made.graph.initializer[0].dims.append(2), "not_readable"),
        (lambda made: setattr(made.graph.initializer[0], "data_type", TensorProto.STRING), "not_declared"),
        (_external, "not_declared"),
        (_subgraph, "not_declared"),
        (lambda made: made.graph.node[1].attribute.append(helper.make_attribute("rows", [41.0] * 40)), "not_declared"),
        (lambda made: setattr(made.graph.node[1], "op_type", "Tanh"), "not_declared"),
        (lambda made: setattr(made.graph.node[1], "domain", "mine"), "not_declared"),
    ],
)
def test_rows_in_a_part_that_the_model_does_not_need_are_withheld(change: Change, code: str) -> None:
    assert verdict(VALIDATOR, spelled(NETWORK, change), LAYERS, TABLE) == code


def test_weights_that_are_not_numbers_are_withheld() -> None:
    def hide(made: Any) -> None:
        made.graph.initializer[0].raw_data = np.full((3, 4), np.nan, dtype=np.float32).tobytes()

    assert verdict(VALIDATOR, spelled(NETWORK, hide), LAYERS, TABLE) == "not_declared"
    assert said(spelled(FOREST, lambda made: attribute(made, "nodes_values").floats.__setitem__(0, np.nan))) == (
        "not_declared"
    )


# --- layers and counts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [[], [[3, 4], [4], [4, 1]], [[4, 3], [4], [4, 1], [1]], [[3, 5], [5], [5, 1], [1]]])
def test_a_network_of_other_layers_than_declared_is_withheld(layers: list[list[int]]) -> None:
    assert verdict(VALIDATOR, spelled(NETWORK), LAYERS | {"architecture": layers}, TABLE) == "not_declared"


def test_rows_in_the_weights_of_a_layer_that_is_added_are_withheld() -> None:
    def add(made: Any) -> None:
        made.graph.initializer.append(weights([41.0], "more"))
        made.graph.node.insert(2, helper.make_node("Add", ["h1", "more"], ["h2"]))
        made.graph.node[3].input[0] = "h2"

    def constant(made: Any) -> None:
        made.graph.node.insert(0, helper.make_node("Constant", [], ["more"], value=weights([41.0])))
        made.graph.node.insert(3, helper.make_node("Add", ["h1", "more"], ["h2"]))
        made.graph.node[4].input[0] = "h2"

    for change in (add, constant):
        assert verdict(VALIDATOR, spelled(NETWORK, change), LAYERS, TABLE) == "not_declared"
        assert verdict(VALIDATOR, spelled(NETWORK, change), LAYERS | {"architecture": None}, TABLE) is None


@pytest.mark.parametrize("rules", [{"maxNumbers": 40}, {"numbersPerThousandCells": 10}])
def test_more_numbers_than_the_owner_allows_are_withheld(rules: dict[str, Any]) -> None:
    assert said(spelled(FOREST), **rules) == "too_many_numbers"


def test_rules_that_need_the_data_let_nothing_leave_without_it() -> None:
    assert verdict(VALIDATOR, spelled(FOREST), RULES) == "data_missing"
    assert said(spelled(FOREST), b"age,bmi\n1,2\n") == "data_missing"


# --- text ----------------------------------------------------------------------------------------------------


def _meta(key: str, value: str) -> Change:
    def change(made: Any) -> None:
        entries = {one.key: one.value for one in made.metadata_props} | {key: value}
        made.ClearField("metadata_props")
        helper.set_model_props(made, dict(sorted(entries.items())))

    return change


@pytest.mark.parametrize(
    "change",
    [
        _meta("rows", PATIENT * 10),
        _meta(PATIENT * 10, ""),
        _meta("task", PATIENT),
        _meta("feature_names", '["' + PATIENT * 3 + '"]'),
        _meta("target", '"' + PATIENT + '"'),
        lambda made: setattr(made, "producer_name", PATIENT * 10),
        lambda made: setattr(made.graph, "name", PATIENT * 10),
        lambda made: setattr(made.graph.node[0], "name", PATIENT * 10),
        lambda made: setattr(made.graph.input[0].type.tensor_type.shape.dim[0], "dim_param", PATIENT * 10),
    ],
)
def test_rows_in_names_and_metadata_are_withheld(change: Change) -> None:
    assert said(spelled(FOREST, change)) == "too_much_text"


def test_metadata_in_another_order_or_twice_is_withheld() -> None:
    assert said(spelled(FOREST, lambda made: made.metadata_props.reverse())) == "not_declared"
    assert said(spelled(FOREST, lambda made: made.metadata_props.append(made.metadata_props[-1]))) == "not_declared"


@pytest.mark.parametrize("names", ["[]", "7", '["age", "age", "bmi"]', '["age", "bmi", "wage"]', "[1, 2, 3]", "age"])
def test_features_that_are_no_columns_of_the_data_are_withheld(names: str) -> None:
    assert said(spelled(FOREST, _meta("feature_names", names))) == "not_from_data"


def test_names_of_columns_cost_nothing_and_a_list_of_repeated_names_does() -> None:
    tight = {"metadata": {"feature_names": 0, "target": 0, "task": 16}}
    assert said(spelled(FOREST), **tight) is None
    assert said(spelled(FOREST, _meta("feature_names", '["age", "age", "bmi"]')), **tight) == "too_much_text"


# --- trees ---------------------------------------------------------------------------------------------------


def test_a_tree_that_remembers_single_rows_is_withheld() -> None:
    remembering = forest(FEATURES, cost(FEATURES), trees=1, smallest=1)
    generous = {"maxNumbers": 10**6, "numbersPerThousandCells": 10**6}
    assert said(spelled(remembering), **generous) == "group_too_small"
    assert said(spelled(remembering), **generous, smallestGroup=1) is None


def test_leaves_are_counted_on_the_rows_of_the_data_and_not_on_what_the_model_says() -> None:
    assert said(spelled(FOREST), table(FEATURES[:300])) is None
    assert said(spelled(FOREST), table(FEATURES[:40])) == "too_many_numbers"
    assert said(spelled(FOREST), table(FEATURES[:40]), numbersPerThousandCells=None) == "group_too_small"
    assert said(spelled(FOREST), *(table(FEATURES[n : n + 300]) for n in (0, 300))) is None


def test_rows_in_leaves_that_no_row_reaches_are_withheld() -> None:
    def widen(made: Any) -> None:
        attribute(made, "nodes_values").floats[0] = 1e6  # every row takes the true branch

    assert said(spelled(FOREST, widen)) == "group_too_small"


def _permuted(made: Any) -> None:
    """Two nodes of the first tree change places and keep their numbers: the same tree in another order."""
    for one in made.graph.node[0].attribute:
        values = one.ints or one.floats or one.strings
        if one.name.startswith("nodes_"):
            values[1], values[2] = values[2], values[1]


def _renumbered(made: Any) -> None:
    count = list(attribute(made, "nodes_treeids").ints).count(0)
    for name in ("nodes_nodeids", "target_nodeids"):
        trees = attribute(made, name.replace("nodeids", "treeids")).ints
        ids = attribute(made, name).ints
        for place, tree in enumerate(trees):
            if tree == 0 and ids[place] == count - 1:
                ids[place] = 4115


@pytest.mark.parametrize(
    "change",
    [
        _permuted,
        _renumbered,
        lambda made: attribute(made, "nodes_treeids").ints.__setitem__(0, 41),
        lambda made: attribute(made, "nodes_hitrates").floats.__setitem__(0, 41.15),
        lambda made: attribute(made, "nodes_hitrates").floats.append(41.15),
        lambda made: attribute(made, "nodes_featureids").ints.__setitem__(0, 4115),
        lambda made: attribute(made, "nodes_featureids").ints.__setitem__(-1, 2),
        lambda made: attribute(made, "nodes_values").floats.__setitem__(-1, 41.15),
        lambda made: attribute(made, "nodes_values").floats.__setitem__(-1, -0.0),
        lambda made: attribute(made, "nodes_truenodeids").ints.__setitem__(-1, 41),
        lambda made: attribute(made, "nodes_falsenodeids").ints.__setitem__(0, 1),
        lambda made: attribute(made, "nodes_missing_value_tracks_true").ints.__setitem__(0, 41),
        lambda made: attribute(made, "nodes_missing_value_tracks_true").ints.__setitem__(-1, 1),
        lambda made: attribute(made, "nodes_modes").strings.__setitem__(0, b"BRANCH_EQ"),
        lambda made: attribute(made, "target_ids").ints.__setitem__(0, 41),
        lambda made: attribute(made, "target_nodeids").ints.__setitem__(0, 0),
        lambda made: attribute(made, "target_nodeids").ints.__setitem__(0, 4115),
        lambda made: attribute(made, "target_weights").floats.append(41.15),
        lambda made: made.graph.node[0].attribute.remove(attribute(made, "nodes_values")),
    ],
)
def test_rows_in_the_numbers_and_the_order_of_trees_are_withheld(change: Change) -> None:
    assert said(spelled(FOREST, change)) == "not_declared"


def test_trees_behind_another_operator_are_withheld_since_nobody_could_count_their_leaves() -> None:
    def scale(made: Any) -> None:
        made.graph.node.insert(0, helper.make_node("Identity", ["rows"], ["scaled"]))
        made.graph.node[1].input[0] = "scaled"

    assert said(spelled(FOREST, scale)) == "not_declared"


def test_a_row_without_a_cell_goes_where_the_model_sends_it() -> None:
    missing = FEATURES.copy()
    missing[:, 0] = np.nan
    assert said(spelled(FOREST), table(missing)) == "group_too_small"


@settings(max_examples=30)
@cases(st.integers(30, 300), st.integers(1, 4), st.integers(1, 40), st.integers(0, 9))
def test_what_leaves_has_as_many_rows_in_each_leaf_as_the_owner_demands(
    count: int, trees: int, smallest: int, seed: int
) -> None:
    features = rows(count, seed)
    made, least = grown(features, cost(features), trees=trees, smallest=smallest)
    generous = {"maxNumbers": 10**6, "numbersPerThousandCells": None}
    assert said(spelled(made), table(features), **generous, smallestGroup=least) is None
    assert said(spelled(made), table(features), **generous, smallestGroup=least + 1) == "group_too_small"


# --- rules ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rules", [{"more": 1}, {"smallestGroup": -1}, {"operators": "Gemm"}, {"metadata": {"task": "x"}}]
)
def test_rules_that_are_none_let_nothing_leave(rules: dict[str, Any]) -> None:
    assert said(spelled(FOREST), **rules) == "rules_invalid"


def test_zeros_and_empty_texts_that_a_writer_spells_out_are_nothing() -> None:
    def spell_out(made: Any) -> None:
        made.model_version, made.doc_string, made.graph.doc_string, made.graph.node[0].doc_string = 0, "", "", ""
        made.opset_import.append(made.opset_import[0])

    assert said(spelled(FOREST, spell_out)) is None


def test_sound_models_leave() -> None:
    assert said(spelled(FOREST)) is None
    assert verdict(VALIDATOR, spelled(NETWORK), LAYERS, TABLE) is None
    assert verdict(VALIDATOR, spelled(NETWORK), LAYERS | {"numbersPerThousandCells": None}) is None


def test_what_makes_a_library_fail_is_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(VALIDATOR.graph, "check", fail)
    assert said(spelled(FOREST)) == "not_readable"
