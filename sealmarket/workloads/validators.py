"""Validators for a policy draft: shipped ones, with rules that hold rows back and let the templates' models pass."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sealmarket.protocol.output_rules import JsonRules, MembershipRules, OnnxRules
from sealmarket.workloads.cache import WorkloadCache
from sealmarket.workloads.steps import shipped
from sealmarket_enclave.protocol.codec import Shape, to_builtins

SMALLEST_GROUP = 10
ADVANTAGE_PERMILLE = 100
"""What a model may show on rows that it was trained on, by default: a sound one shows about 0."""
ONNX = "application/onnx"
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


def onnx_rules(words: Iterable[str] = (), smallest_group: int | None = SMALLEST_GROUP) -> OnnxRules:
    """Trees whose leaves hold so many rows, one number for two cells. None: without the data neither can be counted."""
    return OnnxRules(
        operators=(*_TREES, *_BESIDE),
        architecture=(),
        max_numbers=100_000,
        numbers_per_thousand_cells=None if smallest_group is None else 500,
        smallest_group=smallest_group or 0,
        max_text=1024,
        metadata=_DESCRIBED,
        words=tuple(sorted(set(words))),
    )


def default_validators(
    cache: WorkloadCache,
    media_types: Iterable[str],
    words: Iterable[str] = (),
    smallest_group: int | None = SMALLEST_GROUP,
    withhold: int | None = None,
) -> list[dict[str, Any]]:
    """The field ``output.validators`` of a policy draft: one validator for each media type that has a default.

    ``words`` are names that may stand in outputs: the card's columns and classes. ``smallest_group`` rows stand behind
    each leaf of a model, which the validator counts on the tables of the workload; None where it takes none. So many
    rows of a thousand as ``withhold`` says are withheld from the workload, and a test of membership for each model is
    added; None for no test. The wheels of a validator are fetched once.

    Raises:
        FetchFailed: they cannot be had.
    """
    known = tuple(words)
    rules: dict[str, tuple[str, Shape, bool]] = {
        "application/json": ("json", json_rules(known), False),
        ONNX: ("onnx", onnx_rules(known, smallest_group), smallest_group is not None),
    }
    made = []
    for media_type in media_types:
        if media_type in rules:
            name, shape, data = rules[media_type]
            digest = str(shipped(name, cache, "validators").digest)
            made.append({"mediaType": media_type, "digest": digest, "rules": to_builtins(shape), "data": data})
        if media_type == ONNX and withhold is not None:
            made.append(membership(cache, withhold))
    return made


def membership(cache: WorkloadCache, withhold: int) -> dict[str, Any]:
    """An entry of ``output.validators`` that holds models against rows withheld from the workload, of a thousand."""
    rules = MembershipRules(advantage_permille=ADVANTAGE_PERMILLE)
    digest = str(shipped("membership", cache, "validators").digest)
    return {"mediaType": ONNX, "digest": digest, "rules": to_builtins(rules), "data": True, "withheld": withhold}
