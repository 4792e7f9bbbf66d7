"""What an oracle node releases to an enclave, and what the enclave says of a share that is not the one dealt.

A complaint names the node's signed release, so a node that the enclave wrongs can show what it sent. It slashes
no node: what HPKE hid cannot be shown to a contract. It leaves the node out of the job, and is counted.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import ClassVar

import msgspec

from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, Shape
from sealmarket_enclave.protocol.eip712 import TypedShape
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak, words
from sealmarket_enclave.protocol.numbers import U8, AssetId, JobId


class Complaint(TypedShape, frozen=True, kw_only=True):
    """One share of one node did not open, or did not match its commitment. ``index`` is the node's, from 0."""

    EIP712: ClassVar[str] = (
        "Complaint(bytes32 jobId,bytes32 evidenceHash,bytes32 assetId,address node,uint8 index,bytes32 sentHash)"
    )

    job_id: JobId
    evidence_hash: Bytes32
    asset_id: AssetId
    node: Address
    index: U8
    sent_hash: Bytes32


class SignedComplaint(Shape, frozen=True, kw_only=True):
    """A complaint with the attested key's signature."""

    complaint: Complaint
    signature: HexBytes


_RELEASE_DOMAIN = keccak(b"sealmarket/release/1")
MAXIMUM_RELEASE = 4 << 20
"""Bytes of one release: 16 shares take 20 KiB; on chain a node may post more than a share, and is blamed for it."""
_MAGIC = b"RELEASE\x00"
_HEAD, _SHARE = struct.Struct(">8s32s32sBB"), struct.Struct(">32sI")
_SIGNATURE_BYTES = 65


class ReleasedShare(msgspec.Struct, frozen=True, kw_only=True):
    """One asset's share, re-sealed by one node to the enclave's key."""

    asset_id: AssetId
    sealed: HexBytes


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """What a node sends after acceptance. ``signature`` is over :func:`release_hash`."""

    job_id: JobId
    evidence_hash: Bytes32
    index: int
    shares: tuple[ReleasedShare, ...]
    signature: HexBytes

    @property
    def raw(self) -> HexBytes:
        """The bytes that a node writes down, and that reach the enclave as they are (docs/spec/shares.md)."""
        head = _HEAD.pack(_MAGIC, self.job_id, self.evidence_hash, self.index, len(self.shares))
        shares = b"".join(_SHARE.pack(share.asset_id, len(share.sealed)) + share.sealed for share in self.shares)
        return HexBytes(head + shares + self.signature)


def read_release(raw: bytes) -> Release:
    """Read a release, of any sender. Its signature is for the caller to check.

    Raises:
        MalformedDocument: bytes of another form, or too many.
    """
    if not _HEAD.size + _SIGNATURE_BYTES <= len(raw) <= MAXIMUM_RELEASE:
        expected = f"{_HEAD.size + _SIGNATURE_BYTES} to {MAXIMUM_RELEASE}"
        raise MalformedDocument(f"a release has {expected} bytes, found {len(raw)}")
    magic, job_id, evidence_hash, index, count = _HEAD.unpack_from(raw)
    if magic != _MAGIC:
        raise MalformedDocument(f"a release begins {_MAGIC!r}, found {magic!r}")
    shares, at = [], _HEAD.size
    for _ in range(count):
        if len(raw) < at + _SHARE.size:
            raise MalformedDocument(f"a release of {count} shares is longer than {len(raw)} bytes")
        asset_id, size = _SHARE.unpack_from(raw, at)
        at += _SHARE.size
        shares.append(ReleasedShare(asset_id=AssetId(Bytes32(asset_id)), sealed=HexBytes(raw[at : at + size])))
        at += size
    if len(raw) != at + _SIGNATURE_BYTES:
        raise MalformedDocument(f"a release of these shares has {at + _SIGNATURE_BYTES} bytes, found {len(raw)}")
    return Release(
        job_id=JobId(Bytes32(job_id)),
        evidence_hash=Bytes32(evidence_hash),
        index=index,
        shares=tuple(shares),
        signature=HexBytes(raw[at:]),
    )


def release_hash(job_id: JobId, evidence_hash: Bytes32, index: int, shares: tuple[ReleasedShare, ...]) -> Bytes32:
    """What a node signs (EIP-191) for the ciphertexts that it sent, so that it can neither deny nor be blamed."""
    return release_digest(job_id, evidence_hash, index, sent_by(shares))


def sent_by(shares: Sequence[ReleasedShare]) -> list[tuple[AssetId, Bytes32]]:
    """Each asset with the hash of the ciphertext that was sent for it."""
    return [(share.asset_id, keccak(share.sealed)) for share in shares]


def release_digest(
    job_id: JobId, evidence_hash: Bytes32, index: int, sent: Sequence[tuple[AssetId, Bytes32]]
) -> Bytes32:
    """As :func:`release_hash`, from each asset and the hash of what was sent: for readers without the ciphertexts."""
    return keccak(words(_RELEASE_DOMAIN, job_id, evidence_hash, index, sent_hash(sent)))


def sent_hash(sent: Sequence[tuple[AssetId, Bytes32]]) -> Bytes32:
    """All ciphertexts of a release in one word: each asset with the hash of what was sent, in the job's order."""
    return keccak(b"".join(words(asset_id, sealed_hash) for asset_id, sealed_hash in sent))
