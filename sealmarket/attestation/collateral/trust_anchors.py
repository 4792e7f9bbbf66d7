"""Trust anchors: the roots under which evidence is authentic, and the grade that each gives.

Vendors' roots are pinned by the SHA-256 of their SubjectPublicKeyInfo, never by name: Intel's own samples
carry two certificates with the real root's distinguished name. The pins stand in each vendor's module. A development
root gives ``simulated`` and is refused unless the caller named it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealmarket.attestation.core.certificates import load_certificate
from sealmarket.attestation.core.errors import AttestationError, CollateralError
from sealmarket.attestation.core.pki import spki_sha256
from sealmarket.attestation.registry import pins
from sealmarket_enclave.protocol.numbers import Grade, Tee


@dataclass(frozen=True)
class TrustAnchors:
    """The trusted roots. ``TrustAnchors.production()`` holds the vendors'; ``with_development`` adds simulated ones.

    ``pins`` maps each TEE to the SPKI hashes of its vendor's roots. ``development`` holds certificates in DER: a
    device's root is made on the machine that runs it. ``development_keys`` are SPKI hashes of roots that no certificate
    holds (CCA's platform keys).
    """

    pins: Mapping[Tee, frozenset[bytes]] = field(default_factory=pins)
    development: tuple[bytes, ...] = ()
    development_keys: frozenset[bytes] = frozenset()

    def __post_init__(self) -> None:
        spkis = self.development_keys | {spki_sha256(_load(der)) for der in self.development}
        for tee, pinned in self.pins.items():
            if spkis & pinned:
                raise AttestationError(f"a vendor's root for {tee.slug} cannot also be a development root")
        object.__setattr__(self, "_development_spkis", spkis)

    @classmethod
    def production(cls) -> TrustAnchors:
        """The vendors' roots and nothing else."""
        return cls()

    def with_development(self, *roots: bytes) -> TrustAnchors:
        """These roots, and the given DER certificates as development roots (grade ``simulated``)."""
        return replace(self, development=(*self.development, *roots))

    def with_development_keys(self, spkis: Iterable[bytes]) -> TrustAnchors:
        """These roots, and keys by their SPKI hashes as development roots."""
        return replace(self, development_keys=self.development_keys | frozenset(spkis))

    def grade_of(self, tee: Tee, spki: bytes) -> Grade | None:
        """The grade of evidence under a root with this SPKI hash; None when the root is not trusted."""
        if spki in self.pins.get(tee, frozenset()):
            return Grade.HARDWARE
        development: frozenset[bytes] = getattr(self, "_development_spkis")  # noqa: B009
        return Grade.SIMULATED if spki in development else None

    @property
    def names_development(self) -> bool:
        """Whether any development root is trusted."""
        return bool(self.development or self.development_keys)

    def development_roots(self) -> Iterable[x509.Certificate]:
        """The development roots as certificates."""
        return tuple(_load(der) for der in self.development)


def _load(der: bytes) -> x509.Certificate:
    try:
        return load_certificate(der)
    except CollateralError as error:
        raise AttestationError(f"a development root is a DER certificate: {error}") from error


def self_signed_roots(anchors: TrustAnchors, certificates: Iterable[x509.Certificate]) -> tuple[bytes, ...]:
    """The certificates that sign themselves and are no vendor's root: candidates for development roots, in DER."""
    pinned = frozenset().union(*anchors.pins.values())
    return tuple(
        certificate.public_bytes(Encoding.DER)
        for certificate in certificates
        if certificate.subject == certificate.issuer and spki_sha256(certificate) not in pinned
    )
