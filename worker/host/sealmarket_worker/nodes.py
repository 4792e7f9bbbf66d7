"""What the host asks of oracle nodes: :class:`sealmarket.client.nodes.Nodes` over HTTP, or a twin in tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from typing import Protocol

from sealmarket.chain.events import ReleasePosted
from sealmarket.protocol.book import AddressBook, Committee, Member
from sealmarket.protocol.wire import NodeStatus, SignedStop
from sealmarket.sealing.evidence import SealedEvidence
from sealmarket_enclave.protocol.codec import Bytes32, HexBytes
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.release import Release, ReleasedShare
from sealmarket_enclave.protocol.signing import SignatureRefused, recover

_S_BITS = (1 << 255) - 1


class Nodes(Protocol):
    """The nodes of a committee."""

    def statuses(self, members: Sequence[Member], job_id: JobId) -> list[NodeStatus | None]:
        """What each says of a job, in their order; None from one that did not answer properly."""

    def hand_in(self, member: Member, sealed: SealedEvidence) -> bool:
        """Give a member the sealed evidence, without waiting. True once it has that, or refuses it for good."""


def releases_of(statuses: Iterable[NodeStatus | None]) -> list[bytes]:
    """The releases among them, as their nodes wrote them down; the enclave checks them."""
    return [bytes(status.release) for status in statuses if status is not None and status.release is not None]


def posted_release(event: ReleasePosted, spec: JobSpec, evidence_hash: Bytes32) -> Release:
    """A release that was posted on chain, as its node signed it."""
    vs = int.from_bytes(event.vs)
    signature = HexBytes(bytes(event.r) + (vs & _S_BITS).to_bytes(32) + bytes([27 + (vs >> 255)]))
    sealed = zip(spec.assets, event.sealed, strict=True)
    return Release(
        job_id=event.job_id,
        evidence_hash=evidence_hash,
        index=event.index,
        shares=tuple(ReleasedShare(asset_id=use.asset_id, sealed=message) for use, message in sealed),
        signature=signature,
    )


def stops_of(
    promised: Iterable[SignedStop],
    committee: Committee,
    removed: Set[int],
    book: AddressBook,
    job_id: JobId,
    evidence: Bytes32,
) -> tuple[SignedStop, ...]:
    """Promises never to release that end the job together; none while there are too few that say the same.

    Those of ``removed`` members, by their places, count for nothing: the market does not take them.
    """
    promises: dict[int, dict[int, SignedStop]] = {}
    for signed in (one for one in promised if one.index not in removed):
        about_this = (signed.stop.job_id, signed.stop.evidence_hash) == (job_id, evidence)
        if about_this and signed.stop.epoch == committee.epoch and _by_member(signed, committee, book):
            promises.setdefault(int(signed.stop.reasons), {})[int(signed.index)] = signed
    enough = (found for found in promises.values() if len(found) >= committee.refusal_threshold)
    return tuple(next(enough, {}).values())


def _by_member(signed: SignedStop, committee: Committee, book: AddressBook) -> bool:
    if signed.index >= len(committee.members):
        return False
    try:
        signer = recover(signed.stop.digest(book.chain_id, book.market), signed.signature)
    except SignatureRefused:
        return False
    return signer == committee.members[signed.index].signer
