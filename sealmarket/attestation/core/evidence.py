"""Evidence of some TEE as bytes, and the vendor endorsements that go with it: both untrusted until they are proven."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealmarket.attestation.core.certificates import (
    CERTIFICATE,
    CRL,
    MAXIMUM_BLOCKS,
    MAXIMUM_FILE,
    load_certificate,
    load_crl,
    pem_blocks,
    require_at_most,
)
from sealmarket.attestation.core.collateral import Collateral
from sealmarket.attestation.core.encoding import blob
from sealmarket.attestation.core.errors import CollateralError, NotEvidence
from sealmarket_enclave.protocol.numbers import Tee


@dataclass(frozen=True, slots=True, kw_only=True)
class VtpmQuote:
    """A paravisor's vTPM quote: what the TPM signed, its signature, and the registers that it is said to cover."""

    message: bytes
    signature: bytes
    pcrs: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Untrusted evidence of one TEE.

    ``raw`` is the device's own bytes; ``event_log`` a CCEL or dstack log that claims to explain registers;
    ``runtime_data`` what a paravisor hashed into the report data, ``vtpm`` its quote; ``certificates`` DER from the
    same file; ``source`` the format of the file.
    """

    tee: Tee
    raw: bytes
    event_log: bytes | None = None
    runtime_data: bytes | None = None
    vtpm: VtpmQuote | None = None
    certificates: tuple[bytes, ...] = ()
    source: str = "raw"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompositeEvidence:
    """Untrusted evidence of a machine: a CPU TEE, the quote in which it commits to devices, and the devices.

    ``cpu`` and ``binding`` are None where devices were sent alone.
    """

    cpu: Evidence | None
    binding: Evidence | None
    devices: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endorsements:
    """What the vendor signed about the platform: collateral, certificates and CRLs, in any order.

    ``documents`` are of formats that only the TEE's module reads, as bytes: manifests in XML, OCSP answers, CoRIMs.
    """

    collateral: Collateral | None = None
    certificates: tuple[x509.Certificate, ...] = ()
    crls: tuple[x509.CertificateRevocationList, ...] = ()
    documents: tuple[bytes, ...] = ()

    @classmethod
    def read(cls, files: Iterable[bytes], collateral: Collateral | None = None) -> Endorsements:
        """Sort files that hold DER or PEM certificates, chains and CRLs.

        Raises:
            CollateralError: a file holds none of these, or there are too many.
        """
        certificates: list[x509.Certificate] = []
        crls: list[x509.CertificateRevocationList] = []
        for raw in files:
            found, lists = read_endorsement(raw)
            certificates += found
            crls += lists
            require_at_most(MAXIMUM_BLOCKS, len(certificates) + len(crls), "certificates and CRLs in all files")
        return cls(collateral=collateral, certificates=tuple(certificates), crls=tuple(crls))

    def and_also(self, more: Endorsements) -> Endorsements:
        """These endorsements and others; the others' collateral takes the place of this one."""
        return Endorsements(
            collateral=more.collateral or self.collateral,
            certificates=(*self.certificates, *more.certificates),
            crls=(*self.crls, *more.crls),
            documents=(*self.documents, *more.documents),
        )


def read_endorsement(raw: bytes) -> tuple[list[x509.Certificate], list[x509.CertificateRevocationList]]:
    """The certificates and CRLs of one file in DER or PEM. Raises :class:`CollateralError`."""
    require_at_most(MAXIMUM_FILE, len(raw), "bytes of one file of certificates and CRLs")
    if blocks := pem_blocks(raw):
        certificates = [load_certificate(block.pem) for block in blocks if block.label == CERTIFICATE]
        return certificates, [load_crl(block.pem) for block in blocks if block.label == CRL]
    if raw.lstrip().startswith(b"-----BEGIN "):
        label = raw.lstrip()[len("-----BEGIN ") :][:40].partition(b"-----")[0].decode("ascii", "replace")
        raise CollateralError(
            f"a PEM file of {label!r} holds no certificate or CRL that is known here",
            remedy="write it as CERTIFICATE or X509 CRL: openssl x509 -in FILE -out NEW",
        )
    return _read_der(raw)


def _read_der(raw: bytes) -> tuple[list[x509.Certificate], list[x509.CertificateRevocationList]]:
    try:
        return [], [load_crl(raw)]
    except CollateralError as no_crl:
        try:
            return [load_certificate(raw)], []
        except CollateralError as error:
            raise CollateralError(
                f"an endorsement of {len(raw)} bytes is neither certificate ({error.message}) nor CRL "
                f"({no_crl.message})",
                remedy="pass DER or PEM certificates, chains or CRLs",
            ) from error


def certificates_in(value: object, name: str) -> tuple[bytes, ...]:
    """The certificates of an agent's JSON, in DER: a chain in PEM, or one certificate as bytes are written there.

    Raises:
        NotEvidence: it holds none.
    """
    raw = value.encode() if isinstance(value, str) and "-----BEGIN" in value else blob(value, name)
    try:
        found, _ = read_endorsement(raw)
    except CollateralError as error:
        raise NotEvidence(f"{name} holds no certificate: {error}") from error
    return tuple(certificate.public_bytes(Encoding.DER) for certificate in found)
