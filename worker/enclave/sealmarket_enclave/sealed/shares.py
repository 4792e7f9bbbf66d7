"""A data key split t of n, with hash commitments that say which share is wrong.

Rules (docs/spec/shares.md):

1. The 32-byte key is split as two 16-byte halves by Shamir over GF(2^128) (PyCryptodome, ``ssss=False``),
   both with the indices 1..n. A share is the two values of one index, and a salt.
2. Commitments are salted SHA-256: no discrete logarithm, so that post-quantum wrapping is not undone. A
   share's salt travels with the share; the key's salt is public (the key has 256 bits of entropy).
3. The :class:`ShareSet` is content-addressed: ``share root = Keccak-256(canonical JSON)``, and that root is
   on chain. Sealed shares are stored under the Keccak-256 of their bytes, which the set lists.
4. A share is checked against its commitment when it is opened, the key when it is joined.
   Shares that match but do not join are the owner's fault (:class:`WrongKey`), a share that does not match is
   its node's or dealer's (:class:`WrongShare`).
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from Crypto.Protocol.SecretSharing import Shamir

from sealmarket_enclave.protocol.codec import Address, Bytes32, Shape, decode_canonical
from sealmarket_enclave.protocol.hashing import keccak, sha256
from sealmarket_enclave.protocol.numbers import U32
from sealmarket_enclave.sealed.contexts import ChainId, Context, Index, ReleaseInfo
from sealmarket_enclave.sealed.errors import (
    DuplicateShare,
    InvalidSharing,
    ShareRootMismatch,
    TooFewShares,
    WrongKey,
    WrongShare,
)
from sealmarket_enclave.sealed.hpke import OVERHEAD_BYTES, PrivateKey

SHARE_DOMAIN = b"sealmarket/share-commitment/1"
KEY_DOMAIN = b"sealmarket/key-commitment/1"
KEY_BYTES = 32
MIN_THRESHOLD = 2
MAX_TOTAL = 255
HALF_BYTES = KEY_BYTES // 2
SALT_BYTES = 32
SEALED_SHARE_BYTES = OVERHEAD_BYTES + KEY_BYTES + SALT_BYTES


@dataclass(frozen=True, slots=True)
class Share:
    """One member's share: ``index`` 1..n, 32 secret bytes, and the 32-byte salt of its commitment."""

    index: int
    value: bytes = field(repr=False)
    salt: bytes = field(repr=False)

    @property
    def commitment(self) -> Bytes32:
        """SHA-256 over domain, salt, index and value (rule 2)."""
        return sha256(SHARE_DOMAIN + self.salt + self.index.to_bytes(2, "big") + self.value)

    def encode(self) -> bytes:
        """The 64 bytes that are sealed: value, salt. The index is in the context."""
        return self.value + self.salt

    @classmethod
    def decode(cls, index: int, raw: bytes) -> Share:
        """Read 64 bytes; raises :class:`InvalidSharing` for another length."""
        if len(raw) != KEY_BYTES + SALT_BYTES:
            raise InvalidSharing("share length", len(raw), KEY_BYTES + SALT_BYTES)
        return cls(index, raw[:KEY_BYTES], raw[KEY_BYTES:])


class Commitments(Shape, frozen=True, kw_only=True):
    """What is public about a split key. ``shares[i]`` commits to the share of index i + 1."""

    threshold: Index
    key_salt: Bytes32
    key: Bytes32
    shares: tuple[Bytes32, ...]

    def __post_init__(self) -> None:
        require_sharing(self.threshold, len(self.shares))

    @property
    def total(self) -> int:
        """n: how many shares were dealt."""
        return len(self.shares)

    def check_share(self, share: Share) -> None:
        """Raise :class:`InvalidSharing` for an index out of range, :class:`WrongShare` for another value."""
        if not 1 <= share.index <= self.total:
            raise InvalidSharing("index", share.index, f"1 to {self.total}")
        expected, found = self.shares[share.index - 1], share.commitment
        if not hmac.compare_digest(expected, found):
            raise WrongShare(share.index, expected, found)

    def check_key(self, key: bytes) -> None:
        """Raise :class:`WrongKey` unless this is the key that was split."""
        found = key_commitment(key, self.key_salt)
        if not hmac.compare_digest(self.key, found):
            raise WrongKey(self.key, found)


class ShareMember(Shape, frozen=True, kw_only=True):
    """One oracle node's place in a share set: who, to which key, and the hash of what was sealed to it.

    ``node`` is the node's signing address, ``hpke_key`` the Keccak-256 of its public key, ``sealed`` that
    of the sealed share. The position in the set is the node's index.
    """

    node: Address
    hpke_key: Bytes32
    sealed: Bytes32


class ShareSet(Shape, frozen=True, kw_only=True):
    """Everything public about one asset version's shares; named on chain by :attr:`root`."""

    version: Literal["sealmarket/share-set/1"] = "sealmarket/share-set/1"
    chain_id: ChainId
    registry: Address
    asset_id: Bytes32
    asset_version: U32
    content_root: Bytes32
    policy_hash: Bytes32
    epoch: U32
    commitments: Commitments
    members: tuple[ShareMember, ...]

    def __post_init__(self) -> None:
        if len(self.members) != self.commitments.total:
            raise InvalidSharing("number of members", len(self.members), self.commitments.total)
        for what in ("node", "hpke_key"):
            if len({getattr(member, what) for member in self.members}) != len(self.members):
                raise InvalidSharing(f"members' {what}", "repeated", "a different one for each member")

    @property
    def root(self) -> Bytes32:
        """The share root: Keccak-256 of the canonical JSON (rule 3)."""
        return keccak(self.canonical())

    def index_of(self, node: bytes) -> int:
        """A node's index from 0, by its signing address; raises :class:`InvalidSharing` for a stranger."""
        for index, member in enumerate(self.members):
            if member.node == node:
                return index
        raise InvalidSharing("member", Address(node), "a node of this share set")

    @classmethod
    def load(cls, raw: bytes, root: bytes) -> ShareSet:
        """Read a share set fetched from anywhere, and hold it against the root on chain.

        Raises:
            ShareRootMismatch: these are other bytes than the root names.
            MalformedDocument: bytes under that root that are no share set (its owner's fault).
        """
        if (found := keccak(raw)) != root:
            raise ShareRootMismatch(root, found)
        return decode_canonical(cls, raw)


def share_index(node: int) -> int:
    """The index of a node's share, from the node's index in its committee: nodes count from 0.

    A share's index is its x coordinate in Shamir's scheme, where 0 stands for the secret.
    """
    return node + 1


def key_commitment(key: bytes, salt: bytes) -> Bytes32:
    """SHA-256 over domain, salt and key (rule 2)."""
    return sha256(KEY_DOMAIN + salt + key)


def join(shares: Iterable[Share], commitments: Commitments) -> bytes:
    """Join at least t shares to the data key. Every share is checked, also those that are not needed.

    Raises:
        DuplicateShare, WrongShare, InvalidSharing: naming the index.
        TooFewShares: fewer than t.
        WrongKey: right shares that do not join to the committed key.
    """
    checked: dict[int, Share] = {}
    for share in shares:
        if share.index in checked:
            raise DuplicateShare(share.index)
        commitments.check_share(share)
        checked[share.index] = share
    if len(checked) < commitments.threshold:
        raise TooFewShares(len(checked), commitments.threshold)
    used = [checked[index] for index in sorted(checked)][: commitments.threshold]
    left = Shamir.combine([(share.index, share.value[:HALF_BYTES]) for share in used], ssss=False)
    right = Shamir.combine([(share.index, share.value[HALF_BYTES:]) for share in used], ssss=False)
    key = bytes(left + right)
    commitments.check_key(key)
    return key


def open_released(private: PrivateKey, commitments: Commitments, context: ReleaseInfo, sealed: bytes) -> Share:
    """The enclave opens a released share. Raises as :func:`open_committed`."""
    return open_committed(private, commitments, context.index, context, sealed)


def open_committed(private: PrivateKey, commitments: Commitments, index: int, context: Context, sealed: bytes) -> Share:
    """Open a sealed share and compare it with its commitment.

    Raises:
        NotOpened: sealed to another key or under another context, or altered.
        WrongShare: opens, but is not what the owner committed to.
    """
    share = Share.decode(index, private.open(sealed, context))
    commitments.check_share(share)
    return share


def require_sharing(threshold: int, total: int) -> None:
    """Raise :class:`InvalidSharing` unless 2 <= t <= n <= 255."""
    if not MIN_THRESHOLD <= total <= MAX_TOTAL:
        raise InvalidSharing("number of members", total, f"{MIN_THRESHOLD} to {MAX_TOTAL}")
    if not MIN_THRESHOLD <= threshold <= total:
        raise InvalidSharing("threshold", threshold, f"{MIN_THRESHOLD} to {total}")
