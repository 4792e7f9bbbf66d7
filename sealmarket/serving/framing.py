"""How a request's body may be cut: what the parser of a connection refuses beside what RFC 9112 forbids.

1. A request that states a length and names a transfer encoding too. Servers in a row read such a request differently,
   and then take one's body for another's request (RFC 9112, section 6.1).
2. Chunks that are small on average. Each costs the server a hundred microseconds, so that a body of single bytes would
   hold all its connections up at a few kilobytes a second.

A refused request is answered with 400, and the connection ends.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11

FREE_CHUNKS = 64
BYTES_A_CHUNK = 4 << 10
"""On average, beyond the free ones."""


class StrictConnection(h11.Connection):
    """The parser of one connection."""

    def __init__(self, header_bytes: int) -> None:
        super().__init__(h11.SERVER, header_bytes)
        self._chunks = self._bytes = 0

    def next_event(self) -> Any:
        """The next part of a request. Raises h11.RemoteProtocolError for one that is refused."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._begin(event)
        elif isinstance(event, h11.Data):
            self._count(event)
        return event

    def _begin(self, request: h11.Request) -> None:
        self._chunks = self._bytes = 0
        names = {name.lower() for name, _ in request.headers}
        if {b"content-length", b"transfer-encoding"} <= names:
            raise h11.RemoteProtocolError("a body has a length or a transfer encoding, expected one of them")

    def _count(self, data: h11.Data) -> None:
        self._bytes += len(data.data)
        self._chunks += data.chunk_end
        if self._chunks > FREE_CHUNKS + self._bytes // BYTES_A_CHUNK:
            raise h11.RemoteProtocolError(f"chunks are expected to have {BYTES_A_CHUNK} bytes on average")


def make_strict(protocol: asyncio.Protocol, header_bytes: int) -> asyncio.Protocol:
    """The protocol of a connection, with a strict parser in place of its own."""
    if not isinstance(getattr(protocol, "conn", None), h11.Connection):
        raise RuntimeError("this release of the server has no h11 parser to replace: install another")
    protocol.conn = StrictConnection(header_bytes)  # type: ignore[attr-defined]
    return protocol
