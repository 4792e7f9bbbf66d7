"""Is a safetensors output what its owner's rules allow? (docs/spec/outputs.md, "safetensors")

1. ``u64le(header length) || JSON header || data``; the header is padded with blanks to a multiple of 8 bytes.
2. The header has exactly the declared tensors, by name, type and shape, and the declared keys of ``__metadata__``.
3. The tensors lie one behind the other without gaps, those with wider elements first and then by name, and the header
   lists them in that order in one spelling, as the format's own writer does. Metadata has any order: that writer's is
   random.
4. No float is NaN or infinite, and each truth value is 0 or 1.

Linear in the output. Standard library only. Format: https://github.com/huggingface/safetensors
"""

from __future__ import annotations

import json
from math import prod
from typing import Any

from verdict import (
    NOT_DECLARED,
    NOT_READABLE,
    RULES_INVALID,
    TOO_MUCH_TEXT,
    Inputs,
    Refused,
    judged,
    read_json,
    read_rules,
)

MOST_HEADER = 1 << 20
_METADATA = "__metadata__"
_BLOCK = 1 << 20
_WIDTHS = {"I64": 8, "F64": 8, "F32": 4, "I32": 4, "BF16": 2, "F16": 2, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
"""Bytes of an element, in the order in which the format's writer lays tensors out."""
_EXPONENTS = {"F64": 0x7FF << 52, "F32": 0xFF << 23, "F16": 0x1F << 10, "BF16": 0xFF << 7}
_KINDS: dict[str, type | tuple[type, ...]] = {"metadata": dict, "tensors": list}


def run(inputs: Inputs, parameters: object) -> dict[str, bytes]:
    """Entry point: ``output`` and ``rules`` in, ``verdict.json`` out."""
    del parameters
    return judged(check, inputs)


def check(inputs: Inputs) -> None:
    """Raise :class:`Refused` unless the output may leave."""
    rules = read_rules(inputs["rules"], _KINDS)
    declared = _declared(rules["tensors"])
    view = inputs["output"]
    if len(view) < 8:
        raise Refused(NOT_READABLE, f"{len(view)} bytes")
    length = int.from_bytes(view[:8], "little")
    if length > min(MOST_HEADER, len(view) - 8):
        raise Refused(NOT_READABLE, f"a header of {length} bytes")
    metadata = _metadata(view[8 : 8 + length], rules["metadata"])
    expected, size = _header(declared, metadata)
    if not _spelled(expected, bytes(view[8 : 8 + length])):
        raise Refused(NOT_DECLARED, "the header is not that of the declared tensors")
    data = view[8 + length :]
    if len(data) != size:
        raise Refused(NOT_READABLE, f"{len(data)} bytes of data, expected {size}")
    at = 0
    for kind, _, shape in declared:
        end = at + _WIDTHS[kind] * prod(shape)
        _require_plain(data[at:end], kind)
        at = end


def _declared(tensors: list[Any]) -> list[tuple[str, str, list[int]]]:
    """Type, name and shape of each tensor, in the order of the file."""
    declared = []
    for one in tensors:
        if not isinstance(one, dict) or one.keys() != {"dtype", "name", "shape"}:
            raise Refused(RULES_INVALID, "a tensor has dtype, name and shape")
        kind, name, shape = one["dtype"], one["name"], one["shape"]
        whole = isinstance(shape, list) and all(type(side) is int and side >= 0 for side in shape)
        if kind not in _WIDTHS or not isinstance(name, str) or name == _METADATA or not whole:
            raise Refused(RULES_INVALID, "a tensor's type, name or shape")
        declared.append((kind, name, shape))
    if len({name for _, name, _ in declared}) != len(declared):
        raise Refused(RULES_INVALID, "two tensors of one name")
    order = list(_WIDTHS)
    return sorted(declared, key=lambda one: (-_WIDTHS[one[0]], order.index(one[0]), one[1]))


def _metadata(header: memoryview, allowed: dict[str, Any]) -> dict[str, str] | None:
    """The file's own ``__metadata__``: declared keys, and texts no longer than declared; None without one."""
    try:
        found = read_json(bytes(header).decode("utf-8"))
    except (ValueError, RecursionError):
        raise Refused(NOT_READABLE, "the header is no JSON") from None
    if not isinstance(found, dict):
        raise Refused(NOT_READABLE, "the header is no object")
    metadata = found.get(_METADATA)
    if metadata is None:
        return None
    if not isinstance(metadata, dict) or not metadata or not metadata.keys() <= allowed.keys():
        raise Refused(NOT_DECLARED, "metadata of a key that is not declared")
    for key, text in metadata.items():
        if type(allowed[key]) is not int:
            raise Refused(RULES_INVALID, "metadata says how many characters a key may have")
        if not isinstance(text, str) or len(text) > allowed[key]:
            raise Refused(TOO_MUCH_TEXT, "metadata is longer than declared")
    return metadata


def _header(declared: list[tuple[str, str, list[int]]], metadata: dict[str, str] | None) -> tuple[dict[str, Any], int]:
    header: dict[str, Any] = {} if metadata is None else {_METADATA: metadata}
    at = 0
    for kind, name, shape in declared:
        end = at + _WIDTHS[kind] * prod(shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, end]}
        at = end
    return header, at


def _spelled(header: dict[str, Any], found: bytes) -> bool:
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    return found == text.ljust(-(-len(text) // 8) * 8)


def _require_plain(data: memoryview, kind: str) -> None:
    """Rule 4, by whole blocks: the elements of a block are the lanes of one large number."""
    if kind not in _EXPONENTS and kind != "BOOL":
        return
    width = _WIDTHS[kind]
    for start in range(0, len(data), _BLOCK):
        block = data[start : start + _BLOCK]
        lanes, count = int.from_bytes(block, "little"), len(block) // width
        ones = int.from_bytes((1).to_bytes(width, "little") * count, "little")
        if kind == "BOOL":
            if lanes & (ones * 0xFE):
                raise Refused(NOT_READABLE, "a truth value that is neither 0 nor 1")
            continue
        mask = _EXPONENTS[kind]
        lowest, sign = mask & -mask, 1 << (8 * width - 1)
        # Adding the exponent's lowest bit to an exponent of all ones carries into the sign's place, which is cleared.
        if ((lanes & (ones * mask)) + ones * lowest) & (ones * sign):
            raise Refused(NOT_DECLARED, "a float that is not finite")
