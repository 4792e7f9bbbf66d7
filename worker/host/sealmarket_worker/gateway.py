"""What users of services ask a host, over HTTP (docs/spec/session.md, "For users"). It carries sealed bytes.

``GET /v1/services/{jobId}`` gives what is public, ``POST …/evidence`` the evidence sealed to a key, and ``POST
…/requests`` takes one sealed request and answers with the frames of its enclave, as they come. Everything else is
refused with problem details (RFC 9457). The limits of every listener hold (:mod:`sealmarket.serving.limits`); a peer
has :data:`MOST_OF_PEER` answers at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from sealmarket.protocol.problems import problem
from sealmarket.protocol.services import EvidenceRequest
from sealmarket.serving.requests import Receive, Scope, Send, peer_in
from sealmarket_enclave.protocol.codec import Bytes32, decode_canonical
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.sealed.errors import InvalidHpkeKey
from sealmarket_enclave.sealed.hpke import PublicKey
from sealmarket_enclave.sealed.session import MAX_SEALED
from sealmarket_worker.errors import ServiceOver
from sealmarket_worker.link import ServiceLink

MOST_OF_PEER = 16
"""Answers of one peer at once."""
_KEY_BYTES = 4096
_Part = tuple[bytes | None, bool]
"""Bytes of an answer, None where there is none, and whether they are the last."""
_BYTES, _JSON, _PROBLEM = b"application/octet-stream", b"application/json", b"application/problem+json"


@dataclass(frozen=True, slots=True)
class Hosted:
    """A service as this host shows it: its link, its public document, and its evidence sealed to a user's key."""

    link: ServiceLink
    document: Callable[[], bytes]
    evidence: Callable[[PublicKey], bytes]


class Refused(Exception):
    """A request that the host answers by itself."""

    def __init__(self, kind: str, detail: str, remedy: str = "") -> None:
        """``kind``: a type of :data:`sealmarket.protocol.problems.TYPES`."""
        super().__init__(detail)
        self.problem = problem(kind, detail, remedy)


class Gateway:
    """The services of one host. Threads may add and remove them while it serves."""

    def __init__(self) -> None:
        self._hosted: dict[JobId, Hosted] = {}
        self._running: Counter[str] = Counter()

    def add(self, job_id: JobId, hosted: Hosted) -> None:
        """Take requests for a service."""
        self._hosted[job_id] = hosted

    def remove(self, job_id: JobId) -> None:
        """Take none any more."""
        self._hosted.pop(job_id, None)

    def serves(self, job_id: JobId) -> bool:
        """Whether requests of a service are taken here."""
        return job_id in self._hosted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            return
        try:
            await self._routed(scope, receive, send)
        except Refused as error:
            await _answer(send, error.problem.status, _PROBLEM, error.problem.canonical())
        except ServiceOver as error:
            found = problem(error.kind, error.message, error.remedy)
            await _answer(send, found.status, _PROBLEM, found.canonical(), retry=5)

    async def _routed(self, scope: Scope, receive: Receive, send: Send) -> None:
        hosted, what = self._found(scope["path"])
        method = scope["method"]
        if (method, what) == ("GET", ""):
            await _answer(send, 200, _JSON, await asyncio.to_thread(hosted.document))
        elif (method, what) == ("POST", "evidence"):
            key = _key(await _body(receive, _KEY_BYTES))
            await _answer(send, 200, _BYTES, await asyncio.to_thread(hosted.evidence, key))
        elif (method, what) == ("POST", "requests"):
            await self._carry(hosted.link, peer_in(scope), receive, send)
        else:
            raise Refused("method-not-allowed", f"{method} is not for this path")

    def _found(self, path: str) -> tuple[Hosted, str]:
        parts = path.split("/")
        if len(parts) not in (4, 5) or parts[:3] != ["", "v1", "services"]:
            raise Refused("no-route", "this host has no such path", "see docs/spec/session.md")
        try:
            hosted = self._hosted.get(JobId(Bytes32.parse(parts[3])))
        except MalformedDocument as error:
            raise Refused("malformed-document", error.message, "name a service by its 0x hex id") from None
        if hosted is None:
            raise Refused("not-found", "this host serves no service of this id", "ask another host")
        return hosted, parts[4] if len(parts) == 5 else ""

    async def _carry(self, link: ServiceLink, peer: str, receive: Receive, send: Send) -> None:
        """One sealed request and its answer, until either side ends it."""
        with self._place(peer):
            sealed = await _body(receive, MAX_SEALED)
            loop, heard = asyncio.get_running_loop(), asyncio.Queue[_Part | None]()

            def pass_on(data: bytes | None, last: bool) -> None:
                with suppress(RuntimeError):  # the server has ended
                    loop.call_soon_threadsafe(heard.put_nowait, (data, last))

            stream = await asyncio.to_thread(link.ask, sealed, pass_on)
            gone = asyncio.ensure_future(_gone(receive, heard))
            whole = False
            try:
                whole = await _stream(heard, send)
            finally:
                gone.cancel()
                if not whole:
                    with suppress(ServiceOver):
                        await asyncio.to_thread(stream.drop)

    @contextmanager
    def _place(self, peer: str) -> Iterator[None]:
        if self._running[peer] >= MOST_OF_PEER:
            raise Refused("too-many", f"{MOST_OF_PEER} answers of {peer} run already", "wait for one")
        self._running[peer] += 1
        try:
            yield
        finally:
            self._running[peer] -= 1
            if not self._running[peer]:
                del self._running[peer]


async def _stream(heard: asyncio.Queue[_Part | None], send: Send) -> bool:
    """Pass an answer on as it comes. Whether it is over; else its reader is gone, which None says."""
    begun = last = False
    while not last:
        part = await heard.get()
        if part is None:
            return False
        data, last = part
        if data is None:
            remedy = "seal the request to the key and the service that this host shows"
            raise Refused("not-opened", "the enclave cannot open this request", remedy)
        if not begun:
            begun = True
            headers = [(b"content-type", _BYTES), (b"cache-control", b"no-store")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": data, "more_body": not last})
    return True


async def _gone(receive: Receive, heard: asyncio.Queue[_Part | None]) -> None:
    """Say so when the peer has closed its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
    heard.put_nowait(None)


async def _body(receive: Receive, most: int) -> bytes:
    """A whole body. Raises :class:`Refused` for a longer one, or one that was cut off."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Refused("malformed-document", "the body did not come whole")
        body += message.get("body", b"")
        if len(body) > most:
            raise Refused("too-large", f"a body has at most {most} bytes here")
        if not message.get("more_body", False):
            return bytes(body)


def _key(raw: bytes) -> PublicKey:
    try:
        return PublicKey(decode_canonical(EvidenceRequest, raw).key)
    except (MalformedDocument, InvalidHpkeKey) as error:
        raise Refused("malformed-document", error.message, error.remedy or "send an HPKE public key") from None


async def _answer(send: Send, status: int, kind: bytes, body: bytes, retry: int = 0) -> None:
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
    headers += [(b"retry-after", b"%d" % retry)] if retry else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
