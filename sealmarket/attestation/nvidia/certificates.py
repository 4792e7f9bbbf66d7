"""Certificates of NVIDIA's two hierarchies: devices, and the signers of reference manifests; and what they prove.

    NVIDIA Device Identity CA <- NVIDIA GH100 Identity <- NVIDIA GH100 Provisioner ICA 1 <- GH100 A01 GSP BROM
        <- GH100 A01 GSP FMC LF, which signs reports
    NVIDIA CoRIM signing Root CA <- NVIDIA Reference Value GH100 CA <- NVIDIA Reference Value L3 GH100 002
        <- HCC RIM L4 Signer, which signs manifests

The rules of :func:`find_path`:

1. Every certificate is issued by the next, by name and by signature: ECDSA P-384 with SHA-384, each key on P-384.
2. Every issuer is a CA that may sign certificates; the leaf is none.
3. The path has the length of its hierarchy.
4. The last certificate signs itself, and its key is the pin of this hierarchy, or a development root's.

What time decides (validity, OCSP) is checked on each use and is not remembered.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from itertools import islice
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import SignatureAlgorithmOID

from sealmarket.attestation.core.cache import ProvenCache
from sealmarket.attestation.core.certificates import load_certificate
from sealmarket.attestation.core.errors import CollateralError, refuse
from sealmarket.attestation.core.pki import Window, certificate_window, common_name, spki_sha256
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.core.tee import Anchors
from sealmarket.attestation.core.unreadable import NOT_X509, touch
from sealmarket_enclave.protocol.numbers import Grade, Tee

DEVICE_LENGTH, RIM_LENGTH = 5, 4

_MAXIMUM_CERTIFICATES, _MAXIMUM_ISSUERS = 256, 8
"""Bounds of what is searched: certificates in all, and issuers of one name that are tried."""


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """One certificate, read as a whole: the parser is lazy, and raises late. Compared by identity."""

    certificate: x509.Certificate
    der: bytes
    fingerprint: bytes
    name: str
    serial: int
    key: EllipticCurvePublicKey
    spki: bytes
    is_authority: bool
    window: Window


@dataclass(frozen=True, slots=True)
class Path:
    """A proven path, leaf first, and the grade of its root."""

    links: tuple[Link, ...]
    grade: Grade

    @property
    def leaf(self) -> Link:
        """What signs."""
        return self.links[0]

    @property
    def windows(self) -> tuple[Window, ...]:
        """The validity of each certificate."""
        return tuple(link.window for link in self.links)


_signed: ProvenCache[bool] = ProvenCache(4096)


def load_der(raw: Sequence[bytes]) -> tuple[x509.Certificate, ...]:
    """Certificates that travelled with the evidence or in a manifest.

    Raises:
        EvidenceRefused: one of them is no certificate.
    """
    try:
        return tuple(_load(one) for one in raw)
    except CollateralError as error:
        return refuse(Reason.ENDORSEMENT_MALFORMED, "DER certificates with the evidence", error)


_load = lru_cache(maxsize=1024)(load_certificate)


@lru_cache(maxsize=1024)
def read_link(certificate: x509.Certificate) -> Link:
    """A certificate whose every part can be read; remembered by its bytes.

    Raises:
        EvidenceRefused: a part cannot be read, or its key is not on P-384.
    """
    try:
        with warnings.catch_warnings():
            # A serial number that is not positive: NVIDIA issues none, and no rule needs it.
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            touch(certificate)
            serial = certificate.serial_number
        key = certificate.public_key()
        extensions = [extension.value for extension in certificate.extensions]
        signs = any(isinstance(value, x509.KeyUsage) and value.key_cert_sign for value in extensions)
        authority = any(isinstance(value, x509.BasicConstraints) and value.ca for value in extensions)
        window = certificate_window(certificate, common_name(certificate))
        spki = spki_sha256(certificate)
    except (*NOT_X509, OverflowError, CollateralError) as error:
        return refuse(Reason.ENDORSEMENT_MALFORMED, "certificates that can be read", error)
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP384R1):
        refuse(Reason.CHAIN_INVALID, f"a P-384 key in {window.name}", type(key).__name__)
    der = certificate.public_bytes(Encoding.DER)
    return Link(
        certificate,
        der,
        sha256(der).digest(),
        window.name,
        serial,
        key,
        spki,
        signs and authority,
        window,
    )


class Names(NamedTuple):
    """By what certificates are chosen: subject and issuer in DER, and the subject's common name."""

    subject: bytes
    issuer: bytes
    common: str


@lru_cache(maxsize=4096)
def names_of(certificate: x509.Certificate) -> Names:
    """The names of any certificate; empty where they cannot be read, so that nothing chooses it."""
    try:
        return Names(certificate.subject.public_bytes(), certificate.issuer.public_bytes(), common_name(certificate))
    except NOT_X509:
        return Names(b"", b"", "")


def find_path(
    leaf: x509.Certificate, pool: Sequence[x509.Certificate], anchors: Anchors, *, pin: bytes, length: int
) -> Path:
    """Prove a leaf by the module's rules, out of certificates in any order.

    Args:
        leaf: the certificate that signs.
        pool: everything that was supplied.
        anchors: the trusted roots.
        pin: the SPKI hash of this hierarchy's root.
        length: how many certificates its paths have, both ends included.

    Raises:
        EvidenceRefused: the first rule that fails.
    """
    if len(pool) > _MAXIMUM_CERTIFICATES:
        refuse(Reason.ENDORSEMENT_MALFORMED, f"at most {_MAXIMUM_CERTIFICATES} certificates", len(pool))
    links = [read_link(leaf)]
    if links[0].is_authority:
        refuse(Reason.CHAIN_INVALID, "a leaf that signs no certificates", links[0].name)
    while len(links) < length:
        issuer = _issuer_of(links[-1], pool)
        if issuer.der == links[-1].der:
            refuse(Reason.CHAIN_INVALID, f"a path of {length} certificates", f"{len(links)}, the last {issuer.name}")
        links.append(issuer)
    root = links[-1]
    if not is_signed(root, root):
        refuse(Reason.CHAIN_INVALID, f"a root at the end of {length} certificates", root.name)
    grade = anchors.grade_of(Tee.NVIDIA, root.spki)
    if grade is None or (grade is Grade.HARDWARE and root.spki != pin):
        refuse(Reason.UNTRUSTED_ROOT, f"the pinned key {pin.hex()} of this hierarchy", f"{root.name} {root.spki.hex()}")
    return Path(tuple(links), grade)


def _issuer_of(link: Link, pool: Sequence[x509.Certificate]) -> Link:
    wanted = names_of(link.certificate).issuer
    named = (other for other in pool if names_of(other).subject == wanted)
    candidates = [read_link(certificate) for certificate in islice(named, _MAXIMUM_ISSUERS)]
    if not candidates:
        issuer = link.certificate.issuer.rfc4514_string()[:200]
        refuse(Reason.ENDORSEMENT_MISSING, f"{issuer}, which issued {link.name}", "not among the endorsements")
    for candidate in candidates:
        if is_signed(link, candidate):
            if not candidate.is_authority:
                refuse(Reason.CHAIN_INVALID, "an issuer that may sign certificates", candidate.name)
            return candidate
    return refuse(Reason.CHAIN_INVALID, f"{link.name} signed by its issuer", "a signature that does not verify")


def is_signed(link: Link, issuer: Link) -> bool:
    """Whether this issuer signed this certificate: remembered where it did."""
    name = link.fingerprint + issuer.fingerprint
    if _signed.get(name):
        return True
    if link.certificate.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA384:
        return False
    try:
        # This also holds the algorithm outside what is signed against the one inside (RFC 5280, 4.1.1.2).
        link.certificate.verify_directly_issued_by(issuer.certificate)
    except (InvalidSignature, *NOT_X509):
        return False
    return _signed.put(name, True)


def forget() -> None:
    """Drop everything that is remembered, as in a process that has just started."""
    _signed.clear()
    read_link.cache_clear()
    names_of.cache_clear()
    _load.cache_clear()
