"""The HTTP API. Routes are thin: they read a shape, call one method, answer a shape.

One handler turns every refusal into a :class:`sealmarket.protocol.wire.Problem`. No party trusts this API:
what people sign and what readers verify does not rest on it.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from fastapi import FastAPI, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse

from sealmarket.protocol.proposals import MAXIMUM_PROPOSAL, SignedAnswer, SignedProposal
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import (
    EvidenceEnvelope,
    PostedRequest,
    PostedResult,
    Problem,
    SignedAcknowledgement,
    SignedAssetOrder,
    SignedComputeOrder,
)
from sealmarket.serving.requests import charge_write, peer_in
from sealmarket_backend.blobs import LIMITS, Kind
from sealmarket_backend.catalogue import MOST_ASSETS, AssetQuery
from sealmarket_backend.errors import BackendError, TooLarge, TooMany
from sealmarket_backend.index import MOST_JOBS
from sealmarket_backend.service import UNREADABLE_CHAIN, Backend
from sealmarket_backend.web import market_page
from sealmarket_enclave.protocol.codec import Address, Bytes32, decode, to_builtins
from sealmarket_enclave.protocol.errors import MalformedDocument, SealmarketError
from sealmarket_enclave.protocol.job import Parameters

MAX_JSON = 4 << 20
MAX_POSTED = 1 << 20
"""A request with its parameters, or parameters: as the nodes read, and room for how they are spelt."""
MAX_SIGNED = 64 << 10
"""Any other signed document."""
MAX_OFFSET = LIMITS[Kind.CONTAINERS]
OFFSET = "Upload-Offset"
RECENT_SECONDS = 0.5
"""How old the page and the list of assets may be."""
_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
}
_Word = Annotated[str, Query(max_length=200)]
_Price = Annotated[str, Query(max_length=39)]
T = TypeVar("T")
log = logging.getLogger(__name__)


def create_app(backend: Backend) -> FastAPI:
    """The application over one backend."""
    app = FastAPI(title="Sealmarket backend", version="1", docs_url=None, redoc_url=None, redirect_slashes=False)
    _errors(app)
    _store(app, backend)
    _orders(app, backend)
    _parameters(app, backend)
    _catalogue(app, backend)
    _jobs(app, backend)
    _proposals(app, backend)

    @app.get("/healthz")
    def health() -> dict[str, Any]:
        return backend.health()

    @app.get("/v1/book")
    def book() -> Response:
        return _answer(backend.addresses)

    whole_page = _Recent(lambda: market_page(backend))

    @app.get("/", response_class=HTMLResponse)
    def page() -> HTMLResponse:
        return HTMLResponse(whole_page.get(), headers=_SECURITY)

    return app


def _errors(app: FastAPI) -> None:
    @app.exception_handler(SealmarketError)
    def refuse(_request: Request, error: SealmarketError) -> JSONResponse:
        status = error.status if isinstance(error, BackendError) else 422
        if not isinstance(error, (BackendError, MalformedDocument)):
            status = 503
        detail, remedy = (error.message, error.remedy) if status != 503 else UNREADABLE_CHAIN
        if status == 503:
            log.warning("a request is answered with 503: %s", error)
        problem = Problem(title=type(error).__name__, detail=detail[:4096], remedy=remedy[:4096])
        headers = {"Retry-After": str(error.retry_after)} if isinstance(error, TooMany) else None
        return JSONResponse(to_builtins(problem), status, headers, media_type="application/problem+json")

    def no_room(_request: Request, error: Exception) -> JSONResponse:
        remedy = "nothing was kept of it; try again when the operator has made room"
        problem = Problem(title="DiskFailed", detail=f"the disk takes no writes: {error}"[:4096], remedy=remedy)
        return JSONResponse(to_builtins(problem), status_code=507, media_type="application/problem+json")

    for kind in (OSError, sqlite3.OperationalError):
        app.add_exception_handler(kind, no_room)


def _store(app: FastAPI, backend: Backend) -> None:
    def routes(kind: Kind) -> None:
        @app.put(f"/v1/{kind}/{{name}}", status_code=201, name=f"put {kind}")
        async def put(name: str, request: Request) -> Response:
            wanted = Bytes32.parse(name)
            with backend.blobs.incoming(kind, peer_in(request.scope)) as incoming:
                async for piece in request.stream():
                    incoming.write(piece)
                    if kind is not Kind.CONTAINERS:  # these are hashed fast, and may be as large as the data
                        charge_write(request.scope, len(piece))
                await run_in_threadpool(backend.blobs.keep, incoming, wanted)
            return Response(status_code=201)

        @app.head(f"/v1/{kind}/{{name}}", name=f"has {kind}")
        @app.get(f"/v1/{kind}/{{name}}", name=f"get {kind}")
        def get(name: str) -> FileResponse:
            return FileResponse(backend.blobs.path(kind, Bytes32.parse(name)), media_type="application/octet-stream")

    for kind in Kind:
        routes(kind)
    _uploads(app, backend)


def _uploads(app: FastAPI, backend: Backend) -> None:
    """Containers that come in several requests (docs/spec/container.md, "Uploads that go on")."""
    route = "/v1/containers/{root}/upload"

    @app.get("/v1/containers/{root}/leaves")
    def get_leaves(root: str) -> FileResponse:
        return FileResponse(backend.blobs.leaves(Bytes32.parse(root)), media_type="application/octet-stream")

    @app.head(route)
    def get_offset(root: str, upload_token: Annotated[str, Header()]) -> Response:
        offset = backend.uploads.offset(Bytes32.parse(root), Bytes32.parse(upload_token))
        return Response(status_code=204, headers={OFFSET: str(offset)})

    @app.patch(route, status_code=204)
    async def add(
        root: str,
        request: Request,
        upload_token: Annotated[str, Header()],
        upload_offset: Annotated[int, Header(ge=0, le=MAX_OFFSET)],
    ) -> Response:
        names = Bytes32.parse(root), Bytes32.parse(upload_token)
        with backend.uploads.part(*names, upload_offset, peer_in(request.scope)) as incoming:
            async for piece in request.stream():
                incoming.write(piece)
        return Response(status_code=204)

    @app.put(route, status_code=201)
    async def finish(root: str, request: Request, upload_token: Annotated[str, Header()]) -> Response:
        names = Bytes32.parse(root), Bytes32.parse(upload_token)
        await run_in_threadpool(backend.uploads.finish, *names, peer_in(request.scope))
        return Response(status_code=201)


def _orders(app: FastAPI, backend: Backend) -> None:
    @app.post("/v1/requests", status_code=201)
    async def post_request(request: Request) -> Response:
        posted = await _body(PostedRequest, request, MAX_POSTED)
        key = await run_in_threadpool(backend.orders.add_request, posted, _now(), peer_in(request.scope))
        backend.wake()
        return _answer({"requestHash": str(key)}, 201)

    @app.get("/v1/requests/{request_hash}")
    def get_request(request_hash: str) -> Response:
        state = backend.orders.request_state(Bytes32.parse(request_hash))
        job = str(state.job_id) if state.job_id else None
        return _answer({"state": state.state, "explanation": list(state.explanation), "jobId": job})

    @app.post("/v1/compute-orders", status_code=201)
    async def post_compute_order(request: Request) -> Response:
        signed = await _body(SignedComputeOrder, request)
        key = await run_in_threadpool(backend.orders.add_compute_order, signed, _now(), peer_in(request.scope))
        backend.wake()
        return _answer({"orderHash": str(key)}, 201)

    @app.get("/v1/compute-orders")
    def get_compute_orders() -> Response:
        return _answer(backend.orders.open_compute_orders())

    @app.get("/v1/orders/{order_hash}")
    def get_order(order_hash: str) -> Response:
        state = backend.orders.order_state(Bytes32.parse(order_hash))
        return _answer({"state": state.state, "reason": state.reason})

    @app.post("/v1/asset-orders", status_code=201)
    async def post_asset_order(request: Request) -> Response:
        signed = await _body(SignedAssetOrder, request)
        key = await run_in_threadpool(backend.add_asset_order, signed, _now(), peer_in(request.scope))
        backend.wake()
        return _answer({"orderHash": str(key)}, 201)

    @app.get("/v1/asset-orders")
    def get_asset_orders(asset: str, version: Annotated[int, Query(ge=1, le=2**32 - 1)]) -> Response:
        return _answer(backend.orders.open_asset_orders(Bytes32.parse(asset), version))


def _parameters(app: FastAPI, backend: Backend) -> None:
    @app.post("/v1/parameters/{request_hash}", status_code=201)
    async def post_parameters(request_hash: str, request: Request) -> Response:
        parameters = await _body(Parameters, request, MAX_POSTED)
        peer = peer_in(request.scope)
        await run_in_threadpool(backend.add_parameters, Bytes32.parse(request_hash), parameters, peer)
        return Response(status_code=201)

    @app.get("/v1/parameters/{request_hash}")
    def get_parameters(request_hash: str) -> Response:
        return _answer(backend.orders.parameters(Bytes32.parse(request_hash)))


def _catalogue(app: FastAPI, backend: Backend) -> None:
    assets = _Recent(lambda: _answer([asset.as_json() for asset in backend.index.assets()]))

    @app.get("/v1/assets")
    def get_assets() -> Response:
        return assets.get()

    @app.get("/v1/catalogue")
    def get_catalogue(
        text: _Word = "",
        column: _Word = "",
        purpose: _Word = "",
        kind: _Word = "",
        owner: Annotated[str | None, Query()] = None,
        least: _Price = "0",
        most: _Price | None = None,
        before: Annotated[int | None, Query(ge=0, lt=2**62)] = None,
        limit: Annotated[int, Query(ge=1, le=MOST_ASSETS)] = 20,
    ) -> Response:
        query = AssetQuery(
            text=text,
            column=column,
            purpose=purpose,
            kind=kind,
            owner=Address.parse(owner) if owner else None,
            least=_price(least),
            most=None if most is None else _price(most),
            before=before,
            limit=limit,
        )
        return _answer(backend.catalogue.search(query))


def _price(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise MalformedDocument(f"expected an amount in the smallest unit, found {text[:40]!r}")
    return int(text)


def _jobs(app: FastAPI, backend: Backend) -> None:
    @app.get("/v1/jobs")
    def get_jobs(
        provider: Annotated[str | None, Query()] = None,
        consumer: Annotated[str | None, Query()] = None,
        status: Annotated[str | None, Query()] = None,
        before: Annotated[str | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=MOST_JOBS)] = MOST_JOBS,
    ) -> Response:
        views = backend.index.jobs(
            provider=Address.parse(provider) if provider else None,
            consumer=Address.parse(consumer) if consumer else None,
            status=_status(status) if status else None,
            before=Bytes32.parse(before) if before else None,
            limit=limit,
        )
        return _answer(views)

    @app.get("/v1/jobs/{job_id}")
    def get_job(job_id: str) -> Response:
        return _answer(backend.index.job(Bytes32.parse(job_id)))

    @app.post("/v1/evidence/{job_id}", status_code=201)
    async def post_evidence(job_id: str, request: Request) -> Response:
        envelope = await _body(EvidenceEnvelope, request, MAX_JSON)
        await run_in_threadpool(backend.add_evidence, Bytes32.parse(job_id), envelope, peer_in(request.scope))
        return Response(status_code=201)

    @app.get("/v1/evidence/{job_id}")
    def get_evidence(job_id: str) -> Response:
        # As it was kept: sixteen packages of megabytes are not decoded for each reader.
        documents = backend.evidence(Bytes32.parse(job_id))
        return Response(b"[" + b",".join(documents) + b"]", media_type="application/json")

    @app.post("/v1/results", status_code=201)
    async def post_result(request: Request) -> Response:
        posted = await _body(PostedResult, request)
        await run_in_threadpool(backend.add_result, posted, peer_in(request.scope))
        backend.wake()
        return Response(status_code=201)

    @app.get("/v1/results/{job_id}")
    def get_result(job_id: str) -> Response:
        return _answer(backend.result(Bytes32.parse(job_id)))

    @app.post("/v1/acknowledgements", status_code=201)
    async def post_acknowledgement(request: Request) -> Response:
        signed = await _body(SignedAcknowledgement, request)
        await run_in_threadpool(backend.add_acknowledgement, signed, peer_in(request.scope))
        backend.wake()
        return Response(status_code=201)


def _proposals(app: FastAPI, backend: Backend) -> None:
    @app.post("/v1/proposals", status_code=201)
    async def post_proposal(request: Request) -> Response:
        signed = await _body(SignedProposal, request, MAXIMUM_PROPOSAL)
        key = await run_in_threadpool(backend.add_proposal, signed, _now(), peer_in(request.scope))
        return _answer({"proposalHash": str(key)}, 201)

    @app.get("/v1/proposals")
    def get_proposals(owner: str, after: Annotated[int, Query(ge=0, le=1 << 20)] = 0) -> Response:
        return _answer(backend.proposals.page(Address.parse(owner), after, _now()))

    @app.get("/v1/proposals/{proposal_hash}")
    def get_proposal(proposal_hash: str) -> Response:
        return _answer(backend.proposals.proposal(Bytes32.parse(proposal_hash)))

    @app.get("/v1/proposals/{proposal_hash}/answers")
    def get_answers(proposal_hash: str) -> Response:
        return _answer(backend.proposals.answers(Bytes32.parse(proposal_hash)))

    @app.post("/v1/answers", status_code=201)
    async def post_answer(request: Request) -> Response:
        signed = await _body(SignedAnswer, request)
        await run_in_threadpool(backend.proposals.add_answer, signed, peer_in(request.scope))
        return Response(status_code=201)

    @app.get("/v1/answers")
    def get_answers_about(owner: str) -> Response:
        return _answer(backend.proposals.answers_about(Address.parse(owner)))


class _Recent(Generic[T]):
    """What takes long to make, and is made once in ``RECENT_SECONDS`` however many ask for it."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._made: tuple[float, T] | None = None

    def get(self) -> T:
        """The newest, made anew where it is old. Others who ask meanwhile wait for it."""
        with self._lock:
            if self._made is None or time.monotonic() > self._made[0] + RECENT_SECONDS:
                self._made = (time.monotonic(), self._make())
            return self._made[1]


async def _body(kind: type[T], request: Request, limit: int = MAX_SIGNED) -> T:
    """A document of a known shape from a request, bounded in size."""
    raw = bytearray()
    async for piece in request.stream():
        raw += piece
        if len(raw) > limit:
            raise TooLarge(f"a {kind.__name__} has at most {limit} bytes")
    charge_write(request.scope, len(raw))
    return await run_in_threadpool(decode, kind, bytes(raw))


def _answer(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(to_builtins(value)), status_code=status, media_type="application/json")


def _status(name: str) -> Status:
    try:
        return Status[name.upper()]
    except KeyError as error:
        names = ", ".join(status.name.lower() for status in Status)
        raise MalformedDocument(f"expected one of {names}, found {name[:40]!r}") from error


def _now() -> int:
    return int(time.time())
