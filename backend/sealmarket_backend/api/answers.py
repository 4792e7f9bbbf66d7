"""What the routes share: bodies that are read within their bounds, answers, and what is made once for many."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import msgspec
from fastapi import Request, Response

from sealmarket.serving.requests import charge_write
from sealmarket_backend.errors import TooLarge
from sealmarket_enclave.protocol.codec import to_builtins

MAX_JSON = 4 << 20
MAX_POSTED = 1 << 20
"""A request with its parameters, or parameters: as the nodes read, and room for how they are spelt."""
MAX_SIGNED = 64 << 10
"""Any other signed document."""
JSON = "application/json"
T = TypeVar("T")


async def body_of(request: Request, what: str, limit: int) -> bytes:
    """The body of a request. Raises :class:`TooLarge` as soon as more than ``limit`` bytes came."""
    raw = bytearray()
    async for piece in request.stream():
        raw += piece
        if len(raw) > limit:
            raise TooLarge(f"a {what} has at most {limit} bytes", expected=f"at most {limit} bytes", found="more")
    charge_write(request.scope, len(raw))
    return bytes(raw)


def answer(value: object, status: int = 200) -> Response:
    """A document as JSON."""
    return Response(msgspec.json.encode(to_builtins(value)), status_code=status, media_type=JSON)


def page_of(documents: Sequence[bytes], following: str | None) -> Response:
    """A page of documents that are JSON already."""
    cursor = msgspec.json.encode(following)
    return Response(b'{"items":[' + b",".join(documents) + b'],"next":' + cursor + b"}", media_type=JSON)


def now() -> int:
    """The clock, in seconds since 1970."""
    return int(time.time())


class Recent(Generic[T]):
    """What takes long to make, and is made once in so many seconds however many ask for it."""

    def __init__(self, make: Callable[[], T], seconds: float) -> None:
        self._make, self._seconds, self._lock = make, seconds, threading.Lock()
        self._made: tuple[float, T] | None = None

    def get(self) -> T:
        """The newest, made anew where it is old. Others who ask meanwhile wait for it, and get it, however long it
        took."""
        with self._lock:
            if self._made is None or time.monotonic() > self._made[0] + self._seconds:
                made = self._make()
                self._made = (time.monotonic(), made)
            return self._made[1]
