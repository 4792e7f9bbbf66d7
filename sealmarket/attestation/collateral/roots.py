"""Which roots may vouch for evidence, and what grade each gives.

Production roots are pinned by the SHA-256 of their SubjectPublicKeyInfo, never by name: Intel's own samples
carry two certificates with the real root's distinguished name. A development root gives ``simulated`` and
is refused unless the caller named it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealmarket.attestation.core.errors import AttestationError, CollateralError
from sealmarket.attestation.core.model import Grade, Tee
from sealmarket.attestation.core.unreadable import NOT_X509

INTEL_ROOT_SPKI = bytes.fromhex("a0af031289f5d5d4132f9186068a7fc13628633ba235777472e29b6b6c67a49e")
"""Intel SGX Root CA, valid 2018-05-21 to 2049-12-31."""

ARK_MILAN_SPKI = bytes.fromhex("9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9")
ARK_GENOA_SPKI = bytes.fromhex("429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831")
ARK_TURIN_SPKI = bytes.fromhex("4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08")

_PRODUCTION: Mapping[Tee, frozenset[bytes]] = MappingProxyType(
    {
        Tee.SGX: frozenset({INTEL_ROOT_SPKI}),
        Tee.TDX: frozenset({INTEL_ROOT_SPKI}),
        Tee.SNP: frozenset({ARK_MILAN_SPKI, ARK_GENOA_SPKI, ARK_TURIN_SPKI}),
    }
)


def spki_sha256(certificate: x509.Certificate) -> bytes:
    """The SHA-256 of a certificate's public key in SubjectPublicKeyInfo form: what pins name.

    Raises:
        CollateralError: the key cannot be read.
    """
    try:
        key = certificate.public_key()
    except NOT_X509 as error:
        raise CollateralError(f"a certificate's key cannot be read: {error}") from error
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


@dataclass(frozen=True)
class Roots:
    """The trusted roots. ``Roots.production()`` holds the vendors'; ``with_development`` adds simulated ones.

    ``development`` holds certificates in DER: a device's root is made on the machine that runs it.
    """

    pins: Mapping[Tee, frozenset[bytes]] = field(default_factory=lambda: _PRODUCTION)
    development: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        spkis = frozenset(spki_sha256(_load(der)) for der in self.development)
        for tee, pinned in self.pins.items():
            if spkis & pinned:
                raise AttestationError(f"a vendor's root for {tee.value} cannot also be a development root")
        object.__setattr__(self, "_development_spkis", spkis)

    @classmethod
    def production(cls) -> Roots:
        """The vendors' roots and nothing else."""
        return cls()

    def with_development(self, *roots: bytes) -> Roots:
        """These roots, and the given DER certificates as development roots (grade ``simulated``)."""
        return Roots(self.pins, (*self.development, *roots))

    def grade_of(self, tee: Tee, spki: bytes) -> Grade | None:
        """What evidence under a root with this SPKI hash is worth, None when it is not trusted at all."""
        if spki in self.pins.get(tee, frozenset()):
            return Grade.HARDWARE
        development: frozenset[bytes] = getattr(self, "_development_spkis")  # noqa: B009
        return Grade.SIMULATED if spki in development else None

    def development_roots(self) -> Iterable[x509.Certificate]:
        """The development roots as certificates."""
        return tuple(_load(der) for der in self.development)


def _load(der: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(der)
    except NOT_X509 as error:
        raise AttestationError(f"a development root is a DER certificate: {error}") from error


def self_signed_roots(roots: Roots, certificates: Iterable[x509.Certificate]) -> tuple[bytes, ...]:
    """Those among certificates that sign themselves and are no vendor's root: what a caller may name in
    development."""
    pinned = frozenset().union(*roots.pins.values())
    return tuple(
        certificate.public_bytes(Encoding.DER)
        for certificate in certificates
        if certificate.subject == certificate.issuer and spki_sha256(certificate) not in pinned
    )
