"""What people sign: requests, compute orders, asset orders; and the terms that the registry enforces.

A set of counterparts is a Merkle root (OpenZeppelin's sorted pairs, double-hashed leaves); the zero root admits all.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar

from sealmarket_enclave.protocol.codec import Address, Bytes32, MicroEpsilon, Uint, Uint64, Wei
from sealmarket_enclave.protocol.eip712 import TypedShape
from sealmarket_enclave.protocol.hashing import keccak, words
from sealmarket_enclave.protocol.numbers import U32, AssetId, Grade, JobId, Kind, Seconds, Tee, Timestamp

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
    """A consumer asks for one job. It is consumed by that job.

    ``capabilities`` is a Merkle root over the hashes of accepted capability documents (0: any). ``min_penalty`` is the
    least that a provider at fault loses, ``timeout_limit`` the most that owners and provider together get when a limit
    of time is used up. The seconds are for running the workload, reading the inputs and the owners' validators.
    """

    EIP712: ClassVar[str] = (
        "Request(uint8 kind,bytes32 extensionHash,address consumer,address payer,address token,bytes32 workloadDigest,"
        "bytes32 parametersDigest,bytes32 resultKeysHash,uint32 purpose,uint8 tee,uint8 minGrade,bytes32 providers,"
        "bytes32 capabilities,uint128 maxComputePrice,uint128 maxUnitPrice,uint32 maxUnits,uint128 minPenalty,"
        "uint128 timeoutLimit,uint32 runSeconds,uint32 readSeconds,uint32 validateSeconds,uint64 decodedBytes,"
        "uint32 quoteWindow,uint32 decideWindow,uint32 settleWindow,uint32 challengeWindow,uint64 expiry,uint256 salt,"
        "AssetLimit[] assets)"
    )
    PARTS: ClassVar[tuple[type[TypedShape], ...]] = (AssetLimit,)

    kind: Kind
    extension_hash: Bytes32
    consumer: Address
    payer: Address
    token: Address
    workload_digest: Bytes32
    parameters_digest: Bytes32
    result_keys_hash: Bytes32
    purpose: U32
    tee: Tee
    min_grade: Grade
    providers: Bytes32
    capabilities: Bytes32
    max_compute_price: Wei
    max_unit_price: Wei
    max_units: U32
    min_penalty: Wei
    timeout_limit: Wei
    run_seconds: Seconds
    read_seconds: Seconds
    validate_seconds: Seconds
    decoded_bytes: Uint64
    quote_window: Seconds
    decide_window: Seconds
    settle_window: Seconds
    challenge_window: Seconds
    expiry: Timestamp
    salt: Uint
    assets: tuple[AssetLimit, ...]


class ComputeOrder(TypedShape, frozen=True, kw_only=True):
    """A provider offers to run up to ``volume`` jobs, each at ``price`` plus ``unit_price`` for every unit used.

    One job locks at most ``max_stake`` for at most ``max_hold`` seconds, and asks for no more seconds and decoded bytes
    than the order allows. A job whose time is used up pays ``timeout_fee``. ``capability_hash`` names the provider's
    capability document (0: none).
    """

    EIP712: ClassVar[str] = (
        "ComputeOrder(uint8 kind,address provider,address token,uint8 tee,uint8 grade,uint128 price,uint128 unitPrice,"
        "uint128 penalty,uint128 maxStake,uint128 timeoutFee,uint32 minQuoteWindow,uint32 minSettleWindow,"
        "uint32 maxHold,uint32 maxRunSeconds,uint32 maxReadSeconds,uint32 maxValidateSeconds,uint64 maxDecodedBytes,"
        "bytes32 capabilityHash,uint32 volume,uint64 expiry,bytes32 consumers,uint256 salt)"
    )

    kind: Kind
    provider: Address
    token: Address
    tee: Tee
    grade: Grade
    price: Wei
    unit_price: Wei
    penalty: Wei
    max_stake: Wei
    timeout_fee: Wei
    min_quote_window: Seconds
    min_settle_window: Seconds
    max_hold: Seconds
    max_run_seconds: Seconds
    max_read_seconds: Seconds
    max_validate_seconds: Seconds
    max_decoded_bytes: Uint64
    capability_hash: Bytes32
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


class EvidenceSeal(TypedShape, frozen=True, kw_only=True):
    """The provider's signature over the bytes of a sealed evidence package; no contract reads it."""

    EIP712: ClassVar[str] = "EvidenceSeal(bytes32 jobId,bytes32 evidenceHash,bytes32 sealedHash)"

    job_id: JobId
    evidence_hash: Bytes32
    sealed_hash: Bytes32


class Acknowledgement(TypedShape, frozen=True, kw_only=True):
    """The consumer's statement that they hold the result."""

    EIP712: ClassVar[str] = "Acknowledgement(bytes32 jobId,bytes32 resultHash)"

    job_id: JobId
    result_hash: Bytes32
