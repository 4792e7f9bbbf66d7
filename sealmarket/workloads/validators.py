"""Validators for a policy draft: shipped ones, with rules that hold rows back and let the templates' models pass."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sealmarket.protocol.output_rules import JsonRules, OnnxRules
from sealmarket.workloads.cache import WorkloadCache
from sealmarket.workloads.steps import shipped
from sealmarket_enclave.protocol.codec import Shape, to_builtins

SMALLEST_GROUP = 10
_TREES = ("ai.onnx.ml.TreeEnsembleClassifier", "ai.onnx.ml.TreeEnsembleRegressor")
_BESIDE = ("Identity", "Cast", "Softmax", "Sigmoid")
_DESCRIBED = {
    "class_labels": 256,
    "feature_names": 256,
    "target": 64,
    "task": 32,
    "versions": 256,
    "workload_code_sha256": 66,
}
"""What the templates write into a model, and how many characters each may have beside the owner's words."""


def json_rules(words: Iterable[str] = ()) -> JsonRules:
    """A document of a few figures: 128 numbers of 6 digits and 1,024 characters beside ``words``."""
    return JsonRules(
        schema=None,
        max_numbers=128,
        max_digits=6,
        max_strings=512,
        max_string_length=128,
        max_text=1024,
        max_depth=4,
        words=tuple(sorted(set(words))),
    )


def onnx_rules(words: Iterable[str] = (), *, data: bool = True) -> OnnxRules:
    """Trees whose leaves hold ten rows, one number for two cells. Without ``data`` neither can be counted."""
    return OnnxRules(
        operators=(*_TREES, *_BESIDE),
        architecture=(),
        max_numbers=100_000,
        numbers_per_thousand_cells=500 if data else None,
        smallest_group=SMALLEST_GROUP if data else 0,
        max_text=1024,
        metadata=_DESCRIBED,
        words=tuple(sorted(set(words))),
    )


def default_validators(
    cache: WorkloadCache, media_types: Iterable[str], words: Iterable[str] = (), *, data: bool = True
) -> list[dict[str, Any]]:
    """The field ``output.validators`` of a policy draft: one validator for each media type that has a default.

    ``words`` are names that may stand in outputs: the card's columns and classes. ``data``: the card's reader makes
    tables, so that validators can be given them. The wheels of a validator are fetched once.

    Raises:
        FetchFailed: they cannot be had.
    """
    known = tuple(words)
    rules: dict[str, tuple[str, Shape, bool]] = {
        "application/json": ("json", json_rules(known), False),
        "application/onnx": ("onnx", onnx_rules(known, data=data), data),
    }
    return [
        {
            "mediaType": media_type,
            "digest": str(shipped(rules[media_type][0], cache, "validators").digest),
            "rules": to_builtins(rules[media_type][1]),
            "data": rules[media_type][2],
        }
        for media_type in media_types
        if media_type in rules
    ]
