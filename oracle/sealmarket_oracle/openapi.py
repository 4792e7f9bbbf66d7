"""The node's public HTTP interface as an OpenAPI 3.1 document, from the shapes that it reads and answers with.

It is served at ``/openapi.json``. A test holds it against the routes that there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

from sealmarket.protocol.members import SignedMember
from sealmarket.protocol.outlook import Forecasts
from sealmarket.protocol.problems import Problem
from sealmarket.protocol.renewals import RenewalRequest
from sealmarket.protocol.schema import json_schema
from sealmarket.protocol.wire import SEALED_HEADER, SIGNATURE_HEADER, ChallengeStatus, NodeInfo, NodeStatus
from sealmarket_enclave.protocol.codec import Shape
from sealmarket_enclave.protocol.session import SignedRenewal
from sealmarket_oracle.ear import EarKey
from sealmarket_oracle.log.entries import HeldTail, LogPart, TailStep
from sealmarket_oracle.recalls import PublishedAdvisories
from sealmarket_oracle.runner import Health

Answers = dict[int, tuple[str, type[Shape] | None]]
_HASH = {"type": "string", "pattern": "^0x[0-9a-f]{64}$"}
PROBLEM_TYPE = "application/problem+json"
_WORD = {"type": "string", "pattern": "^[0-9a-z]{1,32}$"}
_COUNT = {"type": "string", "pattern": "^[0-9]{1,15}$"}


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. ``answers``: by status, what it says and the shape of its body."""

    path: str
    method: str
    summary: str
    answers: Answers
    parameters: tuple[tuple[str, dict[str, str]], ...] = ()
    body: type[Shape] | None = None
    sealed: bool = False


_JOB = ("job_id", _HASH)


def _read(answers: Answers) -> Answers:
    """The answers of an operation whose request may not read."""
    return answers | {422: ("The request does not read.", Problem)}


OPERATIONS = (
    Operation("/v1/node", "get", "Who the node is.", {200: ("Its public facts.", NodeInfo)}),
    Operation(
        "/v1/member",
        "get",
        "The node's keys and URL for its epoch, under its signature: what a committee's owner takes.",
        {200: ("The member.", SignedMember), 404: ("An older release made the keys.", Problem)},
    ),
    Operation(
        "/v1/jobs/{job_id}",
        "get",
        "What the node decided and did about a job, from its journal.",
        _read({200: ("Its state, with what it signed.", NodeStatus)}),
        (_JOB,),
    ),
    Operation(
        "/v1/jobs/{job_id}/evidence/{evidence_hash}",
        "put",
        "Hand in the sealed evidence package of a job. For the job's provider alone.",
        _read(
            {
                204: ("It is held.", None),
                404: ("No final block has the quote yet: send it again.", Problem),
                409: ("The node does not wait for it, or another party sent it.", Problem),
            }
        ),
        (_JOB, ("evidence_hash", _HASH)),
        sealed=True,
    ),
    Operation(
        "/v1/jobs/{job_id}/challenge",
        "get",
        "What the node answers to a challenge of a job's result.",
        _read({200: ("Its answer, or why there is none.", ChallengeStatus)}),
        (_JOB,),
    ),
    Operation(
        "/v1/documents/{name}",
        "get",
        "The envelope of a challenged result that the node found.",
        _read({200: ("Its bytes.", None), 404: ("The node does not keep it.", Problem)}),
        (("name", _HASH),),
    ),
    Operation(
        "/v1/containers/{root}",
        "get",
        "The container of a challenged result that the node found.",
        _read({200: ("Its bytes.", None), 404: ("The node does not keep it.", Problem)}),
        (("root", _HASH),),
    ),
    Operation(
        "/v1/sessions/{job_id}/renewals",
        "post",
        "Renew a service. For its provider.",
        _read(
            {
                200: ("The node's renewal.", SignedRenewal),
                409: ("A rule does not hold, and which.", Problem),
                503: ("The chain cannot be read now.", Problem),
            }
        ),
        (_JOB,),
        body=RenewalRequest,
    ),
    Operation(
        "/v1/collateral/{tee}/{fmspc}/{ca}",
        "get",
        "The vendor's collateral of a kind of platform that the node keeps, as a collateral bundle. For other nodes.",
        _read({200: ("The bundle; empty where the node keeps none.", None)}),
        (("tee", _WORD), ("fmspc", _WORD), ("ca", _WORD)),
    ),
    Operation(
        "/v1/collateral/{tee}",
        "get",
        "The revocation lists that a TEE's vendor signs apart (AMD's), as a collateral bundle. For other nodes.",
        _read({200: ("The bundle; empty where the node keeps none.", None)}),
        (("tee", _WORD),),
    ),
    Operation(
        "/v1/jobs/{job_id}/ear",
        "get",
        "What the node decided on a job's evidence, as a signed attestation result (EAR).",
        _read({200: ("A token of the type application/eat+jwt.", None), 404: ("It has not decided.", Problem)}),
        (_JOB,),
    ),
    Operation(
        "/v1/ear-key",
        "get",
        "The key that signs the node's attestation results, under the node's signature.",
        {200: ("The key.", EarKey)},
    ),
    Operation(
        "/v1/outlook",
        "get",
        "The platforms that the node will refuse, and from when; by the jobs that they quoted for.",
        {200: ("All of them, the soonest first.", Forecasts)},
    ),
    Operation(
        "/v1/advisories",
        "get",
        "The statements about platforms that the node applies, and since when.",
        {200: ("All of them.", PublishedAdvisories)},
    ),
    Operation(
        "/v1/tails",
        "post",
        "Hold how far a peer's journal reaches. For the other members of the committee.",
        _read({200: ("What was held of it before.", HeldTail)}),
        body=TailStep,
    ),
    Operation(
        "/v1/log/{first}",
        "get",
        "The audit log from an entry on.",
        _read({200: ("Up to 500 entries, and the signed tail.", LogPart)}),
        (("first", _COUNT),),
    ),
    Operation(
        "/healthz",
        "get",
        "Whether the node decides.",
        {200: ("It does.", Health), 503: ("It does not, and why.", Health)},
    ),
    Operation("/openapi.json", "get", "This document.", {200: ("This document.", None)}),
)


@cache
def document() -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sealmarket key oracle node",
            "version": version("sealmarket-oracle"),
            "description": "docs/spec/oracle.md and docs/spec/oracle-operation.md state the rules.",
        },
        "paths": paths,
        "components": {"schemas": _components()},
    }


def _operation(operation: Operation) -> dict[str, Any]:
    made: dict[str, Any] = {
        "summary": operation.summary,
        "responses": {
            str(status): {"description": text} | ({"content": _json(kind)} if kind is not None else {})
            for status, (text, kind) in operation.answers.items()
        },
    }
    parameters = [_parameter("path", name, schema) for name, schema in operation.parameters]
    if operation.sealed:
        parameters.append(_parameter("header", SIGNATURE_HEADER, {"type": "string", "pattern": "^0x[0-9a-f]{130}$"}))
        parameters.append(_parameter("header", SEALED_HEADER, _HASH))
        binary = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        made["requestBody"] = {"required": True, "content": binary}
    if operation.body is not None:
        made["requestBody"] = {"required": True, "content": _json(operation.body)}
    return made | ({"parameters": parameters} if parameters else {})


def _parameter(place: str, name: str, schema: dict[str, str]) -> dict[str, Any]:
    return {"name": name, "in": place, "required": True, "schema": schema}


def _json(kind: type[Shape]) -> dict[str, Any]:
    media = PROBLEM_TYPE if kind is Problem else "application/json"
    return {media: {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}}


def _components() -> dict[str, Any]:
    kinds = {kind for one in OPERATIONS for _, kind in one.answers.values() if kind is not None}
    kinds |= {one.body for one in OPERATIONS if one.body is not None}
    parts: dict[str, Any] = {}
    for kind in sorted(kinds, key=lambda one: one.__name__):
        parts |= json_schema(kind)["$defs"]
    return {name: _moved(part) for name, part in sorted(parts.items())}


def _moved(part: Any) -> Any:
    """The same with references to OpenAPI's place of schemas."""
    if isinstance(part, dict):
        return {
            key: value.replace("#/$defs/", "#/components/schemas/") if key == "$ref" else _moved(value)
            for key, value in part.items()
        }
    return [_moved(one) for one in part] if isinstance(part, list) else part
