"""CBOR from outside (RFC 8949) in one spelling, bounded before it is decoded.

cbor2 decodes. It takes what the deterministic encoding forbids (long forms, bytes behind the end) and gives some tags
a meaning of its own (tag 35 compiles a regular expression), so :func:`read_cbor` walks the wire form first: shortest
heads, definite lengths, only the tags that the caller names, no floats, keys that are integers, text or bytes, bounded
depth and number of items. Duplicate keys are refused by cbor2. One pass, linear in the input.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import cbor2

from sealmarket.attestation.core.errors import refuse
from sealmarket.attestation.core.reasons import Reason

MAXIMUM_DEPTH = 16
"""Containers and tags inside each other. Genuine evidence has 7."""
MAXIMUM_ITEMS = 4096
"""Data items of one document. Genuine ones have up to 200."""

_BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(2, 8)
"""Major types; 0 and 1 are integers."""
_BREAK, _ENDLESS_MAP = 0xFF, 0xBF
_ENDLESS = 1 << 62
"""Items left in a container of indefinite length: even, as in a map before a key."""
_FALSE, _TRUE, _NULL = 20, 21, 22
_LEAST = {24: 24, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}
"""The least argument that needs each length of head."""


def read_cbor(raw: bytes, what: str, *, tags: Collection[int] = (), endless_maps: bool = False) -> Any:
    """The one data item in these bytes. A named tag is a ``CBORTag``; inside it arrays are tuples, maps are mappings.

    Args:
        raw: all bytes.
        what: the document's name in a refusal.
        tags: the tags that may occur.
        endless_maps: whether maps of indefinite length may occur (AWS writes its payload so).

    Raises:
        EvidenceRefused: not one item of well-formed CBOR in its shortest form, or beyond a bound.
    """
    _walk(raw, what, tags, endless_maps)
    settings: dict[str, Any] = {"allow_indefinite": endless_maps, "max_depth": MAXIMUM_DEPTH + 1}
    try:
        return cbor2.loads(raw, allow_duplicate_keys=False, **settings)
    except cbor2.CBORError as error:
        if _is_well_formed(raw, settings):
            refuse(Reason.DUPLICATE_KEY, f"each key of {what} once", error)
        refuse(Reason.MALFORMED, f"CBOR in {what}", error)


def _is_well_formed(raw: bytes, settings: dict[str, Any]) -> bool:
    try:
        cbor2.loads(raw, **settings)
    except cbor2.CBORError:
        return False
    return True


def _walk(raw: bytes, what: str, tags: Collection[int], endless_maps: bool) -> None:
    """Refuse what cbor2 would take although the caller does not. ``left`` counts the items of the innermost container.

    An item takes about half a microsecond: evidence is verified as fast as its signatures, or nearly.
    """
    outer: list[tuple[int, bool]] = []
    left, is_map, at, items, size = 1, False, 0, 0, len(raw)
    while left or outer:
        if not left:
            left, is_map = outer.pop()
            continue
        if at >= size:
            refuse(Reason.TRUNCATED, f"the whole of {what}", f"its end at byte {size}")
        first = raw[at]
        major, argument = first >> 5, first & 31
        at += 1
        if argument > 23:
            if first == _BREAK and left > _ENDLESS >> 1 and not left & 1:
                left = 0
                continue
            argument, at = _argument(raw, at, what, endless_maps)
        items += 1
        left -= 1
        if is_map and left & 1 and major > _TEXT:
            refuse(Reason.MALFORMED, f"keys of {what} that are integers, text or bytes", f"major type {major}")
        if items > MAXIMUM_ITEMS or len(outer) >= MAXIMUM_DEPTH:
            bounds = f"at most {MAXIMUM_ITEMS} items, {MAXIMUM_DEPTH} deep, in {what}"
            refuse(Reason.MALFORMED, bounds, f"{items} items, {len(outer)} deep")
        if major in (_BYTES, _TEXT):
            at += argument
        elif major > _TEXT and (inner := _inner(major, argument, what, tags)):
            outer.append((left, is_map))
            left, is_map = inner, major == _MAP
    if at > size:
        refuse(Reason.TRUNCATED, f"{what} of {at} bytes", f"its end at byte {size}")
    if at < size:
        refuse(Reason.TRAILING_BYTES, f"{what} of {at} bytes", size)


def _argument(raw: bytes, at: int, what: str, endless_maps: bool) -> tuple[int, int]:
    """The argument of a head whose first byte lies before ``at``, and the place behind it.

    A map without length has the argument ``_ENDLESS``.
    """
    first = raw[at - 1]
    info = first & 31
    if info > 27:
        if first == _ENDLESS_MAP and endless_maps:
            return _ENDLESS, at
        refuse(Reason.NON_CANONICAL, f"definite lengths in {what}", f"{first:#04x} at byte {at - 1}")
    length = 1 << (info - 24)
    argument = int.from_bytes(raw[at : at + length])
    if len(raw) < at + length:
        refuse(Reason.TRUNCATED, f"the whole of {what}", f"its end at byte {len(raw)}")
    if argument < _LEAST[info]:
        refuse(Reason.NON_CANONICAL, f"the shortest form of {argument} in {what}", f"{length} bytes of it")
    return argument, at + length


def _inner(major: int, argument: int, what: str, tags: Collection[int]) -> int:
    """How many items follow inside this one."""
    if major == _ARRAY:
        return argument
    if major == _MAP:
        return argument if argument == _ENDLESS else 2 * argument
    if major == _TAG:
        if argument not in tags:
            known = ", ".join(map(str, sorted(tags))) or "none"
            refuse(Reason.UNSUPPORTED_FORMAT, f"tags of {what}: {known}", argument)
        return 1
    if major == _SIMPLE and argument not in (_FALSE, _TRUE, _NULL):
        refuse(Reason.MALFORMED, f"false, true or null as simple values of {what}", f"value {argument}")
    return 0
