"""Deal a data key to a committee, open a dealt share, release it to an enclave (docs/spec/shares.md)."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import lru_cache

from Crypto.Protocol.SecretSharing import Shamir

from sealmarket.sealing.contexts import ShareInfo
from sealmarket_enclave.protocol.codec import Address, Bytes32, Shape
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import U32
from sealmarket_enclave.sealed.contexts import ChainId, ReleaseInfo
from sealmarket_enclave.sealed.errors import InvalidSharing, NotOpened
from sealmarket_enclave.sealed.hpke import PrivateKey, PublicKey
from sealmarket_enclave.sealed.shares import (
    HALF_BYTES,
    KEY_BYTES,
    SALT_BYTES,
    Commitments,
    Share,
    ShareMember,
    ShareSet,
    key_commitment,
    open_committed,
    require_sharing,
)


class Dealing(Shape, frozen=True, kw_only=True):
    """What a dealing is for: the fields that every sealed share is bound to."""

    chain_id: ChainId
    registry: Address
    asset_id: Bytes32
    asset_version: U32
    content_root: Bytes32
    policy_hash: Bytes32
    epoch: U32


def generate_key() -> bytes:
    """A fresh 32-byte data key."""
    return secrets.token_bytes(KEY_BYTES)


def split(key: bytes, threshold: int, total: int) -> tuple[tuple[Share, ...], Commitments]:
    """Split a 32-byte key so that any ``threshold`` of ``total`` shares join.

    Raises:
        InvalidSharing: a threshold below 2 or above the total, a total above 255, or a key of another length.
    """
    if len(key) != KEY_BYTES:
        raise InvalidSharing("key length", len(key), KEY_BYTES)
    require_sharing(threshold, total)
    left = Shamir.split(threshold, total, key[:HALF_BYTES], ssss=False)
    right = Shamir.split(threshold, total, key[HALF_BYTES:], ssss=False)
    shares = tuple(
        Share(index, low + high, secrets.token_bytes(SALT_BYTES))
        for (index, low), (_, high) in zip(left, right, strict=True)
    )
    salt = Bytes32(secrets.token_bytes(SALT_BYTES))
    commitments = Commitments(
        threshold=threshold,
        key_salt=salt,
        key=key_commitment(key, salt),
        shares=tuple(share.commitment for share in shares),
    )
    return shares, commitments


def deal(
    key: bytes, threshold: int, committee: Sequence[tuple[Address, PublicKey]], dealing: Dealing
) -> tuple[ShareSet, tuple[bytes, ...]]:
    """Split a key and seal each share to its node. Returns the share set, and the sealed shares by position.

    ``committee`` names each node's signing address and HPKE key, in index order.
    """
    shares, commitments = split(key, threshold, len(committee))
    sealed = tuple(
        hpke.seal(share.encode(), _info(dealing, commitments, share.index, hpke.digest))
        for share, (_, hpke) in zip(shares, committee, strict=True)
    )
    members = tuple(
        ShareMember(node=node, hpke_key=hpke.digest, sealed=keccak(message))
        for message, (node, hpke) in zip(sealed, committee, strict=True)
    )
    fields = {name: getattr(dealing, name) for name in dealing.__struct_fields__}
    return ShareSet(commitments=commitments, members=members, **fields), sealed


def share_context(share_set: ShareSet, index: int) -> ShareInfo:
    """The context under which the share of ``index`` (from 1) was sealed. Raises :class:`InvalidSharing`."""
    if not 1 <= index <= len(share_set.members):
        raise InvalidSharing("index", index, f"1 to {len(share_set.members)}")
    return _info(share_set, share_set.commitments, index, share_set.members[index - 1].hpke_key)


def open_share(private: PrivateKey, share_set: ShareSet, index: int, sealed: bytes) -> Share:
    """An oracle node opens its own share, before anyone is charged.

    Raises:
        NotOpened: sealed to another key or under another context than the share set's, or altered.
        WrongShare: opens, but is not what the owner committed to.
    """
    context = share_context(share_set, index)
    if private.public.digest != context.hpke_key:
        raise NotOpened("another member of the committee")
    return open_committed(private, share_set.commitments, index, context, sealed)


def release_share(share: Share, enclave: PublicKey, context: ReleaseInfo) -> bytes:
    """An oracle node seals its share to an attested enclave. The context must name that key and that index."""
    if context.enclave_key != enclave.digest:
        raise InvalidSharing("release's enclave key", enclave.digest, context.enclave_key)
    if context.index != share.index:
        raise InvalidSharing("release's index", share.index, context.index)
    return enclave.seal(share.encode(), context)


def _info(dealing: Dealing | ShareSet, commitments: Commitments, index: int, key: Bytes32) -> ShareInfo:
    return ShareInfo(
        chain_id=dealing.chain_id,
        registry=dealing.registry,
        asset_id=dealing.asset_id,
        asset_version=dealing.asset_version,
        content_root=dealing.content_root,
        policy_hash=dealing.policy_hash,
        epoch=dealing.epoch,
        threshold=commitments.threshold,
        total=commitments.total,
        index=index,
        commitments=_digest(commitments),
        hpke_key=key,
    )


@lru_cache(maxsize=256)
def _digest(commitments: Commitments) -> Bytes32:
    """A node opens its share of an asset for each job that uses it."""
    return keccak(commitments.canonical())
