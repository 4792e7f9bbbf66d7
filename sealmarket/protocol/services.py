"""Services as their providers tell of them (docs/spec/session.md, "For users"). Nothing in it is trusted.

The host of a service shows its document. The market lists its address, which the provider signed; a list is unchecked
until each service in it was held against the chain, and no user asks one before its evidence was verified as well.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from sealmarket_enclave.protocol.codec import Bytes32, HexBytes, Shape
from sealmarket_enclave.protocol.eip712 import TypedShape
from sealmarket_enclave.protocol.job import MAX_ASSETS, JobSpec
from sealmarket_enclave.protocol.numbers import JobId, Timestamp
from sealmarket_enclave.protocol.policy import PolicyDocument
from sealmarket_enclave.protocol.session import SessionTerms, SignedStatement
from sealmarket_enclave.protocol.terms import Seal

MAX_SERVICE = 16 << 20
"""Bytes of the document."""
LONGEST_URL = 200
_PORT = r"[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
_LABEL = r"(?![Xx][Nn]--)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
URL_PATTERN = rf"\Ahttps?://{_LABEL}(?:\.{_LABEL})*(?::(?:{_PORT}))?(?:/[A-Za-z0-9_~-]+)*\Z"
"""A name or an IPv4 address, a port, a path; no account, query or fragment, no name that reads as another (IDNA), and
nothing that a terminal would obey."""
ServiceUrl = Annotated[str, Meta(pattern=URL_PATTERN, max_length=LONGEST_URL)]


class ServiceDocument(Shape, frozen=True, kw_only=True):
    """The public document of a service. Seals and policies are in the order of the job's assets.

    ``enclave_key`` is the HPKE public key to which requests are sealed, ``statement`` the newest one.
    """

    version: Literal["sealmarket/service/1"] = "sealmarket/service/1"
    spec: JobSpec
    terms: SessionTerms
    seals: Annotated[tuple[Seal, ...], Meta(max_length=MAX_ASSETS)]
    policies: Annotated[tuple[PolicyDocument, ...], Meta(max_length=MAX_ASSETS)]
    evidence_hash: Bytes32
    enclave_key: HexBytes
    statement: SignedStatement | None = None


class EvidenceRequest(Shape, frozen=True, kw_only=True):
    """What a user sends for evidence: the HPKE public key of the user to which the package is sealed."""

    key: HexBytes


class ServiceAddress(TypedShape, frozen=True, kw_only=True):
    """Where users reach the host of a service. Its provider signs it; ``signed_at`` is the provider's own clock."""

    EIP712: ClassVar[str] = "ServiceAddress(bytes32 jobId,string url,uint64 signedAt)"

    job_id: JobId
    url: ServiceUrl
    signed_at: Timestamp


class SignedServiceAddress(Shape, frozen=True, kw_only=True):
    """An address as it travels."""

    address: ServiceAddress
    signature: HexBytes
