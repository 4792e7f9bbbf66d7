"""The requests of one listener: how many a peer, how large, and how slowly their bodies may come (ASGI).

An application finds out who asks with :func:`peer_in`. What it answers after a request was cut off is left out.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from sealmarket.protocol.problems import problem
from sealmarket.serving.connections import Connections, Endpoint
from sealmarket.serving.rates import UNKNOWN_PEER, Rates, forwarded_peer

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
_PEER, _CHARGE = "sealmarket.peer", "sealmarket.charge"
_READING = {"GET", "HEAD"}
_FILE = b"application/octet-stream"
EVENT_STREAM = "text/event-stream"
"""The kind of an answer without an end: each of its pieces has to be taken in time, not all of them together."""
_TYPES = {408: "too-slow", 413: "too-large", 429: "too-many"}


def charge_write(scope: Scope, size: int) -> None:
    """Let a body that took work to check count as several requests that change something, by its size in bytes."""
    if (charge := scope.get(_CHARGE)) is not None:
        charge(size)


def peer_in(scope: Scope) -> str:
    """Who sent a request, as its rate is counted."""
    found = scope.get(_PEER)
    return found if isinstance(found, str) else UNKNOWN_PEER


class BoundedRequests:
    """An application behind limits."""

    def __init__(self, app: App, connections: Connections) -> None:
        limits = connections.limits
        self._app, self._connections, self._limits = app, connections, limits
        self._all = Rates(limits.requests_per_second, limits.request_burst)
        self._writes = Rates(limits.writes_per_second, limits.write_burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        endpoint: Endpoint = tuple(scope.get("client") or (UNKNOWN_PEER, 0))
        self._connections.busy(endpoint)
        try:
            await self._bounded(scope, _Exchange(receive, send, self._connections, endpoint))
        finally:
            self._connections.rest(endpoint)

    async def _bounded(self, scope: Scope, exchange: _Exchange) -> None:
        headers = dict(scope["headers"])
        forwarded = headers.get(b"x-forwarded-for", b"").decode("latin-1")
        peer = forwarded_peer(exchange.endpoint[0], forwarded, self._limits.trusted_proxies)
        scope[_PEER] = peer
        scope[_CHARGE] = lambda size: self._writes.charge(peer, size / self._limits.bytes_a_write)
        if wait := self._wait(scope["method"], peer):
            exchange.refuse(429, f"more requests by {peer} than this server takes", wait)
        elif _announced(headers) > self._limits.body_bytes:
            exchange.refuse_size()
        else:
            await exchange.run(self._app, scope)
        await exchange.finish()
        if cost := exchange.made // self._limits.bytes_a_request:
            self._all.charge(peer, cost)

    def _wait(self, method: str, peer: str) -> float:
        wait = self._all.wait_for(peer)
        return wait if wait or method in _READING else self._writes.wait_for(peer)


class _Exchange:
    """One request and its answer."""

    def __init__(self, receive: Receive, send: Send, connections: Connections, endpoint: Endpoint) -> None:
        self._receive, self._send = receive, send
        self._connections, self._limits = connections, connections.limits
        self.endpoint = endpoint
        self._began = asyncio.get_running_loop().time()
        self._answer_began = 0.0
        self._received = self._sent = 0
        self._is_file = self._is_stream = False
        self._whole = self._started = self._cut = False
        self._refusal: tuple[int, str, float] | None = None

    @property
    def made(self) -> int:
        """Bytes of an answer that was made for this request; a file is sent as it is."""
        return 0 if self._is_file else self._sent

    async def run(self, app: App, scope: Scope) -> None:
        """Let the application answer. What it raises because a request was cut off is no failure of its own."""
        try:
            await app(scope, self.receive, self.send)
        except Exception:
            if not self._cut:
                raise

    async def receive(self) -> Message:
        """A piece of the body, in time and within the size; else the end of the connection."""
        try:
            async with asyncio.timeout(self._patience()):
                message = await self._receive()
        except TimeoutError:
            return self.refuse(408, "the body came too slowly", 1)
        if message["type"] != "http.request":
            self._cut = True
            return message
        self._received += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        return self.refuse_size() if self._received > self._limits.body_bytes else message

    async def send(self, message: Message) -> None:
        """A piece of the answer, which its reader has to take in time."""
        if self._refusal is not None and not self._started:
            return
        if not self._started:
            self._started, self._answer_began = True, asyncio.get_running_loop().time()
            kinds = [value for name, value in message.get("headers", ()) if name == b"content-type"]
            self._is_file = kinds == [_FILE]
            self._is_stream = any(kind.startswith(EVENT_STREAM.encode()) for kind in kinds)
        self._sent += len(message.get("body", b""))
        try:
            await self._send(message)
            await self._connections.flush(self.endpoint, self._time_to_take())
            if self._is_stream:  # one that always has more would never let the loop see that its reader left
                await asyncio.sleep(0)
        except TimeoutError:
            self._cut = True
            self._connections.abort(self.endpoint)

    def refuse(self, status: int, detail: str, wait: float = 0) -> Message:
        """Cut the request off, with this answer if none began."""
        self._cut = True
        self._refusal = (status, detail, wait)
        return {"type": "http.disconnect"}

    def refuse_size(self) -> Message:
        """Cut a request off for its size."""
        return self.refuse(413, f"a body has at most {self._limits.body_bytes} bytes here")

    async def finish(self) -> None:
        """Send the refusal, if there is one and nothing was sent yet."""
        refusal, self._refusal = self._refusal, None
        if refusal is None or self._started:
            return
        status, detail, wait = refusal
        body = problem(_TYPES[status], detail, _remedy(wait)).canonical()
        headers = [(b"content-type", b"application/problem+json"), (b"connection", b"close")]
        headers += [(b"content-length", b"%d" % len(body))]
        headers += [(b"retry-after", b"%d" % math.ceil(wait))] if wait else []
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    def _patience(self) -> float | None:
        if self._whole:
            return None
        return min(self._limits.stall_seconds, self._time_left(self._began, self._received))

    def _time_to_take(self) -> float:
        return self._limits.stall_seconds if self._is_stream else self._time_left(self._answer_began, self._sent)

    def _time_left(self, began: float, size: int) -> float:
        end = began + self._limits.body_seconds + size / self._limits.body_pace
        return max(0.0, end - asyncio.get_running_loop().time())


def _announced(headers: MutableMapping[bytes, bytes]) -> int:
    text = headers.get(b"content-length", b"0")
    return int(text) if text.isdigit() and len(text) < 20 else 0


def _remedy(wait: float) -> str:
    return f"try again in {math.ceil(wait)} s" if wait else "send less"
