"""Every refusal as a problem (RFC 9457), and what the types mean.

A stranger learns of an unreadable chain that it is so, and nothing else: such an error may name an endpoint, and that
a key. What nothing foresaw is answered with 500 and no text of its own; the log has it.
"""

from __future__ import annotations

import errno
import logging
from dataclasses import asdict

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from sealmarket.protocol.problems import PREFIX, TYPES, Problem, problem
from sealmarket.service.errors import ServiceError
from sealmarket_backend.api.answers import answer
from sealmarket_backend.api.documents import refuses
from sealmarket_backend.errors import BackendError, NotFound, StorageFailed
from sealmarket_backend.service import UNREADABLE_CHAIN
from sealmarket_enclave.protocol.codec import to_builtins
from sealmarket_enclave.protocol.errors import MalformedDocument, SealmarketError

UNAUTHORIZED = 401
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
MEDIA_TYPE = "application/problem+json"
log = logging.getLogger(__name__)
_NO_BUCKET = ("the bucket of the blobs does not answer just now", "try again later; the operator's log says why")


def handle_errors(app: FastAPI) -> None:
    """Answer every error of an application with a problem."""
    app.add_exception_handler(SealmarketError, _refuse)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unforeseen)
    app.add_exception_handler(OSError, _no_room)


def add_types(app: FastAPI) -> None:
    """What each type of problem means, at the address that it names."""

    @app.get(PREFIX.rstrip("/"), tags=["problems"], summary="All types of problems", responses=refuses())
    async def list_problem_types() -> Response:
        """Every type with its status, its title and the rule that was not kept."""
        return answer([{"type": PREFIX + name, **asdict(kind)} for name, kind in TYPES.items()])

    @app.get(PREFIX + "{name}", tags=["problems"], summary="One type of problem", responses=refuses())
    async def get_problem_type(name: str) -> Response:
        """What a problem of this type means."""
        if name not in TYPES:
            raise NotFound(f"no type of problem {name[:80]!r}", remedy=f"GET {PREFIX.rstrip('/')} lists them")
        return answer({"type": PREFIX + name, **asdict(TYPES[name])})


def answer_of(found: Problem, headers: dict[str, str] | None = None) -> JSONResponse:
    """A problem as an answer."""
    return JSONResponse(to_builtins(found), found.status, headers, media_type=MEDIA_TYPE)


def _refuse(_request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, BackendError):
        if isinstance(error, StorageFailed):
            log.error("the database fails: %s", error.detail)
        made = problem(
            error.type, error.message, error.remedy, rule=error.rule, expected=error.expected, found=error.found
        )
        wait = getattr(error, "retry_after", None)
        headers = {"Retry-After": str(wait)} if wait else {}
        if made.status == UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        return answer_of(made, headers)
    if isinstance(error, MalformedDocument):
        remedy = error.remedy or "correct it; GET /openapi.json says what each document holds"
        return answer_of(problem("malformed-document", error.message, remedy))
    log.warning("a request is answered with 503: %s", error)
    if isinstance(error, ServiceError):
        return answer_of(problem("storage-failed", *_NO_BUCKET, rule="the bucket of the blobs answers"))
    return answer_of(problem("chain-unreadable", *UNREADABLE_CHAIN))


def _invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    found = repr(first.get("input"))[:200]
    made = problem(
        "parameter-invalid",
        f"{where}: {first['msg']}",
        "correct it; GET /openapi.json says what each parameter takes",
        rule=f"{where} is as the OpenAPI document says",
        expected=first["msg"],
        found=found,
    )
    return answer_of(made)


def _http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    remedy = "GET /openapi.json lists the routes and their methods"
    if error.status_code == TYPES["method-not-allowed"].status:
        return answer_of(
            problem("method-not-allowed", "the path has no such method", remedy), dict(error.headers or {})
        )
    return answer_of(problem("no-route", "there is no such path", remedy))


def _unforeseen(_request: Request, _error: Exception) -> JSONResponse:
    remedy = "nothing is known of what was done: ask for it before you send it again; the operator's log says why"
    return answer_of(problem("internal", "the server failed as nothing foresaw", remedy))


def _no_room(request: Request, error: Exception) -> JSONResponse:
    """Of the errors of the system, those that say that the disk takes no writes."""
    if not isinstance(error, OSError) or error.errno not in _OF_THE_DISK:
        log.error("a request ends with what nothing foresaw", exc_info=error)
        return _unforeseen(request, error)
    log.error("the disk takes no writes: %s", error)
    why = error.strerror or "it failed"
    remedy = "nothing was kept of it; try again when the operator has made room"
    return answer_of(problem("disk-failed", f"the disk takes no writes: {why}", remedy))
