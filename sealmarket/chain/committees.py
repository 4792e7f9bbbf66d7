"""A committee and what its members sign, in the form in which the contracts take it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeVar

from sealmarket.chain.errors import AbiMismatch
from sealmarket.protocol.book import Committee
from sealmarket.protocol.decisions import Decision
from sealmarket.protocol.wire import SignedDecision, SignedStop
from sealmarket_enclave.protocol.codec import Address, Bytes32, Uint
from sealmarket_enclave.protocol.hashing import keccak, words
from sealmarket_enclave.protocol.release import Release, sent_by, sent_hash

NONE_REMOVED: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Members:
    """The opening of a committee's hash."""

    signers: tuple[Address, ...]
    keys_digest: Bytes32
    removed: int


@dataclass(frozen=True, slots=True)
class NodeSignature:
    """A member by its place, the hash of its own detail, and its signature in compact form."""

    index: int
    detail: Bytes32
    r: Bytes32
    vs: Bytes32


@dataclass(frozen=True, slots=True)
class _Evidence:
    decision: Decision
    r: Bytes32
    vs: Bytes32


@dataclass(frozen=True, slots=True)
class _Promise:
    job_id: Bytes32
    evidence_hash: Bytes32
    reasons: Uint
    r: Bytes32
    vs: Bytes32


@dataclass(frozen=True, slots=True)
class _Release:
    sent_hash: Bytes32
    r: Bytes32
    vs: Bytes32


def hpke_key_hash(public_key: bytes) -> Bytes32:
    """How the committee contract names a member's HPKE key."""
    return keccak(public_key)


def members_of(committee: Committee, removed: frozenset[int] = NONE_REMOVED) -> Members:
    """The list of a committee's members as the contracts take it. ``removed``: places, as the chain has them."""
    signers = tuple(member.signer for member in committee.members)
    hashes = (hpke_key_hash(member.hpke_public_key) for member in committee.members)
    return Members(signers, keccak(b"".join(hashes)), sum(1 << place for place in removed))


@lru_cache(maxsize=64)
def members_hash(committee: Committee, removed: frozenset[int] = NONE_REMOVED) -> Bytes32:
    """What the chain stores of a committee, with :meth:`View.removed_members`: compare with its ``committee_hash``."""
    members = members_of(committee, removed)
    offset = 3 * 32  # of the signers, behind the three words that abi.encode puts first
    return keccak(words(offset, members.keys_digest, members.removed, len(members.signers), *members.signers))


def compact(signature: bytes) -> tuple[Bytes32, Bytes32]:
    """A 65-byte signature as ``r, vs`` (EIP-2098). Raises :class:`AbiMismatch` for another form."""
    if len(signature) != 65 or signature[64] not in (27, 28):
        raise AbiMismatch("signature", f"expected 65 bytes with v 27 or 28, found {len(signature)} bytes")
    s = int.from_bytes(signature[32:64]) | (signature[64] - 27) << 255
    return Bytes32(signature[:32]), Bytes32(s.to_bytes(32))


def node_signature(index: int, detail: Bytes32, signature: bytes) -> NodeSignature:
    """A member's signature as the contracts take it. Raises :class:`AbiMismatch` as :func:`compact`."""
    r, vs = compact(signature)
    return NodeSignature(index, detail, r, vs)


def evidence_of(signed: SignedDecision) -> _Evidence:
    """A decision, as evidence that its member contradicted itself."""
    return _Evidence(signed.decision, *compact(signed.signature))


def promise_of(signed: SignedStop) -> _Promise:
    """A promise never to release, as evidence that it was broken."""
    stop = signed.stop
    return _Promise(stop.job_id, stop.evidence_hash, stop.reasons, *compact(signed.signature))


def release_of(release: Release) -> _Release:
    """A release, as evidence that a promise was broken."""
    return _Release(sent_hash(sent_by(release.shares)), *compact(release.signature))


class _Placed(Protocol):
    @property
    def index(self) -> int: ...


_T = TypeVar("_T", bound=_Placed)


def first_by_place(signed: Sequence[_T], removed: frozenset[int], needed: int) -> list[_T]:
    """The first signatures by place, one of each member that was not removed."""
    by_place = {one.index: one for one in signed if one.index not in removed}
    return [one for _, one in sorted(by_place.items())][:needed]


def core_of(decision: Decision) -> tuple[object, ...]:
    """Everything that honest nodes sign alike: all but ``detail``."""
    return tuple(getattr(decision, name) for name in decision.__struct_fields__ if name != "detail")


def common_core(decisions: Sequence[SignedDecision]) -> Decision:
    """One decision of a quorum that shares its core. Raises :class:`AbiMismatch` where the cores differ."""
    cores = {core_of(signed.decision) for signed in decisions}
    if len(cores) != 1:
        raise AbiMismatch("Market.decide", f"the decisions have {len(cores)} cores, expected one")
    return decisions[0].decision
