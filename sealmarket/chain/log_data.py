"""Reads an event's data: the one encoding that contracts emit of it, and no other bytes.

A dynamic value stands where the one before it ended, padding is zero, and nothing follows the last one. So no byte is
read twice, whatever offsets and lengths say, and lengths are held against what is left before anything is read.
`eth_abi`, which reads answers of calls, takes offsets in any order; a test holds both against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from sealmarket.chain.errors import AbiMismatch
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes

_WORD = 32
_Read = Callable[[bytes, int], tuple[Any, int]]
"""Of the data and a place in it: a value, and where it ends."""


class Part(Protocol):
    """A parameter of the ABI: its type, the parts of a tuple, its name as values have it."""

    @property
    def kind(self) -> str:
        """As the ABI writes it."""

    @property
    def parts(self) -> Sequence[Part]:
        """Of a tuple."""

    @property
    def spelt(self) -> str:
        """The name in snake case; empty for none."""


class _Mismatch(Exception):
    """The bytes are not the encoding of a type."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """A type: how many bytes of the head it has, and how it is read. A dynamic one is read in the tail."""

    width: int
    dynamic: bool
    read: _Read


def read_data(parameters: Sequence[Part], raw: bytes, where: str) -> dict[str, Any]:
    """Values by name, as :func:`sealmarket.chain.abi.decode` gives them. Raises :class:`AbiMismatch`."""
    names, kinds = _layout(tuple(parameters))
    try:
        values, end = _sequence(kinds, raw, 0)
    except _Mismatch as error:
        raise AbiMismatch(where, f"its data does not decode: {error}") from None
    if end != len(raw):
        raise AbiMismatch(where, f"its data does not decode: {len(raw) - end} bytes follow it")
    return dict(zip(names, values, strict=True))


@cache
def _layout(parameters: tuple[Part, ...]) -> tuple[tuple[str, ...], tuple[_Kind, ...]]:
    names = tuple(part.spelt or str(place) for place, part in enumerate(parameters))
    return names, tuple(_kind(part.kind, part.parts) for part in parameters)


def _kind(kind: str, parts: Sequence[Part]) -> _Kind:
    if kind.endswith("[]"):
        return _Kind(_WORD, True, _array_reader(_kind(kind[:-2], parts)))
    if kind == "tuple":
        names, kinds = _layout(tuple(parts))
        dynamic = any(part.dynamic for part in kinds)
        return _Kind(_WORD if dynamic else sum(part.width for part in kinds), dynamic, _tuple_reader(names, kinds))
    if kind in ("bytes", "string"):
        return _Kind(_WORD, True, _text if kind == "string" else _bytes)
    return _Kind(_WORD, False, _word_reader(kind))


def _sequence(kinds: Sequence[_Kind], raw: bytes, base: int) -> tuple[list[Any], int]:
    """Values that stand one after the other, heads before tails."""
    head, tail = base, base + sum(kind.width for kind in kinds)
    if tail > len(raw):
        raise _Mismatch(f"it ends after {len(raw)} bytes, expected {tail} or more")
    values = []
    for kind in kinds:
        if kind.dynamic:
            if (offset := _number(raw, head)) != tail - base:
                raise _Mismatch(f"an offset is {offset}, expected {tail - base}")
            value, tail = kind.read(raw, tail)
        else:
            value, _ = kind.read(raw, head)
        values.append(value)
        head += kind.width
    return values, tail


def _number(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + _WORD])


def _length(raw: bytes, at: int, each: int) -> int:
    """A count of what follows, of which each has at least so many bytes."""
    left = len(raw) - at - _WORD
    count = _number(raw, at) if left >= 0 else 0
    if left < 0 or count * each > left:
        raise _Mismatch(f"it ends after {len(raw)} bytes, before what a length says")
    return count


def _array_reader(item: _Kind) -> _Read:
    def read(raw: bytes, at: int) -> tuple[Any, int]:
        count = _length(raw, at, item.width)
        values, end = _sequence((item,) * count, raw, at + _WORD)
        return tuple(values), end

    return read


def _tuple_reader(names: tuple[str, ...], kinds: tuple[_Kind, ...]) -> _Read:
    def read(raw: bytes, at: int) -> tuple[Any, int]:
        values, end = _sequence(kinds, raw, at)
        return dict(zip(names, values, strict=True)), end

    return read


def _bytes(raw: bytes, at: int) -> tuple[HexBytes, int]:
    size, begin = _length(raw, at, 1), at + _WORD
    end = begin + -(-size // _WORD) * _WORD
    if end > len(raw) or raw[begin + size : end].strip(b"\0"):
        raise _Mismatch("bytes are padded with zeros to a whole word")
    return HexBytes(raw[begin : begin + size]), end


def _text(raw: bytes, at: int) -> tuple[str, int]:
    found, end = _bytes(raw, at)
    return found.decode("utf-8", "backslashreplace"), end


def _word_reader(kind: str) -> _Read:
    if kind == "address":
        return _address
    if kind == "bytes32":
        return _bytes32
    if kind == "bool":
        return _truth
    if kind.startswith("uint"):
        return _number_reader(int(kind[4:]))
    if kind.startswith("bytes"):
        return _short_bytes_reader(int(kind[5:]))
    raise AbiMismatch(kind, "no contract here emits it")


def _address(raw: bytes, at: int) -> tuple[Address, int]:
    if raw[at : at + 12] != bytes(12):
        raise _Mismatch("an address has 20 bytes")
    return Address(raw[at + 12 : at + _WORD]), at + _WORD


def _bytes32(raw: bytes, at: int) -> tuple[Bytes32, int]:
    return Bytes32(raw[at : at + _WORD]), at + _WORD


def _truth(raw: bytes, at: int) -> tuple[bool, int]:
    if (found := _number(raw, at)) > 1:
        raise _Mismatch(f"a truth value is 0 or 1, found {found}")
    return bool(found), at + _WORD


def _number_reader(bits: int) -> _Read:
    def read(raw: bytes, at: int) -> tuple[int, int]:
        found = _number(raw, at)
        if found >> bits:
            raise _Mismatch(f"a number has {bits} bits, found {found}")
        return found, at + _WORD

    return read


def _short_bytes_reader(size: int) -> _Read:
    def read(raw: bytes, at: int) -> tuple[HexBytes, int]:
        if raw[at + size : at + _WORD].strip(b"\0"):
            raise _Mismatch(f"it has {size} bytes")
        return HexBytes(raw[at : at + size]), at + _WORD

    return read
