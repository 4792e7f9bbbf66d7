"""Manifests and OCSP answers as files: recognised by their first bytes, and named in a store. Nothing is proven.

A store keeps manifests by the driver or VBIOS that they are for, and answers by the serial number of the certificate
that they are about: :func:`documents_for` asks for those that a report and its chain name, so a verification reads as
many in a fleet as for one machine.
"""

from __future__ import annotations

import base64
import binascii
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256

from cryptography import x509
from cryptography.x509 import ocsp

from sealmarket.attestation.core.certificates import MAXIMUM_BLOCKS, require_at_most
from sealmarket.attestation.core.errors import CollateralError, EvidenceRefused
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.tee import DocumentName
from sealmarket.attestation.core.unreadable import NOT_X509
from sealmarket.attestation.nvidia.certificates import load_der, names_of, read_link
from sealmarket.attestation.nvidia.report import read_report, versions_of
from sealmarket.attestation.nvidia.rim import certificates_of, read_manifest

MAXIMUM_DOCUMENT = 128 << 10
"""One manifest or OCSP answer. Genuine manifests have 20 to 26 KiB."""
_XML = (b"<?xml ", b"<SoftwareIdentity")
_OCSP_STATUS, _OCSP_STATUS_BEFORE = b"\x0a\x01", 8
"""An OCSP answer starts with a sequence, of at most six bytes of header, whose first element is an enumeration."""
_DER_IN_BASE64 = b"MI"


def read_files(files: Iterable[bytes]) -> Endorsements:
    """Manifests, OCSP answers, and what :meth:`Endorsements.read` reads, in any order.

    Raises:
        CollateralError: a file holds none of these, or there are too many.
    """
    documents: list[bytes] = []
    others: list[bytes] = []
    for raw in files:
        document = read_document(raw)
        if document is None:
            others.append(raw)
        else:
            documents.append(document)
            require_at_most(MAXIMUM_BLOCKS, len(documents), "manifests and answers in all files")
    return Endorsements.read(others).and_also(Endorsements(documents=tuple(documents)))


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


def document_name(raw: bytes) -> DocumentName:
    """The name of a document in a store, and when it was issued: a newer answer takes the place of an older one.

    Manifests are named by their hash. An answer is named by the certificate that it is about.

    Raises:
        CollateralError: neither a manifest nor an answer that can be read.
    """
    if raw.startswith(b"\x30"):
        try:
            response = ocsp.load_der_ocsp_response(raw)
            about = response.issuer_key_hash + str(response.serial_number).encode()
            shelf = _answers_about(response.serial_number)
            return DocumentName(f"{sha256(about).hexdigest()}.ocsp", response.this_update_utc, shelf)
        except NOT_X509 as error:
            raise CollateralError(f"not an OCSP answer: {error}") from error
    try:
        shelf = _manifests_of(read_manifest(raw).version)
    except EvidenceRefused as refusal:
        raise CollateralError(f"not a manifest: {refusal}") from refusal
    return DocumentName(f"{sha256(raw).hexdigest()}.xml", None, shelf)


def documents_for(
    evidence: Evidence, certificates: Sequence[x509.Certificate], held: Callable[[str], tuple[bytes, ...]]
) -> tuple[bytes, ...]:
    """What a report names: manifests of its driver and VBIOS, answers about its chain and about their signers.

    Documents on the shelf without a name were stored before there were shelves: any evidence may name them.

    Raises:
        EvidenceRefused: the report cannot be read, or what is beside it is no certificate.
    """
    versions = versions_of(read_report(evidence.raw))
    manifests = [raw for version in versions for raw in held(_manifests_of(version)) if _is_manifest(raw)]
    signers = [signer for raw in manifests for signer in load_der(certificates_of(raw))]
    chain = _with_issuers(load_der(evidence.certificates), certificates)
    serials = dict.fromkeys(_serials((*chain, *signers)))
    answers = [raw for serial in serials for raw in held(_answers_about(serial))]
    return (*held(""), *manifests, *answers)


def _with_issuers(
    own: Sequence[x509.Certificate], certificates: Sequence[x509.Certificate]
) -> Sequence[x509.Certificate]:
    """What a path of evidence may hold: its own certificates, and those of the store that issued one of them by name,
    and so on. A machine that does not send a revoked certificate keeps no answer about it from its verifier."""
    if not own:
        return certificates
    by_subject: dict[bytes, list[x509.Certificate]] = defaultdict(list)
    for certificate in certificates:
        by_subject[names_of(certificate).subject].append(certificate)
    chain = list(own)
    for certificate in chain:
        chain += by_subject.pop(names_of(certificate).issuer, ())
    return chain


def _serials(certificates: Iterable[x509.Certificate]) -> Iterator[int]:
    """One that cannot be read is in no path, and keeps no answer about another from its verifier."""
    for certificate in certificates:
        with suppress(EvidenceRefused):
            yield read_link(certificate).serial


def _is_manifest(raw: bytes) -> bool:
    """Whether a store's file is still what was stored: one that was altered concerns itself alone."""
    try:
        read_manifest(raw)
        load_der(certificates_of(raw))
    except EvidenceRefused:
        return False
    return True


def _manifests_of(version: str) -> str:
    return f"manifests-{sha256(version.encode()).hexdigest()}"


def _answers_about(serial: int) -> str:
    return f"answers-{sha256(f'{serial:x}'.encode()).hexdigest()}"


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
