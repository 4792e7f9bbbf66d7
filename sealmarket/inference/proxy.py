"""The local server (ASGI): OpenAI's paths, each request sealed to a service that was verified, and to no other.

1. Only programs of this machine ask it. The ``Host`` header must name a loopback address, so that a page that rebinds
   its name to 127.0.0.1 is refused; any ``Origin``, or a ``Sec-Fetch-Site`` other than ``none``, is a browser's, and is
   refused; a body must be ``application/json``, which no form sends. With a token, ``Authorization: Bearer TOKEN`` is
   needed, and then ``Host`` may be another name.
2. A body is bounded before it is read (:mod:`sealmarket.serving`).
3. A response begins when its first bytes have opened. What fails before is a whole error with its status; what fails
   behind it ends the stream with an ``error`` event and without ``[DONE]``, so that no client takes it for whole.
4. An answer that is not streamed is handed out when its receipt was checked, and not before.
5. A client that goes away changes nothing: the answer is read to its end, for its receipt.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from sealmarket.inference.openai import Failed, asked_json, failed, refusal_of_workload, units_for
from sealmarket.inference.receipts import KeptReceipt
from sealmarket_enclave.sealed.session import MAX_BODY

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
log = logging.getLogger(__name__)

_ROUTES = {
    "/v1/chat/completions": ("POST", "chat"),
    "/v1/completions": ("POST", "completions"),
    "/v1/score": ("POST", "score"),
    "/v1/models": ("GET", "models"),
}
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
_JSON, _EVENTS = b"application/json", b"text/event-stream; charset=utf-8"
_EVENT = b"data:"


class Asks(Protocol):
    """What answers a request: one service, or one of several (:mod:`.pool`, :mod:`.replicas`)."""

    @property
    def grants(self) -> int: ...
    @property
    def most_units(self) -> int: ...
    def ask(
        self, endpoint: str, body: bytes, most_units: int, done: Callable[[KeptReceipt], None], /
    ) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyRules:
    """What one proxy allows. ``most_output`` is for requests that leave their length open, ``most_units`` for any."""

    most_units: int = 8192
    most_output: int = 1024
    token: str | None = None


@dataclass(frozen=True, slots=True)
class _End:
    """The end of an answer: what is left to hand out of it, its receipt, or what went wrong."""

    body: bytes
    kept: KeptReceipt | None
    error: BaseException | None


class Proxy:
    """The application. ``threads`` is how many answers run at once."""

    def __init__(self, asker: Asks, rules: ProxyRules) -> None:
        self._asker, self._rules = asker, rules
        # One more than there are grants, so that a request finds out that all are busy.
        self._threads = ThreadPoolExecutor(asker.grants + 1, thread_name_prefix="answer")
        self._models: bytes | None = None
        self._under_way = threading.BoundedSemaphore(asker.grants * 8)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of HTTP; other protocols are not spoken."""
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refused(scope, headers)
        if refused is not None:
            await _whole(send, refused.status, refused.body(), refused.retry_after)
            return
        body = await _body(receive)
        if body is None:
            return
        if len(body) > MAX_BODY:
            found = Failed(413, "invalid_request_error", "request_too_large", f"a body has at most {MAX_BODY} bytes")
            await _whole(send, found.status, found.body())
            return
        await self._answer(_ROUTES[scope["path"]][1], body, send)

    def _refused(self, scope: Scope, headers: dict[str, str]) -> Failed | None:
        """Why a request is not read further; None for one that is."""
        if headers.get("origin") is not None or headers.get("sec-fetch-site", "none") != "none":
            return Failed(403, "permission_error", "browser_refused", "pages of a browser do not use this proxy")
        token = self._rules.token
        if token is None and _name_of(headers.get("host", "")) not in _LOOPBACK:
            return Failed(403, "permission_error", "host_refused", "ask this proxy as 127.0.0.1 or localhost")
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if token is not None and not hmac.compare_digest(given.encode(), token.encode()):
            return Failed(401, "authentication_error", "invalid_api_key", "the proxy's token is needed as the API key")
        method, endpoint = _ROUTES.get(scope["path"], ("", ""))
        if not endpoint:
            return Failed(
                404, "invalid_request_error", "unknown_url", f"this proxy serves {', '.join(sorted(_ROUTES))}"
            )
        if scope["method"] != method:
            return Failed(405, "invalid_request_error", "method_not_allowed", f"{scope['path']} takes {method}")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if method == "POST" and kind != "application/json":
            return Failed(415, "invalid_request_error", "unsupported_media_type", "send application/json")
        return None

    async def _answer(self, endpoint: str, body: bytes, send: Send) -> None:
        if endpoint == "models":
            body = b"{}"
            if self._models is not None:
                await _whole(send, 200, self._models)
                return
        try:
            asked = asked_json(body)
        except ValueError:
            found = Failed(400, "invalid_request_error", "invalid_json", "the body must be a JSON object in UTF-8")
            await _whole(send, found.status, found.body())
            return
        most = min(self._rules.most_units, self._asker.most_units)
        units = units_for(endpoint, asked, len(body), self._rules.most_output, most)
        if not self._under_way.acquire(blocking=False):
            found = Failed(429, "rate_limit_error", "too_many_requests", "too many requests wait for a grant", None, 2)
            await _whole(send, found.status, found.body(), found.retry_after)
            return
        await self._relay(endpoint, self._started(endpoint, body, units), send)

    def _started(self, endpoint: str, body: bytes, units: int) -> AsyncIterator[bytes | _End]:
        """The bytes of an answer and its end, read by a thread to the end whatever becomes of the client.

        An answer that is not streamed comes with its end: the loop is woken once for it.
        """
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[bytes | _End]()

        def put(item: bytes | _End) -> None:
            try:
                loop.call_soon_threadsafe(queue.put_nowait, item)
            except RuntimeError:
                log.info("the proxy ended before an answer did; its receipt is kept")

        def read() -> None:
            kept: list[KeptReceipt] = []
            error: BaseException | None = None
            held, streaming = bytearray(), False
            try:
                for piece in self._asker.ask(endpoint, body, units, kept.append):
                    held += piece
                    streaming = streaming or held.startswith(_EVENT)
                    if streaming:
                        put(bytes(held))
                        held.clear()
            except Exception as caught:  # noqa: BLE001 - the client learns of it
                error = caught
            finally:
                self._under_way.release()
            if error is not None:
                log.warning("%s: %s", endpoint, failed(error).message)
            put(_End(bytes(held), kept[0] if kept else None, error))

        self._threads.submit(read)
        return _items(queue)

    async def _relay(self, endpoint: str, answer: AsyncIterator[bytes | _End], send: Send) -> None:
        streaming = False
        async for item in answer:
            if isinstance(item, _End):
                await self._end(endpoint, item, send, streaming=streaming)
                return
            if not streaming:
                streaming = True
                await send({"type": "http.response.start", "status": 200, "headers": _headers(_EVENTS)})
            await send({"type": "http.response.body", "body": item, "more_body": True})

    async def _end(self, endpoint: str, end: _End, send: Send, *, streaming: bool) -> None:
        if streaming:
            last = b"" if end.error is None else _EVENT + b" " + failed(end.error).body() + b"\n\n"
            await send({"type": "http.response.body", "body": last, "more_body": False})
            return
        found = failed(end.error) if end.error is not None else refusal_of_workload(end.body)
        if found is not None:
            await _whole(send, found.status, found.body(), found.retry_after)
            return
        if endpoint == "models":
            self._models = end.body
        await _whole(send, 200, end.body, receipt=end.kept)

    def close(self) -> None:
        """Wait for the answers that run; their receipts are kept."""
        self._threads.shutdown(wait=True)


async def _items(queue: asyncio.Queue[bytes | _End]) -> AsyncIterator[bytes | _End]:
    while True:
        item = await queue.get()
        yield item
        if isinstance(item, _End):
            return


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None where the client went away, or the server cut it off."""
    whole = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        whole += message.get("body", b"")
        if not message.get("more_body", False) or len(whole) > MAX_BODY:
            return bytes(whole)


async def _whole(
    send: Send, status: int, body: bytes, retry_after: int = 0, *, receipt: KeptReceipt | None = None
) -> None:
    headers = [*_headers(_JSON), (b"content-length", b"%d" % len(body))]
    if retry_after:
        headers.append((b"retry-after", b"%d" % retry_after))
    if receipt is not None:
        headers.append((b"x-sealmarket-receipt", str(receipt.name).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _headers(kind: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", kind), (b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]


def _name_of(host: str) -> str:
    """The name in a ``Host`` header, without its port."""
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdigit() else host.lower()
