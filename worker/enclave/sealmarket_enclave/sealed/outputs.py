"""Several named byte strings as one: what is inside a result's container.

Bytes (docs/spec/container.md, "Result"): ``u32(count)``, then for each, in ascending order of the name's
UTF-8 bytes: ``u16(name length) || name || u64(length) || data``. One spelling: names are unique and sorted,
nothing follows. Names are 1 to 64 characters of ``a-z 0-9 . _ -`` and start with a letter or digit, so that
no name is a path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sealmarket_enclave.sealed.errors import InvalidOutputs

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
MAX_OUTPUTS = 256


def encode_outputs(outputs: Mapping[str, bytes]) -> bytes:
    """Write outputs. Raises :class:`InvalidOutputs` for a name that is not allowed, or too many."""
    if len(outputs) > MAX_OUTPUTS:
        raise InvalidOutputs("number of outputs", len(outputs), f"at most {MAX_OUTPUTS}")
    parts = [len(outputs).to_bytes(4, "big")]
    for name in sorted(outputs):
        _require_name(name)
        data = outputs[name]
        parts += [len(name).to_bytes(2, "big"), name.encode("ascii"), len(data).to_bytes(8, "big"), data]
    return b"".join(parts)


def decode_outputs(raw: bytes | bytearray | memoryview) -> dict[str, bytes]:
    """Read outputs; the input is not trusted.

    Raises:
        InvalidOutputs: cut short, something appended, a name not allowed, repeated or out of order.
    """
    reader = _Reader(memoryview(raw))
    count = reader.number(4)
    if count > MAX_OUTPUTS:
        raise InvalidOutputs("number of outputs", count, f"at most {MAX_OUTPUTS}")
    outputs: dict[str, bytes] = {}
    last = ""
    for _ in range(count):
        name = bytes(reader.take(reader.number(2))).decode("ascii", "replace")
        _require_name(name)
        if name <= last:
            raise InvalidOutputs("order of names", f"{name} after {last}", "ascending and unique")
        outputs[name], last = bytes(reader.take(reader.number(8))), name
    if reader.left:
        raise InvalidOutputs("length", f"{reader.left} bytes more", "nothing after the last output")
    return outputs


class _Reader:
    def __init__(self, view: memoryview) -> None:
        self._view, self._at = view, 0

    @property
    def left(self) -> int:
        return len(self._view) - self._at

    def take(self, size: int) -> memoryview:
        if size > self.left:
            raise InvalidOutputs("length", f"{self.left} bytes left", f"{size}")
        self._at += size
        return self._view[self._at - size : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")


def _require_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise InvalidOutputs("name", repr(name[:80]), "1 to 64 characters of a-z 0-9 . _ -")
