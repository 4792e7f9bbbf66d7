"""One job: its specification, what is signed about it, and what its enclave proves.

``jobId`` is the EIP-712 digest of the :class:`JobSpec`, so a contract, an enclave, a wallet library and a reader with
pen and paper all compute the same one. An enclave recomputes it from the specification that its host passes, and puts
it into its report data: a host that edits anything gets evidence for another job.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from sealmarket_enclave.protocol.codec import Address, Bytes32, Bytes64, MicroEpsilon, Shape, Uint64, Wei
from sealmarket_enclave.protocol.eip712 import TypedShape
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak, sha256, words
from sealmarket_enclave.protocol.numbers import (
    U8,
    U16,
    U32,
    AssetId,
    FailureCause,
    Grade,
    JobId,
    Kind,
    Seconds,
    Tee,
    Timestamp,
)
from sealmarket_enclave.protocol.terms import Seal

_REPORT_DATA_DOMAIN = keccak(b"sealmarket/report-data/1")
_EVIDENCE_DOMAIN = keccak(b"sealmarket/evidence/1")
_TERMS_DOMAIN = keccak(b"sealmarket/effective-terms/1")
_PARAMETERS_DOMAIN = keccak(b"sealmarket/parameters/1")


class AssetUse(TypedShape, frozen=True, kw_only=True):
    """One asset as a job uses it."""

    EIP712: ClassVar[str] = (
        "AssetUse(bytes32 assetId,address owner,uint32 version,uint32 termsVersion,bytes32 sealHash,"
        "uint128 price,uint64 epsilon)"
    )

    asset_id: AssetId
    owner: Address
    version: U32
    terms_version: U32
    seal_hash: Bytes32
    price: Wei
    epsilon: MicroEpsilon


MAX_ASSETS = 16
"""Most assets of one job. The market refuses more: the gas of a job's end grows with them."""

MAX_RESULT_KEYS = 8
"""Most HPKE keys to which one result is sealed."""


class Parameters(Shape, frozen=True, kw_only=True):
    """A job's parameters with the salt of their digest. The host sees them: what is secret goes in as an asset."""

    salt: Bytes32
    values: dict[str, str | int | float | bool]


class JobSpec(TypedShape, frozen=True, kw_only=True):
    """Everything that a job is. One attempt per job.

    ``run_seconds``, ``read_seconds`` and ``validate_seconds`` bound the workload, the reading of the inputs and the
    owners' validators; ``decoded_bytes`` bounds the inputs once decoded. ``capability_hash`` is what the provider
    promised (0: nothing). ``hold_fee`` is
    burned when the consumer's side gives up the job.
    """

    EIP712: ClassVar[str] = (
        "JobSpec(bytes32 requestHash,uint8 kind,bytes32 extensionHash,address consumer,address payer,"
        "address provider,address token,bytes32 workloadDigest,bytes32 parametersDigest,bytes32 resultKeysHash,"
        "bytes32 capabilityHash,uint32 purpose,uint8 tee,uint8 minGrade,uint32 epoch,uint128 computePrice,"
        "uint128 unitPrice,uint32 maxUnits,uint128 penalty,uint128 holdFee,uint128 timeoutFee,uint128 timeoutLimit,"
        "uint32 runSeconds,uint32 readSeconds,uint32 validateSeconds,uint64 decodedBytes,uint64 matchedAt,"
        "uint32 quoteWindow,uint32 decideWindow,uint32 settleWindow,uint32 challengeWindow,AssetUse[] assets)"
    )
    PARTS: ClassVar[tuple[type[TypedShape], ...]] = (AssetUse,)

    request_hash: Bytes32
    kind: Kind
    extension_hash: Bytes32
    consumer: Address
    payer: Address
    provider: Address
    token: Address
    workload_digest: Bytes32
    parameters_digest: Bytes32
    result_keys_hash: Bytes32
    capability_hash: Bytes32
    purpose: U32
    tee: Tee
    min_grade: Grade
    epoch: U32
    compute_price: Wei
    unit_price: Wei
    max_units: U32
    penalty: Wei
    hold_fee: Wei
    timeout_fee: Wei
    timeout_limit: Wei
    run_seconds: Seconds
    read_seconds: Seconds
    validate_seconds: Seconds
    decoded_bytes: Uint64
    matched_at: Timestamp
    quote_window: Seconds
    decide_window: Seconds
    settle_window: Seconds
    challenge_window: Seconds
    assets: tuple[AssetUse, ...]

    @property
    def stage_seconds(self) -> int:
        """Most seconds from an enclave's complete shares to its signed end: reading, running and validating."""
        return self.read_seconds + self.run_seconds + self.validate_seconds

    def job_id(self, chain_id: int, market: Address) -> JobId:
        """The job's id on one market of one chain."""
        return JobId(self.digest(chain_id, market))


class Settlement(TypedShape, frozen=True, kw_only=True):
    """What the enclave signs about its result: the hash of the sealed ciphertext, and the usage."""

    EIP712: ClassVar[str] = "Settlement(bytes32 jobId,bytes32 resultHash,bytes32 receiptHash,uint32 units,bool last)"

    job_id: JobId
    result_hash: Bytes32
    receipt_hash: Bytes32
    units: U32
    last: bool


class Failure(TypedShape, frozen=True, kw_only=True):
    """What the enclave signs about a failure after acceptance, and whose it was."""

    EIP712: ClassVar[str] = "Failure(bytes32 jobId,uint8 cause,uint8 assetIndex,uint32 units,bytes32 receiptHash)"

    job_id: JobId
    cause: FailureCause
    asset_index: U8
    units: U32
    receipt_hash: Bytes32


class SharesMissing(TypedShape, frozen=True, kw_only=True):
    """What the enclave signs when it has joined no key. Bit i of ``excluded``: node i sent false shares."""

    EIP712: ClassVar[str] = "SharesMissing(bytes32 jobId,bytes32 evidenceHash,uint16 excluded)"

    job_id: JobId
    evidence_hash: Bytes32
    excluded: U16


def report_data(job_id: JobId, signer: Address, enclave_key_hash: Bytes32, block_hash: Bytes32) -> Bytes64:
    """The 64 bytes that evidence carries, the same for SGX, TDX, SNP and CCA: a hash, then 32 zero bytes.

    All 64 are compared: a right hash with other padding is refused.
    """
    digest = keccak(words(_REPORT_DATA_DOMAIN, job_id, signer, enclave_key_hash, block_hash))
    return Bytes64(digest + bytes(32))


def evidence_hash(quote: bytes, signer: Address, enclave_key_hash: Bytes32, block_hash: Bytes32) -> Bytes32:
    """What the provider posts before any oracle looks: evidence, both keys and the block it names."""
    return keccak(words(_EVIDENCE_DOMAIN, sha256(quote), signer, enclave_key_hash, block_hash))


def enclave_key_hash(hpke_public_key: bytes) -> Bytes32:
    """How contracts and decisions name an HPKE public key (raw X-Wing-style bytes)."""
    return keccak(hpke_public_key)


def result_keys_hash(keys: Sequence[bytes]) -> Bytes32:
    """How a job names the HPKE public keys to which its result is sealed: their hashes, one behind the other, hashed.

    Raises:
        MalformedDocument: no key, or more than ``MAX_RESULT_KEYS``.
    """
    return keccak(result_key_names(keys))


def result_key_names(keys: Sequence[bytes]) -> bytes:
    """The document in the store that :func:`result_keys_hash` names: the keys' hashes, one behind the other.

    Raises:
        MalformedDocument: no key, or more than ``MAX_RESULT_KEYS``.
    """
    if not 1 <= len(keys) <= MAX_RESULT_KEYS:
        raise MalformedDocument(f"a job has 1 to {MAX_RESULT_KEYS} result keys, found {len(keys)}")
    return b"".join(enclave_key_hash(key) for key in keys)


def key_names(document: bytes) -> tuple[Bytes32, ...]:
    """The hashes in the document of :func:`result_key_names`; none where it is no such document."""
    count, rest = divmod(len(document), 32)
    if rest or not 1 <= count <= MAX_RESULT_KEYS:
        return ()
    return tuple(Bytes32(document[32 * place : 32 * place + 32]) for place in range(count))


def parameters_digest(salt: Bytes32, canonical_parameters: bytes) -> Bytes32:
    """A salted digest of the canonical parameters, so that small ones cannot be guessed from the chain."""
    return keccak(words(_PARAMETERS_DOMAIN, salt, sha256(canonical_parameters)))


def terms_digest(uses: Sequence[AssetUse], seals: Sequence[Seal]) -> Bytes32:
    """The terms under which shares are released: each asset's version, terms version and policy, in order."""
    rows = b"".join(
        words(use.asset_id, use.version, use.terms_version, seal.policy_hash)
        for use, seal in zip(uses, seals, strict=True)
    )
    return keccak(words(_TERMS_DOMAIN, keccak(rows)))
