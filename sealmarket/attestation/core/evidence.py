"""Evidence of some TEE as bytes, and the vendor endorsements that go with it: both untrusted until they are proven."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning

from sealmarket.attestation.core.collateral import Collateral
from sealmarket.attestation.core.errors import CollateralError
from sealmarket.attestation.core.unreadable import NOT_X509
from sealmarket_enclave.protocol.numbers import Tee


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Untrusted evidence of one TEE.

    ``raw`` is the device's own bytes; ``event_log`` a CCEL or dstack log that claims to explain registers;
    ``runtime_data`` what a paravisor hashed into the report data; ``certificates`` DER from the same file;
    ``source`` the format of the file.
    """

    tee: Tee
    raw: bytes
    event_log: bytes | None = None
    runtime_data: bytes | None = None
    certificates: tuple[bytes, ...] = ()
    source: str = "raw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endorsements:
    """What the vendor signed about the platform: collateral, certificates and CRLs, in any order."""

    collateral: Collateral | None = None
    certificates: tuple[x509.Certificate, ...] = ()
    crls: tuple[x509.CertificateRevocationList, ...] = ()

    @classmethod
    def read(cls, files: Iterable[bytes], collateral: Collateral | None = None) -> Endorsements:
        """Sort files that hold DER or PEM certificates, chains and CRLs.

        Raises:
            CollateralError: a file holds neither.
        """
        certificates: list[x509.Certificate] = []
        crls: list[x509.CertificateRevocationList] = []
        for raw in files:
            found, lists = read_endorsement(raw)
            certificates += found
            crls += lists
        return cls(collateral=collateral, certificates=tuple(certificates), crls=tuple(crls))

    def with_files(self, files: Iterable[bytes]) -> Endorsements:
        """These endorsements and those of further files. Raises :class:`CollateralError`."""
        return self.and_also(Endorsements.read(files))

    def and_also(self, more: Endorsements) -> Endorsements:
        """These endorsements and others; the others' collateral takes the place of this one."""
        return Endorsements(
            collateral=more.collateral or self.collateral,
            certificates=(*self.certificates, *more.certificates),
            crls=(*self.crls, *more.crls),
        )


_PEM = re.compile(rb"-----BEGIN (CERTIFICATE|X509 CRL)-----.+?-----END \1-----", re.DOTALL)


def read_endorsement(raw: bytes) -> tuple[list[x509.Certificate], list[x509.CertificateRevocationList]]:
    """The certificates and CRLs of one file in DER or PEM. Raises :class:`CollateralError`."""
    with warnings.catch_warnings():
        # AMD gives every VCEK the serial number 0, which the parser warns about.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        return _read_blocks(raw, list(_PEM.finditer(raw)))


def _read_blocks(
    raw: bytes, blocks: list[re.Match[bytes]]
) -> tuple[list[x509.Certificate], list[x509.CertificateRevocationList]]:
    try:
        if blocks:
            certificates = [x509.load_pem_x509_certificate(b[0]) for b in blocks if b[1] == b"CERTIFICATE"]
            return certificates, [x509.load_pem_x509_crl(b[0]) for b in blocks if b[1] == b"X509 CRL"]
    except NOT_X509 as error:
        raise CollateralError(f"an endorsement's PEM cannot be read: {error}") from error
    try:
        return [x509.load_der_x509_certificate(raw)], []
    except NOT_X509:
        pass  # not a certificate: a CRL is the other thing that DER may hold, tried next
    try:
        return [], [x509.load_der_x509_crl(raw)]
    except NOT_X509 as error:
        raise CollateralError(
            f"an endorsement of {len(raw)} bytes is neither certificate nor CRL: {error}",
            remedy="pass DER or PEM certificates, chains or CRLs",
        ) from error
