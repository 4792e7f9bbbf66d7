"""The HPKE contexts of messages that no enclave opens (docs/spec/shares.md, "Contexts")."""

from __future__ import annotations

from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.numbers import U32
from sealmarket_enclave.sealed.contexts import ChainId, Context, Index


class ShareInfo(Context, frozen=True, kw_only=True, tag="sealmarket/sealed-share/1"):
    """Owner to oracle node: the share of one node for one asset version.

    ``commitments`` is the digest of the :class:`~sealmarket_enclave.sealed.shares.Commitments`; ``threshold`` and
    ``total`` are t and n; ``hpke_key`` is the Keccak-256 of the node's public key.
    """

    chain_id: ChainId
    registry: Address
    asset_id: Bytes32
    asset_version: U32
    content_root: Bytes32
    policy_hash: Bytes32
    epoch: U32
    threshold: Index
    total: Index
    index: Index
    commitments: Bytes32
    hpke_key: Bytes32


class EvidenceKeyInfo(Context, frozen=True, kw_only=True, tag="sealmarket/sealed-evidence/2"):
    """Provider to a reader of evidence: the content key of a sealed package (:mod:`sealmarket.sealing.evidence`).

    ``content`` is the package's content hash, ``reader`` the Keccak-256 of the reader's public key.
    """

    chain_id: ChainId
    market: Address
    job_id: Bytes32
    evidence_hash: Bytes32
    epoch: U32
    content: Bytes32
    reader: Bytes32
