"""What the provider's host tells users of a service (docs/spec/session.md, "For users"). Nothing in it is trusted."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from sealmarket_enclave.protocol.codec import Bytes32, HexBytes, Shape
from sealmarket_enclave.protocol.job import MAX_ASSETS, JobSpec
from sealmarket_enclave.protocol.policy import PolicyDocument
from sealmarket_enclave.protocol.session import SessionTerms, SignedStatement
from sealmarket_enclave.protocol.terms import Seal

MAX_SERVICE = 16 << 20
"""Bytes of the document."""


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
