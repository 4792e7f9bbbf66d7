"""Cursors of lists: opaque to their readers, bound to the list and its filters.

A cursor is the place of the last item that was listed. It holds no secret and is not signed: a forged one leads to
another place of a public list, and to nothing else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

import msgspec

from sealmarket.protocol.market import LONGEST_CURSOR
from sealmarket_backend.errors import CursorInvalid

_BINDING_BYTES = 8
_LARGEST = 2**62


def cursor_of(query: tuple[object, ...], *places: int) -> str:
    """The cursor behind an item. ``query``: the list's name, and its filters as text or None."""
    raw = _binding(query) + msgspec.msgpack.encode(places)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def places_in(cursor: str | None, query: tuple[object, ...], count: int = 1) -> tuple[int, ...] | None:
    """The places in a cursor, as many as ``count``; None for none. Raises :class:`CursorInvalid`."""
    if cursor is None:
        return None
    if len(cursor) > LONGEST_CURSOR or not cursor.isascii():
        raise CursorInvalid("it is longer than any, or not ASCII")
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        places = msgspec.msgpack.decode(raw[_BINDING_BYTES:], type=tuple[int, ...])
    except (binascii.Error, msgspec.MsgspecError, ValueError) as error:
        raise CursorInvalid("it does not read") from error
    if raw[:_BINDING_BYTES] != _binding(query):
        raise CursorInvalid("it is of another list, or of other filters")
    if len(places) != count or not all(0 <= place < _LARGEST for place in places):
        raise CursorInvalid("it does not read")
    return places


def _binding(query: tuple[object, ...]) -> bytes:
    text = "\n".join("" if part is None else str(part) for part in query)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:_BINDING_BYTES]
