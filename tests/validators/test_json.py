"""The JSON validator lets through what a schema declares, and little else; a dump of rows is refused by each bound."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given as cases
from hypothesis import strategies as st

from tests.validators.bundles import load, verdict

VALIDATOR = load("json")
RULES: dict[str, Any] = {
    "maxDepth": 4,
    "maxDigits": 6,
    "maxNumbers": 16,
    "maxStringLength": 12,
    "maxStrings": 8,
    "maxText": 40,
    "schema": None,
    "words": ["body_mass_index_of_the_patient"],
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["score"],
    "properties": {
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "rows": {"type": "integer", "minimum": 0},
        "kind": {"type": "string", "enum": ["accuracy", "r2"]},
        "note": {"type": "string", "maxLength": 8},
        "features": {"type": "array", "maxItems": 3, "items": {"type": "string"}},
        "final": {"type": "boolean"},
        "error": {"type": "null"},
    },
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)
PATIENTS = b"age,cost\n41,1500.25\n42,980.5\n"


def said(value: Any, **rules: Any) -> str | None:
    return verdict(VALIDATOR, json.dumps(value, sort_keys=True).encode(), RULES | rules)


@pytest.mark.parametrize(
    ("output", "code"),
    [
        (PATIENTS, "not_readable"),
        (b"", "not_readable"),
        (b"\xff\xfe", "not_readable"),
        (b"[" * 100_000, "not_readable"),
        (b"NaN", "not_readable"),
        (b'{"a": 1} trailing', "not_readable"),
        (b'{"a":1,"a":2}', "not_readable"),
        (b'{"b":1,"a":2}', "not_readable"),
        (b'{"a":  1}', "not_readable"),
        (b'{"a":1}\n\n', "not_readable"),
        (b'{"a":1.50}', "not_readable"),
        (b'{"a":1e2}', "not_readable"),
        (b'{"a":"\\u0062"}', "not_readable"),
        (b'{"a":' + b"9" * 5000 + b"}", "not_readable"),
    ],
)
def test_what_is_not_the_one_spelling_of_a_value_is_withheld(output: bytes, code: str) -> None:
    assert verdict(VALIDATOR, output, RULES) == code


@pytest.mark.parametrize("opening", [b"[", b'{"":'])
def test_brackets_that_would_end_the_process_are_withheld_whatever_depth_it_follows(opening: bytes) -> None:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)  # as libraries do
    try:
        assert verdict(VALIDATOR, opening * 100_000, RULES) == "not_readable"
    finally:
        sys.setrecursionlimit(before)


def test_an_output_beyond_the_largest_that_is_read_is_withheld() -> None:
    assert verdict(VALIDATOR, b" " * ((16 << 20) + 1), RULES) == "too_much_text"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ([[41, 1500.25], [42, 980.5]] * 5, "too_many_numbers"),
        ([True] * 17, "too_many_numbers"),
        ([None] * 17, "too_many_numbers"),
        ({"score": 0.1234567}, "too_many_numbers"),
        ({"seed": 41150025}, "too_many_numbers"),
        ({"seed": 10**40}, "too_many_numbers"),
        ({"tiny": 1.5e-300, "more": -1234567e-30}, "too_many_numbers"),
        ({"note": "41 1500.25 42 980.5"}, "too_much_text"),
        (["41;1500.25"] * 5, "too_much_text"),
        (["", ""] * 5, "too_much_text"),
        ({f"k{n:09}": 0 for n in range(5)}, "too_much_text"),
        ([[[[0]]]], "not_declared"),
    ],
)
def test_rows_in_numbers_in_truth_values_in_strings_in_keys_and_in_nesting_are_withheld(value: Any, code: str) -> None:
    assert said(value) == code


@pytest.mark.parametrize(
    "value",
    [
        {"score": 1.5},
        {"score": "0.5"},
        {"score": True},
        {"score": 0.5, "rows": -1},
        {"score": 0.5, "rows": 1.5},
        {"score": 0.5, "kind": "other"},
        {"score": 0.5, "note": "123456789"},
        {"score": 0.5, "features": ["a", "b", "c", "d"]},
        {"score": 0.5, "features": [1]},
        {"score": 0.5, "more": 1},
        {"score": 0.5, "final": 0},
        {"score": 0.5, "error": 0},
        {"rows": 3},
        [0.5],
    ],
)
def test_what_the_schema_does_not_declare_is_withheld(value: Any) -> None:
    assert said(value, schema=SCHEMA) == "not_declared"


@pytest.mark.parametrize(
    "rules",
    [
        {},
        RULES | {"more": 1},
        RULES | {"maxText": -1},
        RULES | {"maxText": True},
        RULES | {"maxText": "40"},
        RULES | {"words": [1]},
        RULES | {"schema": {"type": "object", "pattern": "a*"}},
        RULES | {"schema": {"type": "matrix"}},
        RULES | {"schema": {"properties": {}}},
        RULES | {"schema": {"type": "array", "items": {"type": "array", "items": {}}}},
        [],
    ],
)
def test_rules_that_are_none_let_nothing_leave(rules: Any) -> None:
    assert verdict(VALIDATOR, b'{"score": 0.5}', rules) == "rules_invalid"


def test_a_schema_without_end_is_no_schema() -> None:
    endless: dict[str, Any] = {"type": "null"}
    for _ in range(40):
        endless = {"type": "array", "items": endless}
    assert said([], schema=endless) == "rules_invalid"


def test_metrics_as_a_workload_writes_them_leave() -> None:
    metrics = {
        "features": ["age", "body_mass_index_of_the_patient"],
        "final": True,
        "kind": "accuracy",
        "rows": 120000000,
        "score": 0.912,
    }
    assert said(metrics) is None
    for indent in (None, 1, 2, 4):
        spelled = json.dumps(metrics, sort_keys=True, indent=indent).encode() + b"\n"
        assert verdict(VALIDATOR, spelled, RULES | {"schema": SCHEMA}) is None


def test_a_word_costs_nothing_and_another_string_of_its_length_does() -> None:
    (word,) = RULES["words"]
    assert said([word] * 8) is None
    assert said([word.upper()]) == "too_much_text"


def test_a_key_that_the_schema_names_costs_nothing() -> None:
    long = "a_key_of_more_than_twelve_characters"
    assert said({long: 1}) == "too_much_text"
    assert said({long: 1}, schema={"type": "object", "properties": {long: {"type": "integer"}}}) is None


@cases(VALUES)
def test_what_leaves_is_never_more_than_the_bounds(value: Any) -> None:
    spelled = json.dumps(value, sort_keys=True)
    if verdict(VALIDATOR, spelled.encode(), RULES) is None:
        numbers, strings = count(value)
        assert numbers <= RULES["maxNumbers"]
        assert len(strings) <= RULES["maxStrings"]
        assert sum(map(len, strings)) <= RULES["maxText"]


def count(value: Any) -> tuple[int, list[str]]:
    if isinstance(value, str):
        return 0, [value]
    if isinstance(value, dict):
        inside = [*value.values(), *value]
    elif isinstance(value, list):
        inside = value
    else:
        return 1, []
    counted = [count(one) for one in inside]
    return sum(number for number, _ in counted), [text for _, texts in counted for text in texts]
