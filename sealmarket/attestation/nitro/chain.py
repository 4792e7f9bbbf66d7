"""AWS's certificates: from the root in the document's ``cabundle`` to the enclave's own leaf.

Chains (Nitro Enclaves user guide, "Root of trust")::

    root G1 (30 years) <- region (20 days) <- zone (days) <- instance (1 day) <- enclave (3 hours)

All keys are on P-384, all signatures ECDSA with SHA-384. The rules of :func:`prove_chain`:

1. The first certificate's key is pinned (by SPKI, never by name) and signed itself.
2. Each signed the next and is its issuer; each is an authority that may sign certificates and as many below itself.
3. The leaf is no authority and may sign data; no extension that is critical is unknown.

What time decides is checked on each use and is not part of what is remembered. AWS says that its revocation lists do
not apply to documents, so none is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePublicKey
from cryptography.x509.oid import SignatureAlgorithmOID

from sealmarket.attestation.core.cache import ProvenCache
from sealmarket.attestation.core.certificates import load_certificate
from sealmarket.attestation.core.errors import CollateralError, refuse
from sealmarket.attestation.core.pki import Window, certificate_window, common_name, spki_sha256
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.core.tee import Anchors
from sealmarket.attestation.core.unreadable import NOT_X509, touch
from sealmarket_enclave.protocol.numbers import Grade, Tee


@dataclass(frozen=True, slots=True)
class Chain:
    """A proven chain. ``windows`` go from the root to the leaf."""

    root_spki: bytes
    key: EllipticCurvePublicKey
    windows: tuple[Window, ...]
    expires: datetime


_chains: ProvenCache[Chain] = ProvenCache(1024)


def prove_chain(cabundle: tuple[bytes, ...], leaf: bytes, anchors: Anchors) -> tuple[Chain, Grade]:
    """Prove the certificates of a document; remembered by the fingerprint of all.

    Raises:
        EvidenceRefused: the first rule that fails.
    """
    whole = (*cabundle, leaf)
    lengths = [len(one).to_bytes(4) for one in whole]
    name = sha256(b"".join((len(whole).to_bytes(4), *lengths, *whole))).digest()
    known = _chains.get(name)
    if known is not None:
        return known, _grade(known.root_spki, anchors)
    certificates = [_load(one) for one in whole]
    root_spki = spki_sha256(certificates[0])
    grade = _grade(root_spki, anchors)
    return _chains.put(name, _prove(certificates, root_spki)), grade


def forget() -> None:
    """Drop everything that is remembered, as in a process that has just started."""
    _chains.clear()


def _grade(root_spki: bytes, anchors: Anchors) -> Grade:
    grade = anchors.grade_of(Tee.NITRO, root_spki)
    if grade is None:
        refuse(Reason.UNTRUSTED_ROOT, "the pinned AWS root key first in the cabundle", root_spki.hex())
    return grade


def _load(der: bytes) -> x509.Certificate:
    try:
        return touch(load_certificate(der))
    except (CollateralError, *NOT_X509) as error:
        return refuse(Reason.ENDORSEMENT_MALFORMED, "DER certificates in the Nitro document", error)


def _prove(certificates: list[x509.Certificate], root_spki: bytes) -> Chain:
    root, leaf = certificates[0], certificates[-1]
    _check_signed(root, root)
    for depth, (issuer, issued) in enumerate(pairwise(certificates)):
        _check_signed(issued, issuer)
        _check_authority(issuer, len(certificates) - depth - 2)
    key = _key(leaf)
    for certificate in certificates:
        _check_extensions(certificate)
    _check_leaf(leaf)
    windows = tuple(certificate_window(c, common_name(c) or "a certificate of the cabundle") for c in certificates)
    expires = datetime.fromtimestamp(min(window.end for window in windows), UTC)
    return Chain(root_spki, key, windows, expires)


def _key(certificate: x509.Certificate) -> EllipticCurvePublicKey:
    key = certificate.public_key()
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP384R1):
        refuse(Reason.CHAIN_INVALID, f"a P-384 key in {common_name(certificate)}", type(key).__name__)
    return key


def _check_signed(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    name = common_name(certificate)
    _key(issuer)
    if certificate.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA384:
        found = certificate.signature_algorithm_oid.dotted_string
        refuse(Reason.CHAIN_INVALID, f"{name} signed with ECDSA and SHA-384", found)
    try:
        # This also holds the algorithm outside what is signed against the one inside (RFC 5280, 4.1.1.2).
        certificate.verify_directly_issued_by(issuer)
    except InvalidSignature:
        refuse(Reason.CHAIN_INVALID, f"{name} signed by {common_name(issuer)}", "a signature that does not verify")
    except (ValueError, TypeError) as error:
        refuse(Reason.CHAIN_INVALID, f"{name} issued by {common_name(issuer)}", error)


def _extension(certificate: x509.Certificate, kind: type[x509.ExtensionType]) -> x509.ExtensionType | None:
    return next((e.value for e in certificate.extensions if isinstance(e.value, kind)), None)


def _check_authority(certificate: x509.Certificate, below: int) -> None:
    """``below``: how many authorities follow before the leaf."""
    usage = _extension(certificate, x509.KeyUsage)
    basic = _extension(certificate, x509.BasicConstraints)
    signs = isinstance(usage, x509.KeyUsage) and usage.key_cert_sign
    if not signs or not isinstance(basic, x509.BasicConstraints) or not basic.ca:
        refuse(Reason.CHAIN_INVALID, "an issuer that may sign certificates", common_name(certificate))
    if basic.path_length is not None and basic.path_length < below:
        refuse(Reason.CHAIN_INVALID, f"an issuer with {below} authorities below it", f"at most {basic.path_length}")


def _check_leaf(leaf: x509.Certificate) -> None:
    usage = _extension(leaf, x509.KeyUsage)
    basic = _extension(leaf, x509.BasicConstraints)
    if isinstance(basic, x509.BasicConstraints) and basic.ca:
        refuse(Reason.SIGNER_PURPOSE, "a leaf that is no authority", common_name(leaf))
    if not isinstance(usage, x509.KeyUsage) or not usage.digital_signature:
        refuse(Reason.SIGNER_PURPOSE, "a leaf that may sign data", common_name(leaf))


def _check_extensions(certificate: x509.Certificate) -> None:
    for extension in certificate.extensions:
        if extension.critical and not isinstance(extension.value, x509.BasicConstraints | x509.KeyUsage):
            refuse(Reason.CHAIN_INVALID, "known critical extensions", extension.oid.dotted_string)
