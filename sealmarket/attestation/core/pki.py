"""What the certificates of every vendor have in common: names, key fingerprints and validity periods."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from sealmarket.attestation.core.errors import CollateralError, refuse
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.core.unreadable import NOT_X509


class Window(NamedTuple):
    """When one signed thing holds, in Unix seconds, both ends included."""

    name: str
    start: int
    end: int


def check_windows(windows: Sequence[Window], now: int) -> None:
    """Refuse at the first thing that is not yet, or no longer, valid."""
    for window in windows:
        if now < window.start:
            refuse(Reason.ENDORSEMENT_FUTURE, f"{window.name} signed before {_say(now)}", _say(window.start))
        if now > window.end:
            refuse(
                Reason.ENDORSEMENT_EXPIRED,
                f"{window.name} valid at {_say(now)}",
                f"expired {_say(window.end)}",
            )


def _say(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def seconds(moment: datetime) -> int:
    """Unix seconds of a moment with a zone."""
    return int(moment.timestamp())


def certificate_window(certificate: x509.Certificate, name: str) -> Window:
    """A certificate's validity."""
    return Window(name, seconds(certificate.not_valid_before_utc), seconds(certificate.not_valid_after_utc))


def common_name(certificate: x509.Certificate) -> str:
    """The subject's one common name, or an empty string."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else ""


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
