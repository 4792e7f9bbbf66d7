"""Post oracle nodes' releases on chain, for jobs whose enclave reported that its shares are missing.

Nodes have no account on chain. They serve a release that they made to every caller, sealed to the enclave alone. Any
account can put it on chain while the window for that is open: the node's operator, who is paid one fee for it, a
keeper, an owner or the consumer. The provider then has the shares, whatever it says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sealmarket.chain.calls import Call
from sealmarket.chain.events import JobDecided, JobMatched, SharesReportedMissing
from sealmarket.chain.model import Enclave, Interruption
from sealmarket.operate.poster import Poster, PostingChain, ask, committee_of
from sealmarket.protocol.book import Committee, Member
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.wire import NodeStatus
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.release import Release, read_release, release_hash
from sealmarket_enclave.protocol.signing import SignatureRefused, personal_digest, recover

Ask = Callable[[Member, JobId], NodeStatus | None]
"""What a node says of a job; None where it does not answer."""


class ReleasePoster(Poster):
    """Posts what nodes released."""

    def __init__(self, chain: PostingChain, send: Callable[[Call], object], ask: Ask) -> None:
        super().__init__(chain, send)
        self._ask = ask

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
            count += self._sent(call, f"the release of node {release.index} for job {job_id}")
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
            release = _read(status)
            if release is not None and _is_of(release, job_id, enclave.evidence_hash, place, member):
                yield release


def _read(status: NodeStatus | None) -> Release | None:
    """The release in a node's answer; None without one that reads."""
    if status is None or status.release is None:
        return None
    try:
        return read_release(status.release)
    except MalformedDocument:
        return None


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
    return ask(member, f"/v1/jobs/{job_id}", NodeStatus, "job")
