"""What people sign: requests, compute orders, asset orders; and the terms that the registry enforces.

A set of counterparts is a Merkle root (OpenZeppelin's sorted pairs, double-hashed leaves); the zero root admits all.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar

from sealmarket_enclave.protocol.codec import Address, Bytes32, MicroEpsilon, Uint, Wei
from sealmarket_enclave.protocol.eip712 import TypedShape
from sealmarket_enclave.protocol.hashing import keccak, words
from sealmarket_enclave.protocol.numbers import U32, AssetId, Grade, JobId, Seconds, Tee, Timestamp

_ASSET_DOMAIN = keccak(b"sealmarket/asset/1")


class AssetLimit(TypedShape, frozen=True, kw_only=True):
    """One asset in a request: the terms that the consumer saw, and the most that they pay for it."""

    EIP712: ClassVar[str] = (
        "AssetLimit(bytes32 assetId,uint32 version,uint32 termsVersion,uint128 maxPrice,uint64 epsilon)"
    )

    asset_id: AssetId
    version: U32
    terms_version: U32
    max_price: Wei
    epsilon: MicroEpsilon


class Request(TypedShape, frozen=True, kw_only=True):
    """A consumer asks for one job. It is consumed by that job."""

    EIP712: ClassVar[str] = (
        "Request(address consumer,address payer,address token,bytes32 workloadDigest,bytes32 parametersDigest,"
        "bytes32 resultKeyHash,uint32 purpose,uint8 tee,uint8 minGrade,bytes32 providers,uint128 maxComputePrice,"
        "uint128 maxUnitPrice,uint32 maxUnits,uint32 quoteWindow,uint32 decideWindow,uint32 settleWindow,"
        "uint32 challengeWindow,uint64 expiry,uint256 salt,AssetLimit[] assets)"
    )
    PARTS: ClassVar[tuple[type[TypedShape], ...]] = (AssetLimit,)

    consumer: Address
    payer: Address
    token: Address
    workload_digest: Bytes32
    parameters_digest: Bytes32
    result_key_hash: Bytes32
    purpose: U32
    tee: Tee
    min_grade: Grade
    providers: Bytes32
    max_compute_price: Wei
    max_unit_price: Wei
    max_units: U32
    quote_window: Seconds
    decide_window: Seconds
    settle_window: Seconds
    challenge_window: Seconds
    expiry: Timestamp
    salt: Uint
    assets: tuple[AssetLimit, ...]


class ComputeOrder(TypedShape, frozen=True, kw_only=True):
    """A provider offers to run up to ``volume`` jobs, each at ``price`` plus ``unit_price`` for every unit used."""

    EIP712: ClassVar[str] = (
        "ComputeOrder(address provider,address token,uint8 tee,uint8 grade,uint128 price,uint128 unitPrice,"
        "uint128 penalty,uint32 volume,uint64 expiry,bytes32 consumers,uint256 salt)"
    )

    provider: Address
    token: Address
    tee: Tee
    grade: Grade
    price: Wei
    unit_price: Wei
    penalty: Wei
    volume: U32
    expiry: Timestamp
    consumers: Bytes32
    salt: Uint


class AssetOrder(TypedShape, frozen=True, kw_only=True):
    """An owner's offer beside the standing terms: another price, or chosen counterparts.

    A ``volume`` of 2**32 - 1 is bounded by the uses of the terms alone.
    """

    EIP712: ClassVar[str] = (
        "AssetOrder(bytes32 assetId,uint32 version,uint128 price,uint32 volume,uint64 expiry,bytes32 consumers,"
        "bytes32 providers,uint256 salt)"
    )

    asset_id: AssetId
    version: U32
    price: Wei
    volume: U32
    expiry: Timestamp
    consumers: Bytes32
    providers: Bytes32
    salt: Uint


def asset_id(chain_id: int, registry: Address, creator: Address, salt: Bytes32) -> AssetId:
    """The id of an asset: it commits to chain, registry, creator and salt, so no other account can claim it."""
    return AssetId(keccak(words(_ASSET_DOMAIN, chain_id, registry, creator, salt)))


class Purpose(IntEnum):
    """What a job is for: a bit each in the terms, a signed promise in the request."""

    TRAIN = 1
    FINE_TUNE = 2
    INFER = 4
    QUERY = 8


class Quote(TypedShape, frozen=True, kw_only=True):
    """The provider's signature over an evidence hash, when another account submits it."""

    EIP712: ClassVar[str] = "Quote(bytes32 jobId,bytes32 evidenceHash)"

    job_id: JobId
    evidence_hash: Bytes32


class Acknowledgement(TypedShape, frozen=True, kw_only=True):
    """The consumer's statement that they hold the result."""

    EIP712: ClassVar[str] = "Acknowledgement(bytes32 jobId,bytes32 resultHash)"

    job_id: JobId
    result_hash: Bytes32
