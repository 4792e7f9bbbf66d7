"""What oracle nodes sign about a job: decisions, stops, and answers to challenges."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar

from sealmarket_enclave.protocol.codec import Address, Bytes32, Uint
from sealmarket_enclave.protocol.eip712 import TypedShape
from sealmarket_enclave.protocol.numbers import U8, U32, Grade, JobId, Timestamp


class Outcome(IntEnum):
    """What a quorum of oracle nodes decided, by the row of the fault table that it selects."""

    ACCEPTED = 1
    PLATFORM_REFUSED = 2
    REQUEST_REFUSED = 3
    TERMS_REFUSED = 4
    INPUT_REFUSED = 5
    EVIDENCE_WITHHELD = 6


def grade_name(grade: int) -> str:
    """A grade as a stranger's document has it, for people: refusals have 0, and a number that no grade has is shown."""
    return Grade(grade).slug if grade in set(Grade) else f"grade {grade}"


class Decision(TypedShape, frozen=True, kw_only=True):
    """What one oracle node decided. All fields but ``detail`` are the core that honest nodes share.

    ``reasons`` is a bit set of :class:`sealmarket.protocol.reasons.JobReason`; ``detail`` hashes this node's own
    :class:`DecisionDetail` (block, collateral, findings in words).
    """

    EIP712: ClassVar[str] = (
        "Decision(bytes32 jobId,bytes32 evidenceHash,address enclaveSigner,bytes32 enclaveKeyHash,"
        "bytes32 termsDigest,uint32 epoch,uint8 outcome,uint8 grade,uint256 reasons,uint64 expiry,bytes32 detail)"
    )

    job_id: JobId
    evidence_hash: Bytes32
    enclave_signer: Address
    enclave_key_hash: Bytes32
    terms_digest: Bytes32
    epoch: U32
    outcome: Outcome
    grade: U8
    reasons: Uint
    expiry: Timestamp
    detail: Bytes32


class Stop(TypedShape, frozen=True, kw_only=True):
    """A node's statement that it has not released its share for this job and never will."""

    EIP712: ClassVar[str] = "Stop(bytes32 jobId,bytes32 evidenceHash,uint32 epoch,uint256 reasons)"

    job_id: JobId
    evidence_hash: Bytes32
    epoch: U32
    reasons: Uint


class ChallengeAnswer(TypedShape, frozen=True, kw_only=True):
    """A node's statement whether a challenged ciphertext is available."""

    EIP712: ClassVar[str] = "ChallengeAnswer(bytes32 jobId,bytes32 resultHash,bool available)"

    job_id: JobId
    result_hash: Bytes32
    available: bool
