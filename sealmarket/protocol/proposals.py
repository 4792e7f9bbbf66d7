"""A consumer proposes a workload to the owners of assets; each owner approves or declines it. Both by signature.

A proposal says who wants to run which workload over which versions, for which purpose and with which parameters. Its
detail (parameters, a note, samples of outputs) stands behind a hash; the workload's source behind its digest. So the
proposal's hash names every byte that an owner can inspect, and an answer names that hash.

An answer opens nothing. What runs is decided by the owner's policy and the list of allowed pairs on chain
(docs/spec/approval.md).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, Shape, Uint, canonical_json
from sealmarket_enclave.protocol.eip712 import TypedShape
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import MAX_ASSETS
from sealmarket_enclave.protocol.numbers import U32, AssetId, Timestamp

MAXIMUM_PROPOSAL = 512 << 10
"""Bytes of a signed proposal with its detail, as JSON."""
MOST_SAMPLES = 8
LONGEST_NOTE = 4096
LONGEST_LIFE = 90 * 86_400
"""Seconds for which a proposal may stay open."""


class ProposalRefused(SealmarketError):
    """A proposal or an answer does not hold."""


class ProposedAsset(TypedShape, frozen=True, kw_only=True):
    """One version of an asset that the workload would read."""

    EIP712: ClassVar[str] = "ProposedAsset(bytes32 assetId,uint32 version)"

    asset_id: AssetId
    version: U32


class Proposal(TypedShape, frozen=True, kw_only=True):
    """What a consumer signs. ``detail_hash`` is the Keccak-256 of the canonical :class:`ProposalDetail`."""

    EIP712: ClassVar[str] = (
        "Proposal(address consumer,bytes32 workloadDigest,uint32 purpose,bytes32 detailHash,uint64 expiry,uint256 salt,"
        "ProposedAsset[] assets)"
    )
    PARTS: ClassVar[tuple[type[TypedShape], ...]] = (ProposedAsset,)

    consumer: Address
    workload_digest: Bytes32
    purpose: U32
    detail_hash: Bytes32
    expiry: Timestamp
    salt: Uint
    assets: Annotated[tuple[ProposedAsset, ...], Meta(min_length=1, max_length=MAX_ASSETS)]


class SampleOutput(Shape, frozen=True, kw_only=True):
    """A file that the workload made of the consumer's own example data: the consumer's claim, not proven."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    content: HexBytes


class ProposalDetail(Shape, frozen=True, kw_only=True):
    """What owners read beside the source. ``note`` is the consumer's own text."""

    version: Literal["sealmarket/proposal-detail/1"] = "sealmarket/proposal-detail/1"
    parameters: dict[str, Any]
    note: Annotated[str, Meta(max_length=LONGEST_NOTE)] = ""
    samples: Annotated[tuple[SampleOutput, ...], Meta(max_length=MOST_SAMPLES)] = ()

    def hash(self) -> Bytes32:
        """Keccak-256 of the canonical document."""
        return keccak(self.canonical())


class SignedProposal(Shape, frozen=True, kw_only=True):
    """A proposal as it travels: in the store, or as a file."""

    proposal: Proposal
    detail: ProposalDetail
    signature: HexBytes


class ProposalAnswer(TypedShape, frozen=True, kw_only=True):
    """What an owner signs about one asset of a proposal.

    Digest and purpose repeat the proposal's: a wallet shows them.
    ``allowed_version`` is the version of the asset that allows the workload: the proposed one, or a later one that was
    published for it; 0 where it was declined. ``reason_hash`` is the Keccak-256 of the reason's UTF-8, ``signed_at``
    when, as the owner states, in seconds since 1970.
    """

    EIP712: ClassVar[str] = (
        "ProposalAnswer(bytes32 proposalHash,bytes32 assetId,uint32 version,bytes32 workloadDigest,uint32 purpose,"
        "bool approved,uint32 allowedVersion,bytes32 reasonHash,uint64 signedAt)"
    )

    proposal_hash: Bytes32
    asset_id: AssetId
    version: U32
    workload_digest: Bytes32
    purpose: U32
    approved: bool
    allowed_version: U32
    reason_hash: Bytes32
    signed_at: Timestamp


class SignedAnswer(Shape, frozen=True, kw_only=True):
    """An answer as it travels. ``reason`` is for people."""

    answer: ProposalAnswer
    reason: Annotated[str, Meta(max_length=LONGEST_NOTE)] = ""
    signature: HexBytes


def require_whole(signed: SignedProposal, now: int) -> Bytes32:
    """The hash of a proposal whose parts belong together and that is open at ``now``; the signature is for the caller.

    Raises:
        ProposalRefused: too long, another detail than was signed, an asset twice, no purpose, over, or open too long.
    """
    proposal = signed.proposal
    if (length := len(canonical_json(signed))) > MAXIMUM_PROPOSAL:
        raise ProposalRefused(f"a proposal has at most {MAXIMUM_PROPOSAL} bytes, found {length}", remedy=_SHORTER)
    if (found := signed.detail.hash()) != proposal.detail_hash:
        raise ProposalRefused(
            f"expected the detail {proposal.detail_hash}, found {found}", remedy="post what was signed"
        )
    if len({(one.asset_id, one.version) for one in proposal.assets}) != len(proposal.assets):
        raise ProposalRefused("a version is named twice", remedy="name each version once")
    if not proposal.purpose:
        raise ProposalRefused("the proposal names no purpose", remedy="name one: train, fine_tune, infer or query")
    if not now < proposal.expiry <= now + LONGEST_LIFE:
        raise ProposalRefused(
            f"the proposal ends at {proposal.expiry}, expected a second from {now + 1} to {now + LONGEST_LIFE}",
            remedy="sign a new one",
        )
    return proposal.struct_hash()


def require_answer(signed: SignedAnswer, proposal: Proposal) -> None:
    """Return if an answer is about this proposal, word for word; the signature is for the caller.

    Raises:
        ProposalRefused: another proposal, version, digest, purpose or reason.
    """
    answer = signed.answer
    expected: dict[str, object] = {
        "proposal_hash": proposal.struct_hash(),
        "workload_digest": proposal.workload_digest,
        "purpose": proposal.purpose,
        "reason_hash": keccak(signed.reason.encode()),
    }
    for name, value in expected.items():
        if (found := getattr(answer, name)) != value:
            raise ProposalRefused(f"the answer's {name} is {found}, expected {value}", remedy="sign what was inspected")
    if answer.approved != bool(answer.allowed_version):
        raise ProposalRefused(
            f"approved is {answer.approved}, with version {answer.allowed_version} as allowed",
            remedy="name the version that allows it, and 0 where it is declined",
        )
    if (answer.asset_id, answer.version) not in {(one.asset_id, one.version) for one in proposal.assets}:
        raise ProposalRefused(
            f"the proposal does not name version {answer.version} of asset {answer.asset_id}",
            remedy="answer for a version that it names",
        )


_SHORTER = "shorten the note, or send fewer or smaller samples"
