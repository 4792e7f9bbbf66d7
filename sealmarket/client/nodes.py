"""Asks oracle nodes what they decided, and uses only what they signed; hands them evidence."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any, Self, TypeVar

import httpx

from sealmarket.protocol.book import AddressBook, Committee, Member
from sealmarket.protocol.outlook import Forecasts
from sealmarket.protocol.signatures import require_signer
from sealmarket.protocol.wire import SEALED_HEADER, SIGNATURE_HEADER, ChallengeStatus, NodeStatus, SignedDecision
from sealmarket.sealing.evidence import SealedEvidence
from sealmarket.service.connection import Connection
from sealmarket.service.errors import ContentMismatch, ServiceError, ServiceRefused
from sealmarket_enclave.protocol.codec import Bytes32, HexBytes
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.hashing import keccak

log = logging.getLogger(__name__)
T = TypeVar("T")
S = TypeVar("S", NodeStatus, ChallengeStatus)

NODE = "oracle node"
"""How errors name the service."""
_TIMEOUT_SECONDS = 5.0
POLL_PATIENCE_SECONDS = 1.0
"""For callers that ask again and again: how long one call waits."""
_AT_ONCE, _MOST_ASKED = 4, 64
_SLOW_SECONDS = 30.0
"""How long no caller waits for a node that kept one waiting."""


class Nodes:
    """Nodes by their URLs in the address book, each asked by threads of its own.

    A caller waits for at most ``patience`` seconds, and not at all for a node that was slow of late: its answer is
    there at a later call. So a node that answers slowly costs a caller its patience once in a while, and no more.
    """

    def __init__(
        self,
        *,
        timeout: float = _TIMEOUT_SECONDS,
        patience: float | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._timeout, self._patience = timeout, timeout + 1 if patience is None else patience
        self._transport = transport
        self._nodes: dict[str, _Node] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def statuses(self, members: Sequence[Member], job_id: Bytes32) -> list[NodeStatus | None]:
        """What each member says of a job, in their order and unchecked; None from one that did not answer properly."""
        return self._each(members, job_id, lambda node: node.status(job_id))

    def challenges(self, members: Sequence[Member], job_id: Bytes32) -> list[ChallengeStatus | None]:
        """What each member says of a job's challenge; as :meth:`statuses`."""
        return self._each(members, ("challenge", job_id), lambda node: node.challenge(job_id))

    def outlooks(self, members: Sequence[Member]) -> list[Forecasts | None]:
        """Which platforms each member will refuse, and from when; as :meth:`statuses`."""
        return self._each(members, "outlook", lambda node: node.outlook())

    def _each(self, members: Sequence[Member], subject: Hashable, ask: Callable[[_Node], T | None]) -> list[T | None]:
        nodes = [self._node(member.url) for member in members]
        asked = [node.begin(subject, partial(ask, node)) for node in nodes]
        wait([one for node, one in zip(nodes, asked, strict=True) if one and not node.is_slow()], self._patience)
        return [node.take(subject, one) if one else None for node, one in zip(nodes, asked, strict=True)]

    def hand_in(self, member: Member, sealed: SealedEvidence) -> bool:
        """Hand a member a package. True once it has that, or refuses it for good.

        It is not waited for: call again until it is true.
        """
        node, subject = self._node(member.url), ("evidence", sealed.job_id)
        hand_in: Callable[[], bool] = partial(node.hand_in, sealed)
        begun = node.begin(subject, hand_in)
        return begun is not None and begun.done() and node.take(subject, begun) is True

    def close(self) -> None:
        """Close the connections."""
        for node in self._nodes.values():
            node.close()

    def _node(self, url: str) -> _Node:
        with self._lock:
            if url not in self._nodes:
                connection = Connection(url, service=NODE, timeout=self._timeout, transport=self._transport)
                self._nodes[url] = _Node(connection, self._patience)
            return self._nodes[url]


class _Node:
    """One node: the questions that it was asked, and whether it is worth waiting for."""

    def __init__(self, connection: Connection, patience: float) -> None:
        self._connection, self._patience = connection, patience
        self._pool = ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="node")
        self._asked: dict[Hashable, Future[Any]] = {}
        self._slow_until = 0.0
        self._lock = threading.Lock()

    def begin(self, subject: Hashable, ask: Callable[[], T]) -> Future[T] | None:
        """The question about a subject, which may be under way already; None while there are too many."""
        with self._lock:
            if subject not in self._asked:
                if len(self._asked) >= _MOST_ASKED:
                    self._asked = {one: asked for one, asked in self._asked.items() if not asked.done()}
                if len(self._asked) >= _MOST_ASKED:
                    return None
                self._asked[subject] = self._pool.submit(ask)
            return self._asked[subject]

    def take(self, subject: Hashable, asked: Future[T]) -> T | None:
        """The answer to a question, if it is there."""
        if not asked.done():
            self._slow_until = time.monotonic() + _SLOW_SECONDS
            return None
        with self._lock:
            if self._asked.get(subject) is asked:
                del self._asked[subject]
        return None if asked.cancelled() else asked.result()

    def is_slow(self) -> bool:
        """Whether it kept a caller waiting of late."""
        return time.monotonic() < self._slow_until

    def close(self) -> None:
        """Close the connection; questions under way end with their deadline."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._connection.close()

    def hand_in(self, sealed: SealedEvidence) -> bool:
        """Whether the node has the package now, or will never take it."""
        path = f"/v1/jobs/{sealed.job_id}/evidence/{sealed.evidence_hash}"
        try:
            signed = {SIGNATURE_HEADER: str(HexBytes(sealed.signature)), SEALED_HEADER: str(sealed.sealed_hash)}
            self._connection.send("PUT", path, sealed.raw, what="evidence", headers=signed)
        except ServiceRefused as error:
            log.info("node %s does not take the evidence of job %s: %s", self._connection.base, sealed.job_id, error)
        except ServiceError:
            return False
        return True

    def status(self, job_id: Bytes32) -> NodeStatus | None:
        """What the node says of a job; None if it does not answer properly."""
        return self._said(job_id, lambda: _status(self._connection, job_id))

    def challenge(self, job_id: Bytes32) -> ChallengeStatus | None:
        """What the node says of a job's challenge; None if it does not answer properly."""
        path = f"/v1/jobs/{job_id}/challenge"
        return self._said(job_id, lambda: self._connection.read(path, ChallengeStatus, what="challenge"))

    def outlook(self) -> Forecasts | None:
        """Which platforms the node will refuse; None if it does not answer properly."""
        return self._answered("outlook", lambda: self._connection.read("/v1/outlook", Forecasts, what="outlook"))

    def _said(self, job_id: Bytes32, read: Callable[[], S]) -> S | None:
        status = self._answered(f"job {job_id}", read)
        return status if status is not None and status.job_id == job_id else None

    def _answered(self, subject: str, read: Callable[[], T]) -> T | None:
        began = time.monotonic()
        try:
            answer = read()
        except ServiceError as error:
            log.info("node %s does not answer for %s: %s", self._connection.base, subject, error)
            return None
        except Exception:
            log.exception("node %s answers for %s what nothing foresaw", self._connection.base, subject)
            return None
        if time.monotonic() - began < self._patience:
            self._slow_until = 0.0
        return answer


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
