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
from sealmarket_backend.api.idempotency import HEADER, Idempotency, KeptAnswer
from sealmarket_enclave.protocol.codec import decode

T = TypeVar("T")
CREATED = 201


class Posting:
    """Carries POSTs out. ``done`` hears of each that changed something."""

    def __init__(self, keys: Idempotency, done: Callable[[], None]) -> None:
        self._keys, self._done = keys, done

    async def post(
        self,
        request: Request,
        kind: type[T],
        do: Callable[[T, str], dict[str, str] | None],
        limit: int = MAX_SIGNED,
    ) -> Response:
        """Read a document of ``kind`` and do something with it; ``do`` gets it and the peer, and returns the answer."""
        body = await body_of(request, kind.__name__, limit)
        made = await run_in_threadpool(self._carry_out, request, kind, do, body)
        self._done()
        return Response(made.body, made.status, media_type=JSON)

    def _carry_out(
        self, request: Request, kind: type[T], do: Callable[[T, str], dict[str, str] | None], body: bytes
    ) -> KeptAnswer:
        peer = peer_in(request.scope)

        def once() -> KeptAnswer:
            return KeptAnswer(CREATED, msgspec.json.encode(do(decode(kind, body), peer) or {}))

        return self._keys.once(request.scope["path"], request.headers.get(HEADER), body, peer, once)
