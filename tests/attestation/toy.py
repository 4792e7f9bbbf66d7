"""A toy TEE: one package's worth of code that a later vendor adds, for tests of the registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import NameOID

from sealmarket.attestation.core.errors import refuse
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.findings import Finding
from sealmarket.attestation.core.model import (
    _MAKER,
    AuthenticReport,
    MeasurementTuple,
    Platform,
    Tcb,
    TcbStatus,
    measurement_digest,
)
from sealmarket.attestation.core.pki import spki_sha256
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.core.tee import Anchors, TeeModule
from sealmarket_enclave.protocol.codec import Bytes32, Shape
from sealmarket_enclave.protocol.numbers import Tee

MAGIC = b"TOY!"
SIZE = len(MAGIC) + 32 + 64 + 64


class ToyMeasurement(Shape, frozen=True, kw_only=True, tag_field="tee", tag="cca"):
    """One hash."""

    image: Bytes32

    tee = Tee.CCA

    def digest(self) -> Bytes32:
        """The measurement's part of the market's allow-list leaf."""
        return measurement_digest(Tee.CCA, self.image)


@cache
def vendor_key() -> Ed25519PrivateKey:
    """The toy vendor's signing key, the same in all tests."""
    return Ed25519PrivateKey.from_private_bytes(sha256(b"toy vendor").digest())


@cache
def vendor_root() -> x509.Certificate:
    """The toy vendor's root, which signs reports itself."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Toy root")])
    builder = x509.CertificateBuilder(name, name, vendor_key().public_key(), 1)
    start = datetime(2025, 1, 1, tzinfo=UTC)
    valid = builder.not_valid_before(start).not_valid_after(start + timedelta(days=3650))
    return valid.sign(vendor_key(), None)


def toy_report(image: bytes, report_data: bytes) -> bytes:
    """A report that the toy vendor signed."""
    signed = MAGIC + image + report_data
    return signed + vendor_key().sign(signed)


@dataclass(frozen=True, slots=True)
class ToyBody:
    """Nothing beyond the common report."""

    def claims(self) -> Mapping[str, Any]:
        """Nothing."""
        return {}


class ToyModule(TeeModule):
    """The row of the registry."""

    tee = Tee.CCA
    pins = frozenset({spki_sha256(vendor_root())})
    measurement = ToyMeasurement

    def recognises(self, data: bytes) -> bool:
        """By its first four bytes."""
        return data[:4] == MAGIC

    def authenticate(
        self, evidence: Evidence, endorsements: Endorsements, anchors: Anchors, now: datetime
    ) -> AuthenticReport:
        """1. Layout. 2. A trusted root among the endorsements. 3. Its signature."""
        raw = evidence.raw
        if len(raw) != SIZE:
            refuse(Reason.MALFORMED, f"{SIZE} bytes", len(raw))
        root = next(iter(endorsements.certificates), None)
        if root is None:
            refuse(Reason.ENDORSEMENT_MISSING, "the toy root", "none")
        grade = anchors.grade_of(Tee.CCA, spki_sha256(root))
        if grade is None:
            refuse(Reason.UNTRUSTED_ROOT, "the toy root", root.subject.rfc4514_string())
        key = root.public_key()
        assert isinstance(key, Ed25519PublicKey)
        try:
            key.verify(raw[-64:], raw[:-64])
        except InvalidSignature:
            refuse(Reason.SIGNATURE_INVALID, "a report signed by the toy root", "another signature")
        return AuthenticReport(
            maker=_MAKER,
            tee=Tee.CCA,
            grade=grade,
            measurement=ToyMeasurement(image=Bytes32(raw[4:36])),
            report_data=raw[36:100],
            evidence_digest=Bytes32(sha256(raw[:-64]).digest()),
            tcb=Tcb(status=TcbStatus.NOT_RATED),
            platform=Platform(identity=b"toy"),
            debug=False,
            body=ToyBody(),
            authenticated_at=now,
        )

    def findings(
        self, report: AuthenticReport, rules: Shape | None, allowed: Sequence[MeasurementTuple], now: datetime
    ) -> Iterator[Finding]:
        """The toy vendor's own rule: no image of zeros."""
        assert rules is None
        assert allowed
        assert now.tzinfo is not None
        if isinstance(report.measurement, ToyMeasurement) and not any(report.measurement.image):
            yield Finding(Reason.PLATFORM_CONFIGURATION, "an image", "zeros")

    def claims(self, evidence: Evidence) -> dict[str, Any]:
        """The image."""
        return {"image": evidence.raw[4:36].hex()}

    def explain(self, rules: Shape | None) -> Iterator[str]:
        """One sentence."""
        assert rules is None
        yield "A toy must have an image."
