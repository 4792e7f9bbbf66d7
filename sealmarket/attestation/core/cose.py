"""COSE_Sign1 with ECDSA (RFC 9052, 4.2 and 9053, 2.1): read, and verified under a key that the caller trusts.

The algorithm in the protected header must be the one of the key's curve, so a token cannot choose a weaker one; the
unprotected header is carried and decides nothing. Both ``s`` and ``n - s`` verify: the name of a token is the digest of
``signed``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import cbor2
import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurve,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512

from sealmarket.attestation.core.cbor import read_cbor
from sealmarket.attestation.core.errors import refuse
from sealmarket.attestation.core.reasons import Reason

TAG_SIGN1 = 18
ALGORITHM = 1
"""The label of the algorithm in a header."""
ES256, ES384, ES512 = -7, -35, -36

_CURVES: dict[object, tuple[type[EllipticCurve], ECDSA]] = {
    ES256: (SECP256R1, ECDSA(SHA256())),
    ES384: (SECP384R1, ECDSA(SHA384())),
    ES512: (SECP521R1, ECDSA(SHA512())),
}
_NAMES: dict[object, str] = {ES256: "ES256", ES384: "ES384", ES512: "ES512"}


class Sign1(msgspec.Struct, frozen=True):
    """A COSE_Sign1, unproven: ``signed`` is its Sig_structure."""

    header: Mapping[Any, Any]
    unprotected: Mapping[Any, Any]
    payload: bytes
    signature: bytes
    signed: bytes

    @property
    def algorithm(self) -> object:
        """What the protected header says; None where it says nothing."""
        return self.header.get(ALGORITHM)


def read_sign1(item: object, what: str) -> Sign1:
    """A COSE_Sign1 out of a decoded item, tagged with 18 or not.

    Raises:
        EvidenceRefused: not four parts of the right kinds, or a protected header that is no map in its one spelling.
    """
    if isinstance(item, cbor2.CBORTag) and item.tag == TAG_SIGN1:
        item = item.value
    if not isinstance(item, list | tuple) or len(item) != 4:
        refuse(Reason.MALFORMED, f"{what}, an array of four", type(item).__name__)
    protected, unprotected, payload, signature = item
    if not all(isinstance(part, bytes) for part in (protected, payload, signature)):
        kinds = ", ".join(type(part).__name__ for part in item)
        refuse(Reason.MALFORMED, f"{what} of bytes, a map, bytes, bytes", kinds)
    if not isinstance(unprotected, Mapping):
        refuse(Reason.MALFORMED, f"a map as the unprotected header of {what}", type(unprotected).__name__)
    return Sign1(
        _header(protected, what), unprotected, payload, signature, cbor2.dumps(["Signature1", protected, b"", payload])
    )


@lru_cache(maxsize=256)
def _header(protected: bytes, what: str) -> Mapping[Any, Any]:
    """A protected header. Most tokens have one of few, so reading is remembered."""
    header = read_cbor(protected, f"the protected header of {what}") if protected else {}
    if not isinstance(header, Mapping):
        refuse(Reason.MALFORMED, f"a map as the protected header of {what}", type(header).__name__)
    return MappingProxyType(header)


def verify_sign1(token: Sign1, key: EllipticCurvePublicKey, what: str) -> None:
    """Prove that a key signed a token, under the algorithm of the key's curve.

    Raises:
        EvidenceRefused: another algorithm, a signature of another length, or one that does not verify.
    """
    named = token.algorithm
    curve, algorithm = _CURVES.get(named, (None, None)) if type(named) is int else (None, None)
    if curve is None or algorithm is None or not isinstance(key.curve, curve):
        wanted = next((_NAMES[a] for a, (c, _) in _CURVES.items() if isinstance(key.curve, c)), "no algorithm")
        found = _NAMES.get(named) if type(named) is int else None
        found = found or f"algorithm {named!r:.20}"
        refuse(Reason.SIGNATURE_ALGORITHM, f"{wanted} of {what}, as its key on {key.curve.name} signs", found)
    half = (key.key_size + 7) // 8
    if len(token.signature) != 2 * half:
        refuse(Reason.NON_CANONICAL, f"a signature of {2 * half} bytes on {what}", len(token.signature))
    r, s = int.from_bytes(token.signature[:half]), int.from_bytes(token.signature[half:])
    try:
        key.verify(encode_dss_signature(r, s), token.signed, algorithm)
    except InvalidSignature:
        refuse(Reason.SIGNATURE_INVALID, f"{what} signed by its key", "a signature that does not verify")


def point_on(curve: EllipticCurve, x: bytes, y: bytes, what: str) -> EllipticCurvePublicKey:
    """A public key from its coordinates.

    Raises:
        EvidenceRefused: coordinates of another length, or a point that is not on the curve.
    """
    half = (curve.key_size + 7) // 8
    if len(x) != half or len(y) != half:
        refuse(Reason.KEY_INVALID, f"{what} with coordinates of {half} bytes", f"{len(x)} and {len(y)}")
    numbers = EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), curve)
    try:
        return numbers.public_key()
    except ValueError:
        return refuse(Reason.KEY_INVALID, f"{what} on the curve {curve.name}", "a point that is not on it")
