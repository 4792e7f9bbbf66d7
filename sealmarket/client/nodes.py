"""Asks oracle nodes what they decided, and uses only what they signed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import httpx

from sealmarket.protocol.book import AddressBook, Committee, Member
from sealmarket.protocol.signatures import require_signer
from sealmarket.protocol.wire import NodeStatus, SignedDecision
from sealmarket.service.connection import Connection
from sealmarket.service.errors import ContentMismatch, ServiceError
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.hashing import keccak

log = logging.getLogger(__name__)

NODE = "oracle node"
"""How errors name the service."""
_TIMEOUT_SECONDS = 5.0
_AT_ONCE = 16


class Nodes:
    """Nodes by their URLs in the address book. They are asked side by side, so a silent one does not delay others."""

    def __init__(self, *, timeout: float = _TIMEOUT_SECONDS, transport: httpx.BaseTransport | None = None) -> None:
        self._timeout = timeout
        self._transport = transport
        self._connections: dict[str, Connection] = {}
        self._pool = ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="nodes")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def statuses(self, members: Sequence[Member], job_id: Bytes32) -> list[NodeStatus | None]:
        """What each member says of a job, in their order and unchecked; None from one that did not answer properly."""
        for member in members:
            if member.url not in self._connections:
                self._connections[member.url] = Connection(
                    member.url, service=NODE, timeout=self._timeout, transport=self._transport
                )
        return list(self._pool.map(lambda member: self._ask(member.url, job_id), members))

    def close(self) -> None:
        """Close the connections."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for connection in self._connections.values():
            connection.close()

    def _ask(self, url: str, job_id: Bytes32) -> NodeStatus | None:
        try:
            status = _status(self._connections[url], job_id)
        except ServiceError as error:
            log.info("node %s does not answer for job %s: %s", url, job_id, error)
            return None
        return status if status.job_id == job_id else None


def node_status(url: str, job_id: Bytes32) -> NodeStatus:
    """What one node says of a job; unchecked. Raises :class:`ServiceError`."""
    connection = Connection(url, service=NODE, timeout=_TIMEOUT_SECONDS)
    try:
        return _status(connection, job_id)
    finally:
        connection.close()


def _status(connection: Connection, job_id: Bytes32) -> NodeStatus:
    return connection.read(f"/v1/jobs/{job_id}", NodeStatus, what="job")


def check_decision(signed: SignedDecision, book: AddressBook, committee: Committee) -> None:
    """Hold a decision against its signer and its own detail.

    Raises:
        ContentMismatch: no such member, or another detail than the one that was signed.
        SignatureRefused: not that member's signature.
    """
    if signed.index >= len(committee.members):
        raise ContentMismatch(NODE, "decision", f"of one of {len(committee.members)} members", f"member {signed.index}")
    digest = signed.decision.digest(book.chain_id, book.market)
    require_signer(digest, signed.signature, committee.members[signed.index].signer, "a decision")
    if (found := keccak(signed.detail.canonical())) != signed.decision.detail:
        raise ContentMismatch(NODE, "decision detail", signed.decision.detail, found)


def signed_decisions(
    book: AddressBook, committee: Committee, statuses: Iterable[NodeStatus | None]
) -> tuple[SignedDecision, ...]:
    """The decisions in a committee's answers, in its members' order, each with a right signature.

    An answer that does not hold is left out; the others count without it.
    """
    found = []
    for index, status in enumerate(statuses):
        if status is None or status.decision is None or status.decision.index != index:
            continue
        try:
            check_decision(status.decision, book, committee)
        except SealmarketError as error:
            log.warning("node %d's decision does not hold: %s", index, error)
            continue
        found.append(status.decision)
    return tuple(found)
