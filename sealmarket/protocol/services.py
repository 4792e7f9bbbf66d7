"""Services as their providers tell of them (docs/spec/session.md, "For users"). Nothing in it is trusted.

The host of a service shows its document. The market lists its address, which the provider signed; a list is unchecked
until each service in it was held against the chain, and no user asks one before its evidence was verified as well.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec
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
LONGEST_URL, LONGEST_LABEL, LARGEST_PORT = 200, 63, 65_535
ServiceUrl = Annotated[str, Meta(pattern=r"\Ahttps?://[A-Za-z0-9._~:/-]+\Z", max_length=LONGEST_URL)]


def require_reachable(url: str) -> None:
    """Refuse all but ``http`` or ``https``, a name or an IPv4 address, perhaps a port and a path.

    No account, query or fragment, no name that reads as another (IDNA), nothing that a terminal would obey.

    Raises:
        ValueError: naming the part.
    """
    try:
        msgspec.convert(url, ServiceUrl)
    except msgspec.ValidationError as error:
        raise ValueError(f"the address is not of the form https://host:port/path: {error}") from error
    authority, slash, path = url.partition("://")[2].partition("/")
    host, colon, port = authority.partition(":")
    if not all(map(_is_label, host.split("."))):
        raise ValueError(f"{host!r} is no name of a host, and no IPv4 address")
    if colon and not (port.isdigit() and not port.startswith("0") and len(port) <= 5 and int(port) <= LARGEST_PORT):
        raise ValueError(f"{port!r} is no port")
    if slash and not all(part and not set(part) & {".", ":"} for part in path.split("/")):
        raise ValueError(f"{path!r} is no path of plain words")


def _is_label(label: str) -> bool:
    plain = label.replace("-", "a").isalnum() and not label.startswith("-") and not label.endswith("-")
    return plain and len(label) <= LONGEST_LABEL and not label.lower().startswith("xn--")


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

    def __post_init__(self) -> None:
        require_reachable(self.url)


class SignedServiceAddress(Shape, frozen=True, kw_only=True):
    """An address as it travels."""

    address: ServiceAddress
    signature: HexBytes
