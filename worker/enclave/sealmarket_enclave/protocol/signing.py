"""Recoverable secp256k1 signatures: 65 bytes r, s, v, as ``ecrecover`` and OpenZeppelin's ``ECDSA`` take them.

High-s signatures are refused: they are a second spelling of the same one (EIP-2). v is 27 or 28.
"""

from __future__ import annotations

import coincurve

from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.hashing import keccak

_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


class SignatureRefused(SealmarketError):
    """A signature is not one, or not by the expected account."""


def address_of(public_key: coincurve.PublicKey) -> Address:
    """The account of a public key."""
    return Address(keccak(public_key.format(compressed=False)[1:])[12:])


def sign(digest: Bytes32, key: coincurve.PrivateKey) -> HexBytes:
    """Sign a digest."""
    raw = key.sign_recoverable(digest, hasher=None)
    return HexBytes(raw[:64] + bytes([27 + raw[64]]))


def recover(digest: Bytes32, signature: bytes) -> Address:
    """The account that signed a digest.

    Raises:
        SignatureRefused: not 65 bytes, another v than 27 or 28, a high s, or no point on the curve.
    """
    if len(signature) != 65 or signature[64] not in (27, 28):
        raise SignatureRefused(f"expected 65 bytes r, s, v with v 27 or 28, found {len(signature)} bytes")
    if int.from_bytes(signature[32:64], "big") > _HALF_ORDER:
        raise SignatureRefused("the signature has a high s, a second spelling of it", remedy="sign with low s")
    try:
        key = coincurve.PublicKey.from_signature_and_message(
            signature[:64] + bytes([signature[64] - 27]), digest, hasher=None
        )
    except ValueError as error:
        raise SignatureRefused("the signature is not a point on the curve, so no account made it") from error
    return address_of(key)


def personal_digest(message: bytes) -> Bytes32:
    """What EIP-191 ``personal_sign`` signs: for words that no contract reads."""
    return keccak(b"\x19Ethereum Signed Message:\n" + str(len(message)).encode() + message)
