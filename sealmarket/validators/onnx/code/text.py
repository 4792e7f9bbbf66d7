"""Text in a model: names, labels and metadata, beside what the rules declare."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from verdict import NOT_DECLARED, NOT_FROM_DATA, RULES_INVALID, TOO_MUCH_TEXT, Refused, read_json

FEATURES = "feature_names"


def check(model: Any, declared: dict[str, Any], most: int, words: frozenset[str]) -> None:
    """Hold every text of the model against the rules.

    ``declared`` says for a key of the metadata how many characters it may have; text that it does not declare, names
    and labels have ``most`` together. A name of ``words`` costs nothing.

    Raises:
        Refused: ``too_much_text``, or ``not_declared`` for a key twice.
    """
    free = sum(len(one) for one in _names(model) if one not in words)
    keys = [entry.key for entry in model.metadata_props]
    if len(set(keys)) != len(keys) or keys != sorted(keys):
        raise Refused(NOT_DECLARED, "metadata keys are sorted, each once")
    for entry in model.metadata_props:
        cost = _cost(entry.value, words)
        if entry.key not in declared:
            free += len(entry.key) + len(entry.value)
            continue
        if type(declared[entry.key]) is not int:
            raise Refused(RULES_INVALID, "metadata says how many characters a key may have")
        if cost > declared[entry.key]:
            raise Refused(TOO_MUCH_TEXT, f"{cost} characters in metadata {entry.key}")
    if free > most:
        raise Refused(TOO_MUCH_TEXT, f"{free} characters, expected at most {most}")


def feature_names(model: Any) -> list[str]:
    """The columns behind the model's input, by its metadata. Raises :class:`Refused` where it does not say."""
    found = {entry.key: entry.value for entry in model.metadata_props}.get(FEATURES, "")
    try:
        names = read_json(found)
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Refused(NOT_FROM_DATA, f"metadata {FEATURES} is no list of names")
    if not names or len(set(names)) != len(names):
        raise Refused(NOT_FROM_DATA, f"metadata {FEATURES} is empty or names a column twice")
    return names


def _cost(text: str, words: frozenset[str]) -> int:
    """Characters of a text without the words in it: a JSON list of words, each once, costs nothing."""
    if text in words:
        return 0
    try:
        value = read_json(text)
    except (ValueError, RecursionError):
        return len(text)
    spelled = text in (json.dumps(value, ensure_ascii=False, sort_keys=True), json.dumps(value, sort_keys=True))
    if not spelled:
        return len(text)
    if isinstance(value, str):
        return 0 if value in words else len(text)
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        return len(text)
    return 0 if len(set(value)) == len(value) and words.issuperset(value) else len(text)


def _names(model: Any) -> Iterator[str]:
    yield from (model.producer_name, model.producer_version, model.domain, model.graph.name)
    yield from (one.domain for one in model.opset_import)
    yield from (one.name for one in model.graph.initializer)
    for value in (*model.graph.input, *model.graph.output):
        yield value.name
        yield from (side.dim_param for side in value.type.tensor_type.shape.dim)
    for node in model.graph.node:
        yield node.name
        yield from node.output
        for attribute in node.attribute:
            if attribute.name == "nodes_modes":
                continue
            yield from (text.decode("utf-8", "replace") for text in (attribute.s, *attribute.strings))
            yield attribute.t.name
