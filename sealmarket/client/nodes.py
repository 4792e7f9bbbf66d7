"""Asking oracle nodes what they decided, and believing only what they signed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import httpx

from sealmarket.client.errors import ClientError, StoreLied
from sealmarket.client.http import Http
from sealmarket.protocol.book import AddressBook, Committee, Member
from sealmarket.protocol.signatures import require_signer
from sealmarket.protocol.wire import NodeStatus, SignedDecision
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.hashing import keccak

log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 5.0
_AT_ONCE = 16


class Nodes:
    """Nodes by their URLs in the address book. They are asked side by side; one that is silent holds up nobody."""

    def __init__(self, *, timeout: float = _TIMEOUT_SECONDS, transport: httpx.BaseTransport | None = None) -> None:
        self._timeout = timeout
        self._transport = transport
        self._https: dict[str, Http] = {}
        self._pool = ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="nodes")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def statuses(self, members: Sequence[Member], job_id: Bytes32) -> list[NodeStatus | None]:
        """What each member says of a job, in their order and unchecked; None from one that did not answer properly."""
        for member in members:
            if member.url not in self._https:
                self._https[member.url] = Http(member.url, timeout=self._timeout, transport=self._transport)
        return list(self._pool.map(lambda member: self._ask(member.url, job_id), members))

    def close(self) -> None:
        """Give the connections back."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for http in self._https.values():
            http.close()

    def _ask(self, url: str, job_id: Bytes32) -> NodeStatus | None:
        try:
            status = _status(self._https[url], job_id)
        except ClientError as error:
            log.info("node %s does not answer for job %s: %s", url, job_id, error)
            return None
        return status if status.job_id == job_id else None


def node_status(url: str, job_id: Bytes32) -> NodeStatus:
    """What one node says of a job; unchecked. Raises :class:`ClientError`."""
    http = Http(url, timeout=_TIMEOUT_SECONDS)
    try:
        return _status(http, job_id)
    finally:
        http.close()


def _status(http: Http, job_id: Bytes32) -> NodeStatus:
    return http.read(f"/v1/jobs/{job_id}", NodeStatus, what="job")


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


def signed_decisions(
    book: AddressBook, committee: Committee, statuses: Iterable[NodeStatus | None]
) -> tuple[SignedDecision, ...]:
    """The decisions in a committee's answers, in its members' order, each with a right signature.

    An answer that does not hold is left out: the others' words stand by themselves.
    """
    found = []
    for place, status in enumerate(statuses):
        if status is None or status.decision is None or status.decision.index != place:
            continue
        try:
            check_decision(status.decision, book, committee)
        except SealmarketError as error:
            log.warning("node %d's decision does not hold: %s", place, error)
            continue
        found.append(status.decision)
    return tuple(found)
