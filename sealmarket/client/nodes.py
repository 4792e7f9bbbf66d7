"""Asking oracle nodes what they decided, and believing only what they signed."""

from __future__ import annotations

from sealmarket.client.errors import StoreLied
from sealmarket.client.http import Http
from sealmarket.protocol.book import AddressBook, Committee
from sealmarket.protocol.errors import SealmarketError
from sealmarket.protocol.hashing import keccak
from sealmarket.protocol.numbers import JobId
from sealmarket.protocol.signing import require_signer
from sealmarket.protocol.wire import NodeStatus, SignedDecision

_TIMEOUT_SECONDS = 5.0


def node_status(url: str, job_id: JobId) -> NodeStatus:
    """What one node says of a job; unchecked. Raises :class:`ClientError`."""
    http = Http(url, timeout=_TIMEOUT_SECONDS)
    try:
        return http.read(f"/v1/jobs/{job_id}", NodeStatus, what="job")
    finally:
        http.close()


def check_decision(signed: SignedDecision, book: AddressBook, committee: Committee) -> None:
    """Hold a decision against its signer and its own detail.

    Raises:
        StoreLied: no such member, or another detail than the one that was signed.
        SignatureRefused: not that member's signature.
    """
    if signed.index >= len(committee.members):
        raise StoreLied("decision", f"of one of {len(committee.members)} members", f"member {signed.index}")
    digest = signed.decision.digest(book.chain_id, book.market)
    require_signer(digest, signed.signature, committee.members[signed.index].signer, "a decision")
    if (found := keccak(signed.detail.canonical())) != signed.decision.detail:
        raise StoreLied("decision detail", signed.decision.detail, found)


def signed_decisions(book: AddressBook, committee: Committee, job_id: JobId) -> tuple[SignedDecision, ...]:
    """The decisions that a committee's nodes serve for a job, each with a right signature.

    A node that is down, or whose answer does not hold, is left out: the others' words stand by themselves.
    """
    found = []
    for place, member in enumerate(committee.members):
        try:
            status = node_status(member.url, job_id)
            if status.decision is None or status.decision.index != place:
                continue
            check_decision(status.decision, book, committee)
        except SealmarketError:
            continue
        found.append(status.decision)
    return tuple(found)
