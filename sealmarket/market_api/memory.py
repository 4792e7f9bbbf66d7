"""The twin of a backend in memory, for tests: it serves the store and the market's API without process or network.

It stores what it is given, checks nothing, and matches nothing: a test can put false content into it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import httpx
import msgspec

from sealmarket.market_api.client import MarketApi
from sealmarket.protocol.problems import problem
from sealmarket.protocol.wire import PostedRequest
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import canonical_json, decode

_BLOBS = ("documents", "containers", "workloads", "lists")
_LISTED = ("compute-orders", "asset-orders")
_BY_JOB = ("evidence", "parameters", "results", "acknowledgements")


@dataclass
class MemoryBackend:
    """What was put where: ``blobs["documents/0x…"]``, ``posted["requests"]``. ``down`` makes it unreachable."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    posted: dict[str, list[bytes]] = field(default_factory=dict)
    answers: dict[str, bytes] = field(default_factory=dict)
    down: bool = False
    loses_answers: int = 0
    """So many posts are kept, and the sender gets no answer."""

    @property
    def transport(self) -> httpx.BaseTransport:
        """Answers requests from this twin."""
        return httpx.MockTransport(self._handle)

    def store(self) -> Store:
        """A client of its store."""
        return Store("http://store.twin", transport=self.transport)

    def api(self) -> MarketApi:
        """A client of its market's API."""
        return MarketApi("http://market.twin", transport=self.transport)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("the twin is down", request=request)
        kind, _, name = request.url.path.removeprefix("/v1/").partition("/")
        body = request.read()
        if request.method in ("GET", "HEAD"):
            return self._get(kind, name)
        if request.method == "PATCH":
            return httpx.Response(404)  # as a store that takes containers at once alone
        if kind in _BLOBS:
            self.blobs[f"{kind}/{name}"] = body
        elif kind in _BY_JOB and name:
            self.answers[f"{kind}/{name}"] = body
        else:
            self.posted.setdefault(kind, []).append(body)
        if kind == "requests":
            posted = decode(PostedRequest, body)
            key = posted.request.request.struct_hash()
            self.answers[f"parameters/{key}"] = posted.parameters.canonical()
            self.answers.setdefault(f"requests/{key}", msgspec.json.encode({"state": "open", "explanation": []}))
        if self.loses_answers and request.method == "POST":
            self.loses_answers -= 1
            raise httpx.ReadTimeout("the answer was lost", request=request)
        return httpx.Response(201)

    def _get(self, kind: str, name: str) -> httpx.Response:
        if kind in _LISTED and not name:
            return httpx.Response(200, content=b'{"items":[' + b",".join(self.posted.get(kind, [])) + b'],"next":null}')
        found = self.blobs.get(f"{kind}/{name}") if kind in _BLOBS else self.answers.get(f"{kind}/{name}")
        if found is None:
            return httpx.Response(404, content=canonical_json(problem("not-found", f"no {kind} {name}")))
        return httpx.Response(200, content=found)
