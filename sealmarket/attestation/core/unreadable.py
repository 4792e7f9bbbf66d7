"""What the readers of foreign formats raise on bytes that are not of their format: caught together, never one short."""

from __future__ import annotations

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

NOT_X509 = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""A certificate or CRL that cannot be read, or whose key or extensions cannot."""


def touch(certificate: x509.Certificate) -> x509.Certificate:
    """Read what ``cryptography`` leaves unread until it is asked for, so that it fails here or nowhere.

    Raises:
        one of ``NOT_X509``.
    """
    for _ in (certificate.subject, certificate.issuer, certificate.extensions, certificate.public_key()):
        pass
    if certificate.not_valid_before_utc > certificate.not_valid_after_utc:
        raise ValueError("a validity that ends before it starts")
    return certificate


NOT_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""Bytes that are no JSON, or JSON of another shape."""
