"""The receipt: an in-toto statement in a DSSE envelope, signed by the attested secp256k1 key.

``subject`` is the sealed result's ciphertext; the predicate says which job, evidence, workload and inputs made it.
Anyone can recover the signer from the envelope and find the same key in the quorum's decision on chain.
Sources: in-toto Attestation Framework v1 (Statement), DSSE 1.0.2 (pre-authentication encoding).
"""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, Shape, canonical_json
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import AssetId, JobId

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://sealmarket.org/receipt/v1"


ReceiptOutcome = Literal[
    "completed", "input_failed", "workload_failed", "workload_timed_out", "validator_timed_out", "reader_timed_out"
]
"""How a job ended by its enclave: with a result, or with one of the causes of a failure."""


class ReceiptInput(Shape, frozen=True, kw_only=True):
    """One asset that went in, as the enclave found it."""

    asset_id: AssetId
    asset_version: int
    content_root: Bytes32
    policy_hash: Bytes32


class SealedNotice(Shape, frozen=True, kw_only=True):
    """Why an input failed, sealed to the key with this digest (``sealmarket_enclave.sealed.notices``)."""

    key: Bytes32
    sealed: HexBytes


class ReceiptPredicate(Shape, frozen=True, kw_only=True):
    """What the enclave testifies. ``platform`` names the kind of evidence and says so when it is simulated.

    Of a failed input, ``input_fault`` is the public code, and ``notices`` tell owner and consumer more under seal; both
    are absent in any other receipt. Which steps ran follows from the inputs' policies, and the cards that they name.
    """

    chain_id: int
    market: Address
    job_id: JobId
    evidence_hash: Bytes32
    enclave_key_hash: Bytes32
    workload_digest: Bytes32
    parameters_digest: Bytes32
    terms_digest: Bytes32
    inputs: tuple[ReceiptInput, ...]
    outcome: ReceiptOutcome
    privacy: Literal["exact", "dp"]
    units: int
    sandbox: tuple[str, ...]
    platform: str
    input_fault: Annotated[str, Meta(pattern=r"\A[a-z_]{1,64}\Z")] | UnsetType = UNSET
    notices: Annotated[tuple[SealedNotice, ...], Meta(min_length=1, max_length=2)] | UnsetType = UNSET


class Subject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the statement is about: in-toto's own spelling, names and algorithm-to-hex digests."""

    name: str
    digest: dict[str, str]


class Statement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """An in-toto v1 statement."""

    type_: Annotated[str, Meta(max_length=100)] = msgspec.field(name="_type", default=STATEMENT_TYPE)
    subject: tuple[Subject, ...]
    predicate_type: str = PREDICATE_TYPE
    predicate: ReceiptPredicate

    def canonical(self) -> bytes:
        """RFC 8785 bytes: DSSE signs bytes, and ours have one spelling."""
        return canonical_json(self)


class Envelope(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A DSSE envelope with one signature: 65 bytes r, s, v over Keccak-256 of the pre-authentication encoding."""

    payload_type: str
    payload: str
    signatures: tuple[dict[str, Any], ...]

    def canonical(self) -> bytes:
        """The bytes that are stored, and whose Keccak-256 is ``receiptHash``."""
        return canonical_json(self)


def pre_authentication_encoding(payload: bytes) -> bytes:
    """DSSE's PAE: what is signed, with the type bound in."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def signing_hash(statement: Statement) -> Bytes32:
    """What the enclave's key signs."""
    return keccak(pre_authentication_encoding(statement.canonical()))


def envelope(statement: Statement, signer: Address, signature: HexBytes) -> Envelope:
    """Put a statement and its 65-byte signature into a DSSE envelope."""
    return Envelope(
        payload_type=PAYLOAD_TYPE,
        payload=base64.b64encode(statement.canonical()).decode(),
        signatures=({"keyid": str(signer), "sig": base64.b64encode(signature).decode()},),
    )
