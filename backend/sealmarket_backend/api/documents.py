"""The OpenAPI document: what each route reads and answers, as the shapes of the protocol say it.

Bodies are read by the protocol's own readers, which refuse what JSON Schema cannot say; the document names their
schemas and gives each field's meaning and unit.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query
from fastapi.openapi.utils import get_openapi

from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.market import (
    LONGEST_CURSOR,
    Accepted,
    AcceptedOrder,
    AcceptedProposal,
    AcceptedRequest,
    AnswerPage,
    AssetOrderPage,
    AssetPage,
    ComputeOrderPage,
    JobPage,
    OrderState,
    ProposalPage,
    Readiness,
    RequestState,
    ServicePage,
    TimesTaken,
    Warnings,
)
from sealmarket.protocol.problems import Problem
from sealmarket.protocol.proposals import SignedAnswer, SignedProposal
from sealmarket.protocol.schema import openapi_schemas
from sealmarket.protocol.services import SignedServiceAddress
from sealmarket.protocol.sign_in import Nonce, Session, SignedMessage
from sealmarket.protocol.wire import (
    JobView,
    PostedRequest,
    PostedResult,
    SignedAcknowledgement,
    SignedAssetOrder,
    SignedComputeOrder,
)
from sealmarket_backend.api.idempotency import HEADER, LONGEST
from sealmarket_backend.api.meanings import add_meanings
from sealmarket_enclave.protocol.job import Parameters

SHAPES = (
    Accepted, AcceptedOrder, AcceptedProposal, AcceptedRequest, AddressBook, AnswerPage, AssetOrderPage, AssetPage,
    ComputeOrderPage, JobPage, JobView, Nonce, OrderState, Parameters, PostedRequest, PostedResult,
    Problem, ProposalPage, Readiness, RequestState, ServicePage, Session, SignedAcknowledgement, SignedAnswer,
    SignedAssetOrder, SignedComputeOrder, SignedMessage, SignedProposal, SignedServiceAddress, TimesTaken, Warnings,
)  # fmt: skip
Tags = list[str | Enum]
Responses = dict[int | str, dict[str, Any]]
Hash = Annotated[str, Path(pattern="^0x[0-9a-f]{64}$", description="32 bytes in lower-case hex.")]
QueryHash = Annotated[str, Query(pattern="^0x[0-9a-f]{64}$", description="32 bytes in lower-case hex.")]
Account = Annotated[str, Query(pattern="^0x[0-9a-f]{40}$", description="An account, in lower-case hex.")]
PageCursor = Annotated[
    str | None, Query(max_length=LONGEST_CURSOR, description="`next` of the page before; without it, the first page.")
]
_IDEMPOTENCY = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "Drawn by the client for one POST: the same key and body give the same answer for a day.",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": "^[!-~]+$"},
}


def reads(kind: type) -> dict[str, Any]:
    """The body of a POST: a document of a shape, under an idempotency key."""
    return {**reads_document(kind), "parameters": [_IDEMPOTENCY]}


def reads_document(kind: type) -> dict[str, Any]:
    """A body: a document of a shape."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": _ref(kind)}}}}


def reads_bytes(what: str) -> dict[str, Any]:
    """A body of bytes."""
    schema = {"type": "string", "format": "binary", "description": what}
    return {"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": schema}}}}


def gives(kind: type | None, status: int = 200, *, many: bool = False) -> Responses:
    """An answer: a document of a shape (``many``: a list of them), bytes for None; and problems for all others."""
    if kind is None:
        content: dict[str, Any] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    else:
        schema = {"type": "array", "items": _ref(kind)} if many else _ref(kind)
        content = {"application/json": {"schema": schema}}
    return {status: {"description": "done", "content": content}, **refuses()}


def refuses() -> Responses:
    """Problems for all that is not done."""
    return {"default": {"description": "a problem", "content": {"application/problem+json": {"schema": _ref(Problem)}}}}


def document(app: FastAPI) -> None:
    """Let an application describe itself with the protocol's shapes."""

    def made() -> dict[str, Any]:
        if not app.openapi_schema:
            whole = get_openapi(title=app.title, version=app.version, routes=app.routes, description=app.description)
            schemas = openapi_schemas(*SHAPES)
            add_meanings(schemas)
            whole.setdefault("components", {})["schemas"] = schemas
            app.openapi_schema = whole
        return app.openapi_schema

    app.openapi = made  # type: ignore[method-assign]


def _ref(kind: type) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}
