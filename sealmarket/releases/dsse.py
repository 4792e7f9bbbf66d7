"""DSSE envelopes (1.0.2) signed with ECDSA P-256 and SHA-256, as Sigstore's tools sign and check them with a key file.

``cosign verify-blob-attestation --key KEY`` reads what is written here; no network service takes part.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from msgspec import Meta

from sealmarket.releases.errors import ProvenanceRefused, PublisherKeyRefused
from sealmarket_enclave.protocol.codec import Shape
from sealmarket_enclave.protocol.receipt import PAYLOAD_TYPE, pre_authentication_encoding

_LONGEST_KEY = 4096


class EnvelopeSignature(Shape, frozen=True, kw_only=True):
    """One signature, DER in base64. ``keyid`` is a hint that no reader relies on."""

    sig: Annotated[str, Meta(max_length=400)]
    keyid: Annotated[str, Meta(max_length=200)] = ""


class SignedStatement(Shape, frozen=True, kw_only=True):
    """A DSSE envelope. ``payload`` is base64."""

    payload: str
    payload_type: Annotated[str, Meta(max_length=100)]
    signatures: Annotated[tuple[EnvelopeSignature, ...], Meta(min_length=1, max_length=8)]


def sign(payload: bytes, key: EllipticCurvePrivateKey) -> SignedStatement:
    """An envelope with one signature."""
    signature = key.sign(pre_authentication_encoding(payload), ECDSA(SHA256()))
    return SignedStatement(
        payload=base64.b64encode(payload).decode(),
        payload_type=PAYLOAD_TYPE,
        signatures=(EnvelopeSignature(sig=base64.b64encode(signature).decode()),),
    )


def verified(envelope: SignedStatement, keys: Sequence[EllipticCurvePublicKey]) -> bytes:
    """The payload, which one of the keys signed.

    Raises:
        ProvenanceRefused: none did, or it is an envelope of something else.
    """
    if envelope.payload_type != PAYLOAD_TYPE:
        raise ProvenanceRefused(f"a payload of type {PAYLOAD_TYPE}", envelope.payload_type)
    payload = _decoded(envelope.payload)
    signed = pre_authentication_encoding(payload)
    for signature in envelope.signatures:
        raw = _decoded(signature.sig)
        if any(_signs(key, raw, signed) for key in keys):
            return payload
    raise ProvenanceRefused(f"a signature by one of {len(keys)} named keys", "none")


def private_key(pem: bytes) -> EllipticCurvePrivateKey:
    """A publisher's key from PKCS 8 in PEM, unencrypted. Raises :class:`PublisherKeyRefused` for another."""
    try:
        key = load_pem_private_key(pem[:_LONGEST_KEY], None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise PublisherKeyRefused("private", "an encrypted one" if b"ENCRYPTED" in pem else "none") from None
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise PublisherKeyRefused("private", "one of another algorithm or curve")
    return key


def public_key(pem: bytes) -> EllipticCurvePublicKey:
    """A publisher's public key from PEM. Raises :class:`PublisherKeyRefused` for another."""
    try:
        key = load_pem_public_key(pem[:_LONGEST_KEY])
    except (ValueError, UnsupportedAlgorithm):
        raise PublisherKeyRefused("public", "a private one" if b"PRIVATE" in pem else "none") from None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise PublisherKeyRefused("public", "one of another algorithm or curve")
    return key


def _signs(key: EllipticCurvePublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProvenanceRefused("base64", str(error)[:100]) from None
