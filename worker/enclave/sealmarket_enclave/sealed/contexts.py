"""What each HPKE message is bound to: one shape per purpose, its canonical JSON is the HPKE ``info``.

Here are the purposes that an enclave seals or opens; :mod:`sealmarket.sealing.contexts` has the others.

A message sealed for one purpose, job, asset, index or key does not open for another: the opener rebuilds the
context from what it knows by itself, never from the message (docs/spec/shares.md, "Contexts"). The
``purpose`` tag separates the domains and carries the version.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from sealmarket_enclave.protocol.codec import Address, Bytes32, Shape
from sealmarket_enclave.protocol.numbers import U32

ChainId = Annotated[int, Meta(ge=1, le=2**53 - 1)]
Index = Annotated[int, Meta(ge=1, le=255)]


class Context(Shape, frozen=True, kw_only=True, tag_field="purpose"):
    """What one HPKE message is bound to. Each purpose is a subclass with a tag of its own."""


class ReleaseInfo(Context, frozen=True, kw_only=True, tag="sealmarket/sealed-release/1"):
    """Oracle node to enclave: the share, released for one job and one piece of evidence.

    ``enclave_key`` is the digest of the enclave's HPKE public key, ``terms_digest`` the digest of the
    effective terms that the nodes signed.
    """

    chain_id: ChainId
    market: Address
    job_id: Bytes32
    asset_id: Bytes32
    asset_version: U32
    evidence_hash: Bytes32
    terms_digest: Bytes32
    epoch: U32
    index: Index
    enclave_key: Bytes32


class ResultInfo(Context, frozen=True, kw_only=True, tag="sealmarket/sealed-result/1"):
    """Enclave to consumer: the key of the result's container. ``result_key`` is the public key's digest."""

    chain_id: ChainId
    market: Address
    job_id: Bytes32
    content_root: Bytes32
    result_key: Bytes32


class NoticeInfo(Context, frozen=True, kw_only=True, tag="sealmarket/sealed-notice/1"):
    """Enclave to an owner or consumer: why an input failed. ``key`` is the digest of the recipient's public key."""

    chain_id: ChainId
    market: Address
    job_id: Bytes32
    key: Bytes32


class SessionInfo(Context, frozen=True, kw_only=True, tag="sealmarket/session-request/1"):
    """User to enclave: one request to a service. ``enclave_key`` is the digest of the enclave's HPKE public key."""

    chain_id: ChainId
    market: Address
    job_id: Bytes32
    evidence_hash: Bytes32
    enclave_key: Bytes32
