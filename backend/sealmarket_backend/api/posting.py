"""How every POST goes: a bounded body, its document, and the answer under its idempotency key.

Decoding, checking and keeping take one step in a thread of their own, so that no body holds up another's connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec
from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool

from sealmarket.serving.requests import peer_in
from sealmarket_backend.api.answers import JSON, MAX_SIGNED, body_of
from sealmarket_backend.api.idempotency import HEADER, Idempotency, Keep, KeptAnswer
from sealmarket_backend.tables import Connection
from sealmarket_enclave.protocol.codec import decode

T = TypeVar("T")
CREATED = 201
Done = dict[str, str]
Note = Callable[[Connection, Done], None]
"""Writes an answer down under its request's key, in a transaction that does what was asked."""


class Posting:
    """Carries POSTs out. ``done`` hears of each that changed something."""

    def __init__(self, keys: Idempotency, done: Callable[[], None]) -> None:
        self._keys, self._done = keys, done

    async def post(
        self, request: Request, kind: type[T], do: Callable[[T, str], Done | None], limit: int = MAX_SIGNED
    ) -> Response:
        """Read a document of ``kind`` and do something with it; ``do`` gets it and the peer, and returns the answer."""

        def once(key: str | None, body: bytes, path: str, peer: str) -> KeptAnswer:
            return self._keys.once(path, key, body, peer, lambda: _created(do(decode(kind, body), peer)))

        return await self._carry_out(request, kind.__name__, once, limit)

    async def post_in_one(
        self, request: Request, kind: type[T], do: Callable[[T, str, Note], Done], limit: int = MAX_SIGNED
    ) -> Response:
        """As :meth:`post`, for what is done in one transaction: ``do`` notes the answer in that one."""

        def once(key: str | None, body: bytes, path: str, peer: str) -> KeptAnswer:
            def made(keep: Keep) -> KeptAnswer:
                return _created(do(decode(kind, body), peer, lambda at, done: keep(at, _created(done))))

            return self._keys.within(path, key, body, peer, made)

        return await self._carry_out(request, kind.__name__, once, limit)

    async def _carry_out(
        self, request: Request, what: str, once: Callable[[str | None, bytes, str, str], KeptAnswer], limit: int
    ) -> Response:
        body = await body_of(request, what, limit)
        key, path, peer = request.headers.get(HEADER), request.scope["path"], peer_in(request.scope)
        made = await run_in_threadpool(once, key, body, path, peer)
        self._done()
        return Response(made.body, made.status, media_type=JSON)


def _created(done: Done | None) -> KeptAnswer:
    return KeptAnswer(CREATED, msgspec.json.encode(done or {}))
