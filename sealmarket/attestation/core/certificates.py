"""Certificates and CRLs from PEM or DER: the only caller of their parsers, and the bounds of what it takes.

Every file is untrusted. One pass finds its PEM blocks; a block without an end is refused at once. What is too many, too
long, or under a key of another kind is refused before anything is computed with it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, SECP521R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.utils import CryptographyDeprecationWarning

from sealmarket.attestation.core.errors import CollateralError
from sealmarket.attestation.core.unreadable import NOT_X509

MAXIMUM_FILE = 4 << 20
"""One file of certificates and CRLs."""
MAXIMUM_CERTIFICATE = 16 << 10
"""One certificate in DER or PEM. Vendors' have 1 to 2 KiB."""
MAXIMUM_CRL = 1 << 20
"""One CRL in DER or PEM, about 25,000 revoked certificates."""
MAXIMUM_CHAIN_BYTES = 64 << 10
"""One chain in PEM. Vendors' have 3 to 6 KiB."""
MAXIMUM_BLOCKS = 64
"""Certificates and CRLs in one file, and in all files of one verification."""
MAXIMUM_RSA_BITS = 4096
MAXIMUM_RSA_EXPONENT = (1 << 32) - 1
_CURVES = (SECP256R1, SECP384R1, SECP521R1)

_BEGIN, _END, _DASHES = b"-----BEGIN ", b"-----END ", b"-----"
CERTIFICATE, CRL = b"CERTIFICATE", b"X509 CRL"
_LABELS = (CERTIFICATE, CRL)


class Block(NamedTuple):
    """One PEM block with its boundaries, and the label of them."""

    label: bytes
    pem: bytes


def require_at_most(limit: int, found: int, what: str) -> None:
    """Raise :class:`CollateralError`, which names both numbers, for more than the limit."""
    if found > limit:
        raise CollateralError(f"{what}: at most {limit}, found {found}", remedy="pass what the vendor issued, alone")


def pem_blocks(raw: bytes, maximum: int = MAXIMUM_BLOCKS) -> tuple[Block, ...]:
    """The certificates and CRLs of a PEM file in their order; text between blocks and other labels are passed over.

    Raises:
        CollateralError: more than ``maximum`` blocks, a block that does not end, or one that is too long.
    """
    found: list[Block] = []
    for block in _scan(raw):
        found.append(block)
        require_at_most(maximum, len(found), "certificates and CRLs in one file")
        require_at_most(_limit_of(block.label), len(block.pem), f"bytes of one PEM {block.label.decode()}")
    return tuple(found)


def _scan(raw: bytes) -> Iterator[Block]:
    """Both searches only move forward, and an end that is not there stops them: linear in the file."""
    start = raw.find(_BEGIN)
    while start >= 0:
        after = start + len(_BEGIN)
        label = next((known for known in _LABELS if raw.startswith(known + _DASHES, after)), None)
        if label is None:
            start = raw.find(_BEGIN, after)
            continue
        closing = _END + label + _DASHES
        end = raw.find(closing, after)
        if end < 0:
            raise CollateralError(
                f"the PEM {label.decode()} at byte {start} does not end", remedy="pass the whole file"
            )
        end += len(closing)
        yield Block(label, raw[start:end])
        start = raw.find(_BEGIN, end)


def _limit_of(label: bytes) -> int:
    return MAXIMUM_CERTIFICATE if label == CERTIFICATE else MAXIMUM_CRL


def load_certificate(raw: bytes) -> x509.Certificate:
    """One certificate in DER, or one PEM block of it; its key may still be unreadable.

    Raises:
        CollateralError: too long, no certificate, or an RSA key or curve beyond the bounds.
    """
    require_at_most(MAXIMUM_CERTIFICATE, len(raw), "bytes of one certificate")
    load = x509.load_pem_x509_certificate if raw.startswith(_BEGIN) else x509.load_der_x509_certificate
    with warnings.catch_warnings():
        # AMD gives every VCEK the serial number 0, which the parser warns about.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        try:
            certificate = load(raw)
        except NOT_X509 as error:
            raise CollateralError(f"not a certificate: {error}") from error
    _require_bounded_key(certificate)
    return certificate


def _require_bounded_key(certificate: x509.Certificate) -> None:
    try:
        key = certificate.public_key()
    except NOT_X509:
        return  # its reader refuses it, with the reason that belongs to its place in the chain
    if isinstance(key, EllipticCurvePublicKey):
        if not isinstance(key.curve, _CURVES):
            raise _unknown_key(key.curve.name)
    elif isinstance(key, RSAPublicKey):
        require_at_most(MAXIMUM_RSA_BITS, key.key_size, "bits of a certificate's RSA key")
        require_at_most(MAXIMUM_RSA_EXPONENT, key.public_numbers().e, "a certificate's RSA exponent")
    elif not isinstance(key, Ed25519PublicKey):
        raise _unknown_key(type(key).__name__)


def _unknown_key(kind: str) -> CollateralError:
    return CollateralError(f"a certificate's key: RSA, P-256, P-384, P-521 or Ed25519, found {kind[:80]}")


def load_crl(raw: bytes) -> x509.CertificateRevocationList:
    """One CRL in DER, or one PEM block of it; its entries are not read yet.

    Raises:
        CollateralError: too long, or no CRL.
    """
    require_at_most(MAXIMUM_CRL, len(raw), "bytes of one CRL")
    load = x509.load_pem_x509_crl if raw.startswith(_BEGIN) else x509.load_der_x509_crl
    try:
        return load(raw)
    except NOT_X509 as error:
        raise CollateralError(f"not a CRL: {error}") from error
