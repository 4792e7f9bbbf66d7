"""Post oracle nodes' releases on chain, for jobs whose enclave reported that its shares are missing.

Nodes have no account on chain. They serve a release that they made to every caller, sealed to the enclave alone. Any
account can put it on chain while the window for that is open: the node's operator, who is paid one fee for it, a
keeper, an owner or the consumer. The provider then has the shares, whatever it says.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Protocol

from sealmarket.chain.calls import Call
from sealmarket.chain.contracts import MarketContract
from sealmarket.chain.errors import ChainUnavailable, Reverted, RpcRefused
from sealmarket.chain.events import ChainEvent, JobDecided, JobMatched, SharesReportedMissing
from sealmarket.chain.interface import ViewReader
from sealmarket.chain.model import Block, Enclave, Interruption
from sealmarket.protocol.book import AddressBook, Committee, Member
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.wire import NodeStatus
from sealmarket.service.connection import Connection
from sealmarket.service.errors import ServiceError
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.release import Release, release_hash
from sealmarket_enclave.protocol.signing import SignatureRefused, personal_digest, recover

log = logging.getLogger(__name__)

_SECONDS = 5.0
Ask = Callable[[Member, JobId], NodeStatus | None]
"""What a node says of a job; None where it does not answer."""


class PostingChain(Protocol):
    """What posting reads of a chain."""

    @property
    def book(self) -> AddressBook:
        """Where the market is."""

    def head(self) -> Block:
        """The newest block."""

    def at(self, block: Block) -> ViewReader:
        """The state at one block."""

    def events(self, first: int, last: int) -> list[ChainEvent]:
        """The events of the market in a range of blocks."""

    def about_job(self, job_id: Bytes32, last: Block) -> list[ChainEvent]:
        """All events of one job."""


class ReleasePoster:
    """Posts what nodes released. ``send`` sends one transaction and raises as ``Sender.send``."""

    def __init__(self, chain: PostingChain, send: Callable[[Call], object], ask: Ask) -> None:
        self._chain, self._send, self._ask = chain, send, ask
        self._market = MarketContract(chain.book.market, chain.book.chain_id)

    def reported(self, first: int, last: int) -> dict[JobId, int]:
        """The jobs whose shares were reported missing from block ``first`` to ``last``, and until when one may post.

        Raises:
            ChainError: the chain cannot be read.
        """
        found = (event for event in self._chain.events(first, last) if isinstance(event, SharesReportedMissing))
        return {event.job_id: event.shares_deadline for event in found}

    def post(self, job_id: JobId) -> int:
        """Post every release of a job that is not on chain yet. Returns how many were.

        Raises:
            ChainError: the chain cannot be read. What was not posted can be tried again.
        """
        job = self._accepted(job_id)
        if job is None:
            return 0
        spec, enclave = job
        view = self._chain.at(self._chain.head())
        interruption = view.interruption(spec.request_hash)
        if view.block.timestamp > interruption.shares_deadline:
            return 0
        committee = committee_of(self._chain.book, spec.epoch, job_id)
        if committee is None:
            return 0
        removed = view.removed_members(spec.epoch)
        count = 0
        for release in self._missing(job_id, enclave, committee, interruption, removed):
            call = self._market.post_release(spec, enclave, release, committee, removed=removed)
            count += self._sent(call, release)
        return count

    def _accepted(self, job_id: JobId) -> tuple[JobSpec, Enclave] | None:
        spec, enclave = None, None
        for event in self._chain.about_job(job_id, self._chain.head()):
            if isinstance(event, JobMatched):
                spec = event.spec
            if isinstance(event, JobDecided) and event.outcome is Outcome.ACCEPTED:
                core = event.core
                enclave = Enclave(core.evidence_hash, core.enclave_signer, core.enclave_key_hash)
        return (spec, enclave) if spec is not None and enclave is not None else None

    def _missing(
        self,
        job_id: JobId,
        enclave: Enclave,
        committee: Committee,
        interruption: Interruption,
        removed: frozenset[int],
    ) -> Iterable[Release]:
        for place, member in enumerate(committee.members):
            if place in interruption.posted | interruption.excluded | removed:
                continue
            status = self._ask(member, job_id)
            release = status.release if status is not None else None
            if release is not None and _is_of(release, job_id, enclave.evidence_hash, place, member):
                yield release

    def _sent(self, call: Call, release: Release) -> bool:
        try:
            self._send(call)
        except (Reverted, RpcRefused, ChainUnavailable) as error:
            log.warning("the release of node %d for job %s is not posted: %s", release.index, release.job_id, error)
            return False
        log.info("posted the release of node %d for job %s", release.index, release.job_id)
        return True


def committee_of(book: AddressBook, epoch: int, job_id: JobId) -> Committee | None:
    """The committee of a job's epoch; None, with a warning, where the address book is older than the epoch."""
    found = next((committee for committee in book.committees if committee.epoch == epoch), None)
    if found is None:
        log.warning("the address book has no epoch %d: update it, nothing is posted for job %s", epoch, job_id)
    return found


def _is_of(release: Release, job_id: JobId, evidence_hash: Bytes32, place: int, member: Member) -> bool:
    if (release.job_id, release.evidence_hash, release.index) != (job_id, evidence_hash, place):
        return False
    digest = personal_digest(release_hash(job_id, evidence_hash, place, release.shares))
    try:
        return recover(digest, release.signature) == member.signer
    except SignatureRefused:
        return False


def ask_node(member: Member, job_id: JobId) -> NodeStatus | None:
    """What a node says of a job, over HTTP and unchecked."""
    with closing(Connection(member.url, service="oracle node", timeout=_SECONDS)) as connection:
        try:
            return connection.read(f"/v1/jobs/{job_id}", NodeStatus, what="job")
        except ServiceError as error:
            log.warning("node %s does not answer for job %s: %s", member.url, job_id, error)
            return None
