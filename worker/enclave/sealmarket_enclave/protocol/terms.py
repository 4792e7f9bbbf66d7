"""What a version of an asset is, and the terms that the registry enforces for it.

A set of counterparts is a Merkle root (OpenZeppelin's sorted pairs, double-hashed leaves); the zero root admits all.
"""

from __future__ import annotations

from sealmarket_enclave.protocol.codec import Address, Bytes32, MicroEpsilon, Shape, Wei
from sealmarket_enclave.protocol.hashing import keccak, words
from sealmarket_enclave.protocol.numbers import U32, Grade, Percent, Seconds, Timestamp


class Seal(Shape, frozen=True, kw_only=True):
    """What one version of an asset is: ciphertext root, share set root, policy hash, and the committee epoch.

    ``content_version`` is the version for which the content was sealed: a later version with other shares or terms may
    name the same content.
    """

    content_root: Bytes32
    content_version: U32
    share_root: Bytes32
    policy_hash: Bytes32
    epoch: U32

    def hash(self) -> Bytes32:
        """``sealHash``: the one word by which contracts and jobs know this version's bytes."""
        return keccak(words(self.content_root, self.content_version, self.share_root, self.policy_hash))


class Terms(Shape, frozen=True, kw_only=True):
    """The projection of a policy that the registry enforces. Roots of zero mean: no root, see each field.

    ``allow_root`` must not be zero: an empty allow-list allows nothing. A zero ``consumer_root`` is every consumer.
    ``budget`` and ``per_job_cap`` of zero mean that no differentially private job is sold. ``max_hold`` is the most
    seconds for which a job may hold a use before it ends or settles; ``timeout_share`` the least part of the price
    that is due for a use whose job ran out of time.
    """

    token: Address
    price: Wei
    expiry: Timestamp
    max_uses: U32
    purposes: U32
    min_grade: Grade
    budget: MicroEpsilon
    per_job_cap: MicroEpsilon
    allow_root: Bytes32
    consumer_root: Bytes32
    max_hold: Seconds
    timeout_share: Percent
