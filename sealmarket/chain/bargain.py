"""What the market's later steps need of a job, instead of its whole specification: less to send, less to pay for.

A job's slot commits to its key and to its bargain (docs/spec/typed-data.md, "On the chain's side"). Both follow from
the :class:`JobSpec`, so they are neither stored nor sent, except to the market.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from sealmarket_enclave.protocol.codec import Address, Bytes32, MicroEpsilon, Wei
from sealmarket_enclave.protocol.eip712 import TypedShape
from sealmarket_enclave.protocol.hashing import Word, keccak, words
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import U32, AssetId, Grade, JobId, Seconds

_COMMITMENT_BYTES = 26


@dataclass(frozen=True, slots=True)
class JobKey:
    """Which job a step is about, and what its quote needs to know of it."""

    request_hash: Bytes32
    job_id: JobId
    provider: Address
    decide_window: Seconds

    @classmethod
    def of(cls, spec: JobSpec, job_id: JobId) -> JobKey:
        """From a specification and its id."""
        return cls(spec.request_hash, job_id, spec.provider, spec.decide_window)


class AssetClaim(TypedShape, frozen=True, kw_only=True):
    """What a job has set aside of one asset, and what the owner is owed."""

    EIP712: ClassVar[str] = (
        "AssetClaim(bytes32 assetId,address owner,uint32 version,uint32 termsVersion,uint128 price,uint64 epsilon)"
    )

    asset_id: AssetId
    owner: Address
    version: U32
    terms_version: U32
    price: Wei
    epsilon: MicroEpsilon


class Bargain(TypedShape, frozen=True, kw_only=True):
    """The money, the windows and the assets of a job. Typed for its hash; it is never signed."""

    EIP712: ClassVar[str] = (
        "Bargain(address consumer,address payer,address token,uint32 epoch,uint8 minGrade,uint128 computePrice,"
        "uint128 unitPrice,uint32 maxUnits,uint128 penalty,uint128 holdFee,uint128 timeoutFee,uint128 timeoutLimit,"
        "uint32 settleWindow,uint32 challengeWindow,AssetClaim[] claims)"
    )
    PARTS: ClassVar[tuple[type[TypedShape], ...]] = (AssetClaim,)

    consumer: Address
    payer: Address
    token: Address
    epoch: U32
    min_grade: Grade
    compute_price: Wei
    unit_price: Wei
    max_units: U32
    penalty: Wei
    hold_fee: Wei
    timeout_fee: Wei
    timeout_limit: Wei
    settle_window: Seconds
    challenge_window: Seconds
    claims: tuple[AssetClaim, ...]

    @classmethod
    def of(cls, spec: JobSpec) -> Bargain:
        """From a specification."""
        claims = tuple(
            AssetClaim(**{name: getattr(use, name) for name in AssetClaim.__struct_fields__}) for use in spec.assets
        )
        rest = {name: getattr(spec, name) for name in cls.__struct_fields__ if name != "claims"}
        return cls(**rest, claims=claims)


def commitment(spec: JobSpec, job_id: JobId, stage: Word) -> bytes:
    """What the job's slot holds beside status and deadline; ``stage`` is what the state added (0 when matched)."""
    opened = words(job_id, spec.provider, spec.decide_window, _bargain_hash(spec), stage)
    return bytes(keccak(opened)[-_COMMITMENT_BYTES:])


@lru_cache(maxsize=1024)
def _bargain_hash(spec: JobSpec) -> Bytes32:
    """The same at each look at an open job's slot."""
    return Bargain.of(spec).struct_hash()
