"""The HTTP interface of a node, read only: its identity, and what it did for a job. No request changes its state.

``GET /v1/node`` NodeInfo; ``GET /v1/jobs/{jobId}`` NodeStatus; ``GET /healthz`` Health (503 while it cannot decide).
Errors are :class:`Problem`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from sealmarket.protocol.wire import Problem
from sealmarket_enclave.protocol.codec import Bytes32, Shape
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.numbers import Grade, JobId
from sealmarket_oracle.runner import Runner
from sealmarket_oracle.service import Node

SIMULATED_HEADER = "Sealmarket-Simulated"


def create_app(node: Node, runner: Runner) -> FastAPI:
    """The HTTP interface of one node."""
    app = FastAPI(
        title="Sealmarket key oracle node", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )

    @app.get("/v1/node")
    def info() -> Response:
        return _json(node.info())

    @app.get("/v1/jobs/{job_id}")
    def job(job_id: str) -> Response:
        return _json(node.status(JobId(Bytes32.parse(job_id))))

    @app.get("/healthz")
    def health() -> Response:
        found = runner.health
        return _json(found, 200 if found.status == "ok" else 503)

    @app.exception_handler(MalformedDocument)
    def malformed(_request: Request, error: Exception) -> Response:
        return _json(Problem(title="malformed", detail=str(error), remedy="name a job by its 0x hex id"), 400)

    @app.exception_handler(HTTPException)
    def other(_request: Request, error: Exception) -> Response:
        code = error.status_code if isinstance(error, HTTPException) else 500
        return _json(Problem(title=f"HTTP {code}", detail="see docs/spec/oracle.md for what a node serves"), code)

    if node.info().grade_floor is Grade.SIMULATED:
        _say_simulated(app)
    return app


def _say_simulated(app: FastAPI) -> None:
    @app.middleware("http")
    async def header(request: Request, proceed: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await proceed(request)
        response.headers[SIMULATED_HEADER] = "this node accepts simulated evidence"
        return response


def _json(value: Shape, code: int = 200) -> Response:
    return Response(value.canonical(), status_code=code, media_type="application/json")
