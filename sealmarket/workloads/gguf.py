"""What a model in GGUF says of itself, without its weights: names and values of its header (GGUF versions 2 and 3).

The file is the user's own, and may come from a stranger: sizes are bounded before anything is read by them.
"""

from __future__ import annotations

import reprlib
import struct
from typing import Any, BinaryIO

from sealmarket_enclave.protocol.errors import SealmarketError

_MAGIC, _VERSIONS = b"GGUF", (2, 3)
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MOST_NAMES, _MOST_ITEMS, _MOST_BYTES = 4096, 1 << 20, 128 << 20
"""Names of a header, items of one list, and bytes of the whole header."""


class ModelRefused(SealmarketError):
    """No meter can be made of this model."""

    def __init__(self, what: str, expected: str, found: object) -> None:
        super().__init__(
            f"{what}: expected {expected}, found {_shown(found)}",
            remedy="use a model in GGUF with a vocabulary that is known here, or write a meter of your own",
        )


def _shown(found: object) -> str:
    """The start of what a stranger wrote, as every terminal can show it."""
    spelled = found if isinstance(found, str) else reprlib.repr(found)
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in spelled[:200])


def read_metadata(source: BinaryIO) -> dict[str, Any]:
    """The names and values of a header: numbers, texts, lists of either. Raises :class:`ModelRefused`."""
    header = _Header(source)
    magic, version = header.take(4), header.number("I")
    if magic != _MAGIC or version not in _VERSIONS:
        raise ModelRefused("the model", "a file in GGUF version 2 or 3", f"{magic!r} and {version}")
    header.number("Q")
    count = header.number("Q")
    if count > _MOST_NAMES:
        raise ModelRefused("the model's header", f"at most {_MOST_NAMES} names", count)
    return {header.text(): header.value(header.number("I")) for _ in range(count)}


class _Header:
    def __init__(self, source: BinaryIO) -> None:
        self._source, self._left = source, _MOST_BYTES

    def take(self, size: int) -> bytes:
        if size > self._left:
            raise ModelRefused("the model's header", f"at most {_MOST_BYTES} bytes", "more")
        self._left -= size
        data = self._source.read(size)
        if len(data) != size:
            raise ModelRefused("the model's header", f"{size} more bytes", len(data))
        return data

    def number(self, form: str) -> Any:
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))[0]

    def text(self) -> str:
        return self.take(self.number("Q")).decode("utf-8", "surrogateescape")

    def value(self, kind: int) -> Any:
        if kind in _NUMBERS:
            return self.number(_NUMBERS[kind])
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            raise ModelRefused("a value of the model's header", "a known type", kind)
        inner, count = self.number("I"), self.number("Q")
        if count > _MOST_ITEMS or inner == _ARRAY:
            raise ModelRefused("a list of the model's header", f"at most {_MOST_ITEMS} texts or numbers", count)
        return [self.value(inner) for _ in range(count)]
