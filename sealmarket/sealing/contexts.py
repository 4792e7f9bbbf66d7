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


class EvidenceInfo(Context, frozen=True, kw_only=True, tag="sealmarket/sealed-evidence/1"):
    """Provider to oracle node: evidence, which may identify hardware. ``hpke_key`` is the node key's digest."""

    chain_id: ChainId
    market: Address
    job_id: Bytes32
    epoch: U32
    hpke_key: Bytes32
