"""The connections of one listener: how many, how many a peer, and how long each may wait without a request.

A connection goes ``heading -> busy -> idle -> heading``. A newcomer beyond a limit takes the place of the oldest
connection that never sent a request, else of the oldest idle one; where all are busy it is refused with 503. So who
opens connections and says nothing displaces its own, and who asks at once is answered. With TLS a connection counts
from its first packet, and the handshake is part of the time to the first request.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable
from enum import IntEnum
from functools import partial
from typing import Any

from sealmarket.serving.framing import make_strict
from sealmarket.serving.limits import ServerLimits
from sealmarket.serving.rates import UNKNOWN_PEER, peer_of

Endpoint = tuple[str, int]
_LATER = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class State(IntEnum):
    """Where a connection stands, in the order in which it makes room for others."""

    NEW = 0
    IDLE = 1
    HEADING = 2
    BUSY = 3


class Connections:
    """Counts the connections of one listener. ``inner`` makes the protocol that reads a connection, under ``tls``."""

    def __init__(
        self, limits: ServerLimits, inner: Callable[..., asyncio.Protocol], tls: ssl.SSLContext | None = None
    ) -> None:
        self.limits, self.tls = limits, tls
        self._inner = inner
        self._open: dict[Endpoint, Guarded] = {}
        self._peers: dict[str, dict[Endpoint, Guarded]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def protocol(self, **options: Any) -> asyncio.Protocol:
        """The protocol of one connection, as a server asks for it."""
        return Guarded(self, partial(self._strict, options))

    def _strict(self, options: dict[str, Any]) -> asyncio.Protocol:
        return make_strict(self._inner(**options), self.limits.header_bytes)

    def admit(self, one: Guarded) -> bool:
        """Take a connection, if there is room or some can be made."""
        mine = self._peers.get(one.peer, {})
        trusted = one.endpoint[0] in self.limits.trusted_proxies
        if not trusted and len(mine) >= self.limits.connections_per_peer and not self._make_room(mine.values()):
            return False
        if len(self._open) >= self.limits.connections and not self._make_room(self._largest()):
            return False
        self._open[one.endpoint] = self._peers.setdefault(one.peer, {})[one.endpoint] = one
        return True

    def leave(self, one: Guarded) -> None:
        """Forget a connection."""
        if self._open.get(one.endpoint) is one:
            del self._open[one.endpoint]
            del self._peers[one.peer][one.endpoint]
            if not self._peers[one.peer]:
                del self._peers[one.peer]

    def busy(self, endpoint: Endpoint) -> None:
        """The headers of a request are here: from now on its body has the deadlines."""
        if one := self._open.get(endpoint):
            one.enter(State.BUSY, None)

    def rest(self, endpoint: Endpoint) -> None:
        """A request is answered."""
        if one := self._open.get(endpoint):
            one.enter(State.IDLE, self.limits.idle_seconds)

    def abort(self, endpoint: Endpoint) -> None:
        """End a connection at once."""
        if one := self._open.get(endpoint):
            one.abort()

    async def flush(self, endpoint: Endpoint, seconds: float) -> None:
        """Wait until a reader took what was written, at most so long. Raises TimeoutError, or for a stall."""
        if (one := self._open.get(endpoint)) and one.is_behind:
            async with asyncio.timeout(seconds):
                await one.flush(self.limits.stall_seconds)

    def _largest(self) -> Iterable[Guarded]:
        return max(self._peers.values(), key=len, default={}).values()

    @staticmethod
    def _make_room(among: Iterable[Guarded]) -> bool:
        oldest = min(among, key=lambda one: one.state, default=None)
        if oldest is None or oldest.state is State.BUSY:
            return False
        oldest.abort()
        return True


class Guarded(asyncio.Protocol):
    """One connection: passes everything on to the inner protocol, and ends what waits too long."""

    def __init__(self, connections: Connections, inner: Callable[[], asyncio.Protocol]) -> None:
        self._connections, self._make_inner = connections, inner
        self._inner: asyncio.Protocol | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._securing: asyncio.Task[None] | None = None
        self._early = b""
        self.endpoint: Endpoint = (UNKNOWN_PEER, 0)
        self.peer = UNKNOWN_PEER
        self.state = State.NEW

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit a connection, or say that it is too many."""
        assert isinstance(transport, asyncio.Transport)
        name = transport.get_extra_info("peername")
        if isinstance(name, tuple):
            self.endpoint, self.peer = (str(name[0]), int(name[1])), peer_of(str(name[0]))
        if not self._connections.admit(self):
            if self._connections.tls is None:
                transport.write(_LATER)
            transport.close()
            return
        self._transport = transport
        self.enter(State.NEW, self._connections.limits.header_seconds)
        if self._connections.tls is not None:
            transport.pause_reading()
            self._securing = asyncio.get_running_loop().create_task(self._secure(transport, self._connections.tls))

    async def _secure(self, transport: asyncio.Transport, tls: ssl.SSLContext) -> None:
        """Shake hands; this connection's deadline ends what takes too long. What came meanwhile is read then."""
        limit = self._connections.limits.header_seconds
        try:
            secured = await asyncio.get_running_loop().start_tls(
                transport, self, tls, server_side=True, ssl_handshake_timeout=limit
            )
        except OSError:  # no TLS, or none that both speak; or the peer is gone
            secured = None
        if secured is None or transport.is_closing():
            self.abort()
            return
        self._transport, self._securing = secured, None
        early, self._early = self._early, b""
        if early:
            self.data_received(early)

    def data_received(self, data: bytes) -> None:
        """Pass bytes on; the first of a later request start its deadline."""
        if self._transport is None:
            return
        if self._securing is not None:
            self._early += data
            return
        if self._inner is None:
            # A peer that sends nothing costs little more than the system's own accept.
            self._inner = self._make_inner()
            self._inner.connection_made(self._transport)
        if self.state is State.IDLE:
            self.enter(State.HEADING, self._connections.limits.header_seconds)
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass the end on."""
        return self._inner.eof_received() if self._inner else None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._leave()
        self._writable.set()
        if self._inner is not None:
            self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass on that the reader is slow."""
        self._writable.clear()
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that the reader goes on."""
        self._writable.set()
        if self._inner is not None:
            self._inner.resume_writing()

    @property
    def is_behind(self) -> bool:
        """Whether the reader has not taken what was written, but for a little."""
        return not self._writable.is_set()

    async def flush(self, stall_seconds: float) -> None:
        """Wait until little is left to write. Raises TimeoutError where the reader takes nothing for so long."""
        left = self._unwritten()
        while self.is_behind:
            try:
                await asyncio.wait_for(self._writable.wait(), stall_seconds)
            except TimeoutError:
                if self._unwritten() >= left:
                    raise
                left = self._unwritten()

    def _unwritten(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport else 0

    def enter(self, state: State, seconds: float | None) -> None:
        """Be in a state, for at most so many seconds."""
        self.state = state
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.abort) if seconds is not None else None

    def abort(self) -> None:
        """End the connection at once."""
        self._leave()
        if self._transport is not None:
            self._transport.abort()

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._connections.leave(self)
