"""Evidence of some TEE as bytes, and the vendor endorsements that go with it: both untrusted until they are proven."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from cryptography import x509
from cryptography.x509 import ocsp

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
from sealmarket.attestation.core.errors import CollateralError
from sealmarket.attestation.core.unreadable import NOT_X509
from sealmarket_enclave.protocol.numbers import Tee

MAXIMUM_DOCUMENT = 128 << 10
"""One manifest or OCSP answer. Genuine manifests have 20 to 26 KiB."""
_XML = (b"<?xml ", b"<SoftwareIdentity")
_OCSP_STATUS, _OCSP_STATUS_BEFORE = b"\x0a\x01", 8
"""An OCSP answer starts with a sequence, of at most six bytes of header, whose first element is an enumeration."""
_DER_IN_BASE64 = b"MI"


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

    ``documents`` are signed in a format of the vendor's own, which its module reads: manifests in XML, OCSP answers.
    """

    collateral: Collateral | None = None
    certificates: tuple[x509.Certificate, ...] = ()
    crls: tuple[x509.CertificateRevocationList, ...] = ()
    documents: tuple[bytes, ...] = ()

    @classmethod
    def read(cls, files: Iterable[bytes], collateral: Collateral | None = None) -> Endorsements:
        """Sort files that hold DER or PEM certificates, chains and CRLs, or one document of a vendor's own format.

        Raises:
            CollateralError: a file holds none of these, or there are too many.
        """
        documents: list[bytes] = []
        certificates: list[x509.Certificate] = []
        crls: list[x509.CertificateRevocationList] = []
        for raw in files:
            if (document := read_document(raw)) is not None:
                documents.append(document)
                require_at_most(MAXIMUM_BLOCKS, len(documents), "manifests and answers in all files")
                continue
            found, lists = read_endorsement(raw)
            certificates += found
            crls += lists
            require_at_most(MAXIMUM_BLOCKS, len(certificates) + len(crls), "certificates and CRLs in all files")
        return cls(
            collateral=collateral, certificates=tuple(certificates), crls=tuple(crls), documents=tuple(documents)
        )

    def with_files(self, files: Iterable[bytes]) -> Endorsements:
        """These endorsements and those of further files. Raises :class:`CollateralError`."""
        return self.and_also(Endorsements.read(files))

    def and_also(self, more: Endorsements) -> Endorsements:
        """These endorsements and others; the others' collateral takes the place of this one."""
        return Endorsements(
            collateral=more.collateral or self.collateral,
            certificates=(*self.certificates, *more.certificates),
            crls=(*self.crls, *more.crls),
            documents=(*self.documents, *more.documents),
        )


def read_document(raw: bytes) -> bytes | None:
    """One document of a vendor's own format, recognised by its first bytes; None for anything else.

    XML (a reference manifest), or an OCSP answer in DER, which some servers wrap into base64.

    Raises:
        CollateralError: it is longer than any.
    """
    document = raw if _is_document(raw) else _from_base64(raw)
    if document is not None:
        require_at_most(MAXIMUM_DOCUMENT, len(document), "bytes of one manifest or answer")
    return document


def document_name(raw: bytes) -> tuple[str, datetime | None]:
    """The name of a document in a store, and when it was issued: a newer answer takes the place of an older one.

    Manifests are named by their hash. An answer is named by the certificate that it is about.
    """
    if raw.startswith(b"\x30"):
        try:
            response = ocsp.load_der_ocsp_response(raw)
            about = response.issuer_key_hash + str(response.serial_number).encode()
            return f"{sha256(about).hexdigest()}.ocsp", response.this_update_utc
        except NOT_X509 as error:
            raise CollateralError(f"not an OCSP answer: {error}") from error
    return f"{sha256(raw).hexdigest()}.xml", None


def _is_document(raw: bytes) -> bool:
    return raw.startswith(_XML) or (raw.startswith(b"\x30") and _OCSP_STATUS in raw[:_OCSP_STATUS_BEFORE])


def _from_base64(raw: bytes) -> bytes | None:
    if not raw.startswith(_DER_IN_BASE64) or len(raw) > 2 * MAXIMUM_DOCUMENT:
        return None
    try:
        document = base64.b64decode(b"".join(raw.split()), validate=True)
    except binascii.Error:
        return None
    return document if _is_document(document) else None


def read_endorsement(raw: bytes) -> tuple[list[x509.Certificate], list[x509.CertificateRevocationList]]:
    """The certificates and CRLs of one file in DER or PEM. Raises :class:`CollateralError`."""
    require_at_most(MAXIMUM_FILE, len(raw), "bytes of one file of certificates and CRLs")
    if blocks := pem_blocks(raw):
        certificates = [load_certificate(block.pem) for block in blocks if block.label == CERTIFICATE]
        return certificates, [load_crl(block.pem) for block in blocks if block.label == CRL]
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
