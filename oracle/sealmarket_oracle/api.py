"""The HTTP interface of a node: its identity, what it did for a job, and the evidence that a provider hands to it.

``GET /v1/node`` NodeInfo; ``GET /v1/jobs/{jobId}`` NodeStatus; ``GET /healthz`` Health (503 while it cannot decide).
``GET /v1/member`` SignedMember: the node as a committee's owner takes it.
``POST /v1/tails`` holds a peer's :class:`TailStep` and answers with the one before. ``GET /v1/log/{first}`` LogPart.
``GET /v1/jobs/{jobId}/challenge`` ChallengeStatus; ``GET /v1/documents/{hash}`` and ``/v1/containers/{root}`` the
sealed results that were challenged and that this node found, as a store serves them.
``GET /v1/collateral/{tee}/{fmspc}/{ca}`` what this node keeps of a kind of platform, as a collateral bundle, and
``GET /v1/collateral/{tee}`` the revocation lists that a vendor signs apart (AMD's).
``GET /v1/jobs/{jobId}/ear`` the decision as an EAR token, ``GET /v1/ear-key`` the key that signs it.
``GET /v1/outlook`` Forecasts: the platforms that this node will refuse, and from when.
``GET /v1/advisories`` the statements about platforms that this node applies.
``PUT /v1/jobs/{jobId}/evidence/{evidenceHash}`` takes the sealed package, as bytes.
``POST /v1/sessions/{jobId}/renewals`` RenewalRequest gives a SignedRenewal. No request changes what the node has
decided or promised. Errors are :class:`Problem` (RFC 9457).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse

from sealmarket.attestation.collateral.bundle import EMPTY_BUNDLE
from sealmarket.attestation.core.errors import CollateralError
from sealmarket.chain.errors import ChainError
from sealmarket.protocol.members import SignedMember
from sealmarket.protocol.outlook import Forecasts
from sealmarket.protocol.problems import TYPES, Problem, problem
from sealmarket.protocol.renewals import MOST_BYTES, RenewalRequest
from sealmarket.protocol.wire import SEALED_HEADER, SIGNATURE_HEADER
from sealmarket_enclave.protocol.codec import Bytes32, HexBytes, Shape, decode
from sealmarket_enclave.protocol.errors import MalformedDocument, SealmarketError
from sealmarket_enclave.protocol.numbers import Grade, JobId
from sealmarket_oracle.collateral import kind_named, tee_named
from sealmarket_oracle.ear import MEDIA_TYPE
from sealmarket_oracle.errors import (
    EvidenceNotTaken,
    JournalTaken,
    JournalUnwritable,
    QuoteUnseen,
    RenewalRefused,
    SignerFailed,
    StaleChain,
)
from sealmarket_oracle.log.entries import TailStep
from sealmarket_oracle.openapi import PROBLEM_TYPE, document
from sealmarket_oracle.recalls import PublishedAdvisories
from sealmarket_oracle.runner import Runner
from sealmarket_oracle.service import Node

SIMULATED_HEADER = "Sealmarket-Simulated"
RENEWALS_AT_ONCE = 16
"""Each waits for the chain in a thread, of which there are 40: what the journal alone answers needs some."""


def create_app(node: Node, runner: Runner, member: SignedMember | None = None) -> FastAPI:
    """The HTTP interface of one node. ``member``: what it says of its keys; None where an older release made them."""
    app = FastAPI(
        title="Sealmarket key oracle node", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )

    @app.get("/v1/node")
    def info() -> Response:
        return _json(node.info())

    @app.get("/v1/member")
    def signed_member() -> Response:
        return _json(member) if member is not None else _unsigned()

    @app.get("/v1/jobs/{job_id}")
    def job(job_id: str) -> Response:
        return _json(node.status(JobId(Bytes32.parse(job_id))))

    @app.put("/v1/jobs/{job_id}/evidence/{evidence_hash}")
    async def evidence(job_id: str, evidence_hash: str, request: Request) -> Response:
        job, signature = JobId(Bytes32.parse(job_id)), HexBytes.parse(request.headers.get(SIGNATURE_HEADER, ""))
        sealed_hash = Bytes32.parse(request.headers.get(SEALED_HEADER, ""))
        await run_in_threadpool(node.handed.expect, job, Bytes32.parse(evidence_hash), sealed_hash, signature)
        await run_in_threadpool(node.handed.take, job, sealed_hash, await request.body())
        return Response(status_code=204)

    @app.get("/healthz")
    def health() -> Response:
        found = runner.health
        return _json(found, 200 if found.status == "ok" else 503)

    _handle_errors(app)
    _add_log(app, node)
    _serve_challenges(app, node)
    _renew_services(app, node)
    _share_collateral(app, node)
    _publish_outlook(app, node)
    _publish_advisories(app, node)
    _serve_ears(app, node)
    if node.info().grade_floor is Grade.SIMULATED:
        _say_simulated(app)
    return app


def _add_log(app: FastAPI, node: Node) -> None:
    """What peers and auditors ask."""

    @app.post("/v1/tails")
    async def tail(request: Request) -> Response:
        step = decode(TailStep, await request.body())
        return _json(await run_in_threadpool(node.answers.take_tail, step))

    @app.get("/v1/log/{first}")
    def log(first: str) -> Response:
        return _json(node.answers.log_part(_count(first)))

    @app.get("/openapi.json")
    def openapi() -> dict[str, Any]:
        return document()


def _serve_challenges(app: FastAPI, node: Node) -> None:
    @app.get("/v1/jobs/{job_id}/challenge")
    def challenge(job_id: str) -> Response:
        return _json(node.challenge(JobId(Bytes32.parse(job_id))))

    @app.get("/v1/documents/{name}")
    def envelope(name: str) -> Response:
        found = node.results.document(Bytes32.parse(name)) if node.results is not None else None
        return _not_kept() if found is None else Response(found, media_type="application/octet-stream")

    @app.get("/v1/containers/{root}")
    def container(root: str) -> Response:
        found = node.results.container(Bytes32.parse(root)) if node.results is not None else None
        return _not_kept() if found is None else FileResponse(found, media_type="application/octet-stream")


def _share_collateral(app: FastAPI, node: Node) -> None:
    @app.get("/v1/collateral/{tee}/{fmspc}/{ca}")
    def collateral(tee: str, fmspc: str, ca: str) -> Response:
        try:
            kind = kind_named(tee, fmspc, ca)
        except CollateralError as error:
            raise MalformedDocument(error.message, remedy=error.remedy) from error
        found = node.collateral.share(kind) if node.collateral is not None else EMPTY_BUNDLE
        return Response(found, media_type="application/json")

    @app.get("/v1/collateral/{tee}")
    def lists(tee: str) -> Response:
        try:
            named = tee_named(tee)
        except CollateralError as error:
            raise MalformedDocument(error.message, remedy=error.remedy) from error
        found = node.collateral.share_lists(named) if node.collateral is not None else EMPTY_BUNDLE
        return Response(found, media_type="application/json")


def _publish_outlook(app: FastAPI, node: Node) -> None:
    @app.get("/v1/outlook")
    def outlook() -> Response:
        return _json(node.collateral.outlook() if node.collateral is not None else Forecasts())


def _publish_advisories(app: FastAPI, node: Node) -> None:
    @app.get("/v1/advisories")
    def advisories() -> Response:
        return _json(node.recalls.published() if node.recalls is not None else PublishedAdvisories())


def _serve_ears(app: FastAPI, node: Node) -> None:
    @app.get("/v1/jobs/{job_id}/ear")
    def ear(job_id: str) -> Response:
        job = JobId(Bytes32.parse(job_id))
        found = node.ears.token(job) if node.ears is not None else None
        return _undecided() if found is None else Response(found, media_type=MEDIA_TYPE)

    @app.get("/v1/ear-key")
    def key() -> Response:
        return _json(node.ears.key()) if node.ears is not None else _undecided()


def _renew_services(app: FastAPI, node: Node) -> None:
    turn = asyncio.Semaphore(RENEWALS_AT_ONCE)

    @app.post("/v1/sessions/{job_id}/renewals")
    async def renewal(job_id: str, request: Request) -> Response:
        job, body = JobId(Bytes32.parse(job_id)), await request.body()
        if len(body) > MOST_BYTES:
            raise MalformedDocument(f"a request for a renewal has at most {MOST_BYTES} bytes, found {len(body)}")
        asked = decode(RenewalRequest, body)
        async with turn:
            return _json(await run_in_threadpool(node.renewals.sign, job, asked))


def _handle_errors(app: FastAPI) -> None:
    """Answer every error with a problem (:mod:`sealmarket.protocol.problems`)."""
    for kind in (SealmarketError, HTTPException, Exception):
        app.add_exception_handler(kind, _refuse)


_REFUSALS: tuple[tuple[type[SealmarketError], str], ...] = (
    (MalformedDocument, "malformed-document"),
    (QuoteUnseen, "quote-unseen"),
    (EvidenceNotTaken, "evidence-not-taken"),
    (RenewalRefused, "renewal-refused"),
    (StaleChain, "chain-unreadable"),
    (ChainError, "chain-unreadable"),
    (SignerFailed, "signer-away"),
    (JournalUnwritable, "storage-failed"),
    (JournalTaken, "deposed"),
)
_OF_THE_OPERATOR = "the node's journal cannot be used just now; the operator's log says why"
"""Where the journal lies, and which process has it, is no stranger's business."""


def _refuse(_request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return _http(error)
    name = next((name for kind, name in _REFUSALS if isinstance(error, kind)), None)
    if name is None or not isinstance(error, SealmarketError):
        return _problem(problem("internal", "the node failed as nothing foresaw", "the operator's log says why"))
    remedy = error.remedy or "correct it; GET /openapi.json says what each path takes"
    if isinstance(error, JournalUnwritable | JournalTaken):
        return _problem(problem(name, _OF_THE_OPERATOR, "ask again later, or another node"))
    return _problem(problem(name, error.message, remedy))


def _http(error: HTTPException) -> Response:
    name = "method-not-allowed" if error.status_code == TYPES["method-not-allowed"].status else "no-route"
    found = problem(name, error.detail, "GET /openapi.json lists the paths and their methods")
    return _problem(found, dict(error.headers or {}))


def _say_simulated(app: FastAPI) -> None:
    @app.middleware("http")
    async def header(request: Request, proceed: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await proceed(request)
        response.headers[SIMULATED_HEADER] = "this node accepts simulated evidence"
        return response


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise MalformedDocument(f"expected a count in decimal digits, found {text[:40]!r}")
    return int(text)


def _not_kept() -> Response:
    detail, remedy = "this node keeps challenged results alone, for seven days", "ask the store, or another node"
    return _problem(problem("not-found", detail, remedy))


def _unsigned() -> Response:
    remedy = "make keys with this release: sealmarket oracle rotate"
    return _problem(problem("not-found", "an older release made this node's keys and signed no member", remedy))


def _undecided() -> Response:
    detail, remedy = "this node has not decided on that job", "ask again once GET /v1/jobs/{jobId} says decided"
    return _problem(problem("not-found", detail, remedy))


def _problem(found: Problem, headers: dict[str, str] | None = None) -> Response:
    return Response(found.canonical(), found.status, headers, media_type=PROBLEM_TYPE)


def _json(value: Shape, code: int = 200) -> Response:
    return Response(value.canonical(), status_code=code, media_type="application/json")
