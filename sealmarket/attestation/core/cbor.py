"""CBOR from outside (RFC 8949) in one spelling, bounded, and free of what a library gives a meaning.

cbor2 decodes; these rules are added to what it refuses by itself (bytes that are not well-formed, deep nesting, a key
that comes twice):

1. Only the tags that the caller names occur. Another is refused before it means anything: cbor2 compiles a regular
   expression out of tag 35.
2. Encoding the value again gives the same bytes: every head is the shortest, every length is given, and nothing lies
   behind the item. A map without length may stand outermost where the caller says so.
3. Keys are integers, text or bytes; values also lists, maps, false, true and null. Floats are refused.
4. The number of items is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any, NoReturn

import cbor2

from sealmarket.attestation.core.errors import refuse
from sealmarket.attestation.core.reasons import Reason

MAXIMUM_DEPTH = 16
"""Containers and tags inside each other. Genuine evidence has 7."""
MAXIMUM_ITEMS = 4096
"""Values in one document. Genuine ones have up to 200."""

_KEYS = frozenset((int, str, bytes))
_LEAVES = _KEYS | {bool, type(None)}
_IN_THE_HEAD = 24
"""Numbers below this are in a head's first byte."""
_ENDLESS, _BREAK = b"\xbf", b"\xff"


class _UnknownTag(Exception):
    """A tag that the caller does not name."""


class _Tags(Mapping[int, Callable[[Any, bool], Any]]):
    """What cbor2 asks for the meaning of every tag: named ones stay tags, others end the decoding."""

    def __init__(self, named: tuple[int, ...]) -> None:
        self._named = {tag: partial(_tagged, tag) for tag in named}

    def __getitem__(self, tag: int) -> Callable[[Any, bool], Any]:
        if tag not in self._named:
            raise _UnknownTag(tag)
        return self._named[tag]

    def __iter__(self) -> Iterator[int]:
        return iter(self._named)

    def __len__(self) -> int:
        return len(self._named)


def _tagged(tag: int, value: Any, immutable: bool) -> cbor2.CBORTag:
    del immutable
    return cbor2.CBORTag(tag, value)


_decoders = lru_cache(maxsize=64)(_Tags)


def read_cbor(raw: bytes, what: str, *, tags: tuple[int, ...] = (), endless_map: bool = False) -> Any:
    """The one data item in these bytes, as Python's own values; a named tag is a ``CBORTag``.

    Args:
        raw: all bytes, whose number the caller has bounded.
        what: the document's name in a refusal.
        tags: the tags that may occur.
        endless_map: whether the item may be a map of indefinite length (AWS writes its payload so).

    Raises:
        EvidenceRefused: the first rule that fails.
    """
    try:
        value = _decoded(raw, tags, duplicates=False)
    except cbor2.CBORError as error:
        _explain(raw, what, tags, error)
    spelled = _spelled(value, raw, endless_map)
    if spelled != raw:
        if raw.startswith(spelled):
            refuse(Reason.TRAILING_BYTES, f"{what} of {len(spelled)} bytes", len(raw))
        refuse(Reason.NON_CANONICAL, f"{what} in its shortest form, {len(spelled)} bytes", len(raw))
    _check_values(value, what)
    return value


def _spelled(value: Any, raw: bytes, endless_map: bool) -> bytes:
    """The one spelling of a value."""
    spelled: bytes = cbor2.dumps(value)
    if endless_map and raw[:1] == _ENDLESS and type(value) is dict:
        head = 1 if len(value) < _IN_THE_HEAD else len(cbor2.dumps(len(value)))
        return _ENDLESS + spelled[head:] + _BREAK
    return spelled


def _check_values(value: Any, what: str) -> None:
    """Rules 3 and 4."""
    groups: list[Collection[Any]] = [(value,)]
    count = 1
    for values in groups:
        if _LEAVES.issuperset(map(type, values)):
            continue
        for one in values:
            if type(one) in _LEAVES:
                continue
            inside = _inside(one, what)
            groups.append(inside)
            count += len(inside)
        if count > MAXIMUM_ITEMS:
            refuse(Reason.MALFORMED, f"at most {MAXIMUM_ITEMS} values in {what}", count)


def _inside(one: Any, what: str) -> Collection[Any]:
    """The values that a container holds."""
    kind = type(one)
    values: Collection[Any] = ()
    if kind is dict:
        if not _KEYS.issuperset(map(type, one)):
            refuse(Reason.MALFORMED, f"keys of {what} that are integers, text or bytes", _kinds(one))
        values = one.values()
    elif kind is list:
        values = one
    elif kind is cbor2.CBORTag:
        values = (one.value,)
    else:
        refuse(Reason.MALFORMED, f"integers, text, bytes, lists, maps, booleans and null in {what}", kind.__name__)
    return values


def _kinds(values: Mapping[Any, Any]) -> str:
    return ", ".join(sorted({type(key).__name__ for key in values}))


def _explain(raw: bytes, what: str, tags: tuple[int, ...], error: cbor2.CBORError) -> NoReturn:
    """Refuse what cbor2 did not take, by its reason."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, _UnknownTag):
        cause = cause.__cause__
    if cause is not None:
        known = ", ".join(map(str, sorted(tags))) or "none"
        refuse(Reason.UNSUPPORTED_FORMAT, f"tags of {what}: {known}", cause)
    if isinstance(error, cbor2.CBORDecodeEOF):
        refuse(Reason.TRUNCATED, f"the whole of {what}", f"its end at byte {len(raw)}")
    if _has_duplicates(raw, tags):
        refuse(Reason.DUPLICATE_KEY, f"each key of {what} once", error)
    refuse(Reason.MALFORMED, f"CBOR in {what}, at most {MAXIMUM_DEPTH} deep", error)


def _decoded(raw: bytes, tags: tuple[int, ...], *, duplicates: bool) -> Any:
    return cbor2.loads(
        raw,
        semantic_decoders=_decoders(tags),
        max_depth=MAXIMUM_DEPTH,
        allow_duplicate_keys=duplicates,
    )


def _has_duplicates(raw: bytes, tags: tuple[int, ...]) -> bool:
    """Whether bytes that were refused are taken once duplicate keys are."""
    try:
        _decoded(raw, tags, duplicates=True)
    except cbor2.CBORError:
        return False
    return True
