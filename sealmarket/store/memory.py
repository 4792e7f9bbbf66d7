"""The twin of a store and backend in memory, for tests: the same addresses and answers, no process and no network.

It keeps what it is given, checks nothing, and matches nothing: what a client must not believe can be put into it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import httpx
import msgspec

from sealmarket.protocol.wire import Problem, SignedRequest
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import canonical_json, decode

_BLOBS = ("documents", "containers", "workloads", "lists")
_BY_JOB = ("evidence", "parameters", "results", "acknowledgements")


@dataclass
class MemoryBackend:
    """What was put where: ``blobs["documents/0x…"]``, ``posted["requests"]``."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    posted: dict[str, list[bytes]] = field(default_factory=dict)
    answers: dict[str, bytes] = field(default_factory=dict)
    down: bool = False

    def store(self) -> Store:
        """A client of this twin."""
        return Store("http://store.twin", transport=httpx.MockTransport(self._handle))

    def _handle(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("the twin is down", request=request)
        kind, _, name = request.url.path.removeprefix("/v1/").partition("/")
        body = request.read()
        if request.method in ("GET", "HEAD"):
            return self._get(kind, name)
        if kind in _BLOBS:
            self.blobs[f"{kind}/{name}"] = body
        elif kind in _BY_JOB and name:
            self.answers[f"{kind}/{name}"] = b"[" + body + b"]" if kind == "evidence" else body
        else:
            self.posted.setdefault(kind, []).append(body)
        if kind == "requests":
            key = decode(SignedRequest, body).request.struct_hash()
            self.answers.setdefault(f"requests/{key}", msgspec.json.encode({"state": "open", "explanation": []}))
        return httpx.Response(201)

    def _get(self, kind: str, name: str) -> httpx.Response:
        found = self.blobs.get(f"{kind}/{name}") if kind in _BLOBS else self.answers.get(f"{kind}/{name}")
        if found is None:
            return httpx.Response(404, content=canonical_json(Problem(title="NotFound", detail=f"no {kind} {name}")))
        return httpx.Response(200, content=found)
