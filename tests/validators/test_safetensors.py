"""The safetensors validator lets through the declared tensors in the layout of the format, and nothing else."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given as cases
from hypothesis import strategies as st

from tests.validators.bundles import load, verdict

VALIDATOR = load("safetensors")
TENSORS = [
    {"name": "bias", "dtype": "F32", "shape": [3]},
    {"name": "steps", "dtype": "I64", "shape": []},
    {"name": "mask", "dtype": "BOOL", "shape": [3]},
    {"name": "layer", "dtype": "F32", "shape": [2, 3]},
]
RULES: dict[str, Any] = {"tensors": TENSORS, "metadata": {"format": 2}}
DATA = struct.pack("<q", 7) + np.arange(9, dtype="<f4").tobytes() + b"\x01\x00\x01"
HEADER: dict[str, Any] = {
    "__metadata__": {"format": "pt"},
    "steps": {"dtype": "I64", "shape": [], "data_offsets": [0, 8]},
    "bias": {"dtype": "F32", "shape": [3], "data_offsets": [8, 20]},
    "layer": {"dtype": "F32", "shape": [2, 3], "data_offsets": [20, 44]},
    "mask": {"dtype": "BOOL", "shape": [3], "data_offsets": [44, 47]},
}
"""As safetensors 0.8.0 lays them out: the widest elements first, integers before floats of 8 bytes, then by name."""


def file(header: Any = None, data: bytes = DATA, blanks: str | None = None) -> bytes:
    text = json.dumps(HEADER if header is None else header, separators=(",", ":")).encode()
    text += (" " * (-len(text) % 8) if blanks is None else blanks).encode()
    return len(text).to_bytes(8, "little") + text + data


def said(output: bytes, **rules: Any) -> str | None:
    return verdict(VALIDATOR, output, RULES | rules)


def swapped(*order: str) -> dict[str, Any]:
    return {name: HEADER[name] for name in order}


@pytest.mark.parametrize(
    "output",
    [
        file(HEADER | {"rows": {"dtype": "U8", "shape": [2], "data_offsets": [47, 49]}}, DATA + b"41"),
        file(HEADER | {"bias": HEADER["bias"] | {"shape": [1, 3]}}),
        file(HEADER | {"bias": HEADER["bias"] | {"note": "41"}}),
        file(HEADER | {"layer": HEADER["layer"] | {"data_offsets": [24, 48]}}, DATA[:20] + b"rows" + DATA[20:]),
        file({name: HEADER[name] for name in HEADER if name != "mask"}, DATA[:44]),
        file(HEADER | {"__metadata__": {"format": "pt", "rows": "41"}}),
        file(HEADER | {"__metadata__": {}}),
        file(HEADER | {"__metadata__": 41}),
        file(swapped("__metadata__", "bias", "steps", "layer", "mask")),
        file(swapped("steps", "bias", "layer", "mask", "__metadata__")),
        file(blanks=" " * 64),
        file(blanks="\n\t\n\t\n"),
    ],
    ids=["tensor", "shape", "field", "gap", "missing", "key", "no key", "kind", "order", "place", "blanks", "tabs"],
)  # fmt: skip
def test_anything_but_the_declared_tensors_in_their_one_layout_is_withheld(output: bytes) -> None:
    assert said(output) == "not_declared"


@pytest.mark.parametrize(
    "output",
    [b"", b"41,15", b"\xff" * 8, file(data=DATA + b"\0"), file(data=DATA[:-1]), file([]), file()[:20],
     (9).to_bytes(8, "little") + b"[" * 9, file(data=DATA[:-1] + b"\x02")],
)  # fmt: skip
def test_what_is_no_safetensors_file_or_has_more_or_fewer_bytes_is_withheld(output: bytes) -> None:
    assert said(output) == "not_readable"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("kind", "width"), [("F64", "d"), ("F32", "f"), ("F16", "e")])
def test_a_float_that_is_not_finite_is_withheld_wherever_it_stands(value: float, kind: str, width: str) -> None:
    rules = {"tensors": [{"name": "w", "dtype": kind, "shape": [5]}], "metadata": {}}
    for place in range(5):
        numbers = [0.0, -1.5, 3.0, 1e4, -0.0]
        data = struct.pack(f"<5{width}", *numbers)
        header = {"w": {"dtype": kind, "shape": [5], "data_offsets": [0, len(data)]}}
        assert verdict(VALIDATOR, file(header, data), rules) is None
        numbers[place] = value
        assert verdict(VALIDATOR, file(header, struct.pack(f"<5{width}", *numbers)), rules) == "not_declared"


@cases(st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=20))
def test_bfloat16_is_finite_where_its_exponent_is_not_all_ones(patterns: list[int]) -> None:
    rules = {"tensors": [{"name": "w", "dtype": "BF16", "shape": [len(patterns)]}], "metadata": {}}
    data = struct.pack(f"<{len(patterns)}H", *patterns)
    header = {"w": {"dtype": "BF16", "shape": [len(patterns)], "data_offsets": [0, len(data)]}}
    finite = all(pattern & 0x7F80 != 0x7F80 for pattern in patterns)
    assert (verdict(VALIDATOR, file(header, data), rules) is None) == finite


@pytest.mark.parametrize(
    "rules",
    [
        {"tensors": [{"name": "w", "dtype": "F8", "shape": [1]}]},
        {"tensors": [{"name": "w", "dtype": "F32", "shape": [-1]}]},
        {"tensors": [{"name": "w", "dtype": "F32", "shape": [True]}]},
        {"tensors": [{"name": "w", "dtype": "F32"}]},
        {"tensors": [{"name": "__metadata__", "dtype": "F32", "shape": [1]}]},
        {"tensors": TENSORS[:1] * 2},
        {"metadata": {"format": "pt"}},
        {"more": 1},
    ],
)
def test_rules_that_are_none_let_nothing_leave(rules: dict[str, Any]) -> None:
    assert said(file(), **rules) == "rules_invalid"


def test_metadata_longer_than_declared_is_withheld() -> None:
    assert said(file(HEADER | {"__metadata__": {"format": "ptr"}})) == "too_much_text"


def test_the_declared_tensors_leave_with_metadata_and_without() -> None:
    assert said(file()) is None
    assert said(file({name: HEADER[name] for name in HEADER if name != "__metadata__"})) is None
