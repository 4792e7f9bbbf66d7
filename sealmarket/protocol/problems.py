"""The problems of every API (RFC 9457): their stable types, and the rule that each says was not kept.

A type is a URI reference, ``/v1/problems/NAME``, at which a backend says what it means. Types are never renamed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from sealmarket_enclave.protocol.codec import Shape

Text = Annotated[str, Meta(max_length=4096)]
LONGEST = 4096
PREFIX = "/v1/problems/"


class Problem(Shape, frozen=True, kw_only=True):
    """Every error of every API: what is wrong, and what to do.

    ``type`` is a URI reference that programs compare, ``title`` its words, ``status`` the HTTP status. ``detail`` is
    this case; ``rule`` says what holds for all, ``expected`` and ``found`` are empty where there are no two values.
    """

    type: Text = "about:blank"
    title: Text
    status: int = 0
    detail: Text
    rule: Text = ""
    expected: Text = ""
    found: Text = ""
    remedy: Text = ""


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One type of problem. ``rule`` is what holds for all of its cases."""

    status: int
    title: str
    rule: str


TYPES = {
    "malformed-document": ProblemType(422, "Malformed document", "a document and a name have their published shape"),
    "parameter-invalid": ProblemType(422, "Invalid parameter", "a parameter has the type and range of the OpenAPI"),
    "cursor-invalid": ProblemType(422, "Invalid cursor", "a cursor is one that this list gave, for the same query"),
    "not-found": ProblemType(404, "Not found", "something is stored under the name"),
    "no-route": ProblemType(404, "No such route", "a path is one of the OpenAPI document"),
    "method-not-allowed": ProblemType(405, "Method not allowed", "a method is one that the path has"),
    "rejected": ProblemType(422, "Rejected", "what is posted could count on chain, now or later"),
    "signature-refused": ProblemType(422, "Signature refused", "a statement is signed by the account that it names"),
    "quote-unseen": ProblemType(404, "Quote unseen", "a final block has the quote that evidence is handed in for"),
    "evidence-not-taken": ProblemType(409, "Evidence not taken", "a node takes what it waits for, from its provider"),
    "not-opened": ProblemType(400, "Not opened", "a request is sealed to the key of the enclave that it is sent to"),
    "renewal-refused": ProblemType(409, "Renewal refused", "a service is renewed while every rule of it holds"),
    "sign-in-needed": ProblemType(401, "Sign-in needed", "what is private to an account is read by that account"),
    "sign-in-refused": ProblemType(401, "Sign-in refused", "a sign-in is of this server, fresh, and signed"),
    "private": ProblemType(403, "Private", "what is private to an account is read by that account"),
    "offset-differs": ProblemType(409, "Other offset", "an upload goes on where its bytes end"),
    "key-in-use": ProblemType(409, "Idempotency key in use", "one request at a time goes under an idempotency key"),
    "key-reused": ProblemType(422, "Idempotency key reused", "an idempotency key belongs to one request"),
    "too-slow": ProblemType(408, "Too slow", "a body comes without long pauses"),
    "too-large": ProblemType(413, "Too large", "a body has at most the bytes of its kind"),
    "too-many": ProblemType(429, "Too many", "a peer has a bounded share of the server"),
    "internal": ProblemType(500, "Internal error", "a server answers what it foresaw"),
    "chain-unreadable": ProblemType(503, "Chain unreadable", "a server that checks the chain can read it"),
    "service-over": ProblemType(503, "Service over", "a service takes requests while its enclave and lease stand"),
    "signer-away": ProblemType(503, "Signer away", "what holds a node's signing key answers"),
    "storage-failed": ProblemType(503, "Storage failed", "the database answers, and takes what is written"),
    "deposed": ProblemType(503, "Deposed", "the process that answers is the one that leads"),
    "store-full": ProblemType(507, "Store full", "the store has room for what is put there"),
    "disk-failed": ProblemType(507, "Disk failed", "the disk takes what is written"),
}
"""By name."""


def problem(
    name: str, detail: str, remedy: str = "", *, rule: str = "", expected: object = "", found: object = ""
) -> Problem:
    """A problem of a type. ``rule`` says more than the type's own; long texts are cut."""
    kind = TYPES[name]
    return Problem(
        type=PREFIX + name,
        title=kind.title,
        status=kind.status,
        detail=detail[:LONGEST],
        rule=(rule or kind.rule)[:LONGEST],
        expected=str(expected)[:LONGEST],
        found=str(found)[:LONGEST],
        remedy=remedy[:LONGEST],
    )
