"""HPKE (RFC 9180, base mode) with ML-KEM-768 + X25519, HKDF-SHA-256 and AES-256-GCM: one suite.

Wire forms: a public key is ``ML-KEM-768 encapsulation key (1184) || X25519 public key (32)``, a private key
is ``ML-KEM-768 seed (64) || X25519 private key (32)``, a message is ``encapsulated secret || ciphertext ||
tag``. Base mode authenticates no sender: who must be known signs the hash of the message as well.
"""

from __future__ import annotations

import hmac
from typing import final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from sealmarket_enclave.protocol.codec import Bytes32, HexBytes
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.sealed.contexts import Context
from sealmarket_enclave.sealed.errors import InvalidHpkeKey, NotOpened

_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_MLKEM_PUBLIC, _MLKEM_SEED, _X25519 = 1184, 64, 32
PUBLIC_KEY_BYTES = _MLKEM_PUBLIC + _X25519
PRIVATE_KEY_BYTES = _MLKEM_SEED + _X25519
OVERHEAD_BYTES = 1088 + _X25519 + 16
"""What a message has beside its plaintext: the encapsulated secret (ML-KEM-768 ciphertext, X25519 key) and the tag."""


class PublicKeyBytes(HexBytes):
    """An HPKE public key on the wire: 1216 bytes."""

    length = PUBLIC_KEY_BYTES


_PROBE = X25519PrivateKey.from_private_bytes(bytes(range(32)))
"""Any private key shows whether a point gives a shared secret; it protects nothing."""


@final
class PublicKey:
    """A recipient's public key."""

    __slots__ = ("_key", "digest", "raw")

    def __init__(self, raw: bytes) -> None:
        """Raises :class:`InvalidHpkeKey` for bytes of another length, no key, or one to which nothing can be sealed.

        A point of small order decodes and gives no shared secret: a party that names one must be refused before work.
        """
        if len(raw) != PUBLIC_KEY_BYTES:
            raise InvalidHpkeKey("public", len(raw), PUBLIC_KEY_BYTES)
        try:
            mlkem = MLKEM768PublicKey.from_public_bytes(bytes(raw[:_MLKEM_PUBLIC]))
            x25519 = X25519PublicKey.from_public_bytes(bytes(raw[_MLKEM_PUBLIC:]))
            _PROBE.exchange(x25519)
        except ValueError:
            raise InvalidHpkeKey("public", "bytes that encode none", PUBLIC_KEY_BYTES) from None
        self.raw = PublicKeyBytes(bytes(raw))
        self._key = MLKEM768X25519PublicKey(mlkem, x25519)
        self.digest: Bytes32 = keccak(self.raw)
        """How contracts, decisions and contexts name this key: Keccak-256 of the wire form."""

    def seal(self, plaintext: bytes, context: Context) -> bytes:
        """Encrypt to this key, bound to ``context``.

        Raises:
            InvalidHpkeKey: a key that gives no shared secret (an X25519 point of small order).
        """
        try:
            return _SUITE.encrypt(plaintext, self._key, info=context.canonical())
        except ValueError:
            raise InvalidHpkeKey("public", "a point of small order", PUBLIC_KEY_BYTES) from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and other.raw == self.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"PublicKey(digest={self.digest})"


@final
class PrivateKey:
    """A recipient's private key. Its repr shows nothing secret; it does not pickle."""

    __slots__ = ("_key", "_raw", "public")

    def __init__(self, raw: bytes) -> None:
        """Raises :class:`InvalidHpkeKey` for bytes of another length."""
        if len(raw) != PRIVATE_KEY_BYTES:
            raise InvalidHpkeKey("private", len(raw), PRIVATE_KEY_BYTES)
        mlkem = MLKEM768PrivateKey.from_seed_bytes(bytes(raw[:_MLKEM_SEED]))
        x25519 = X25519PrivateKey.from_private_bytes(bytes(raw[_MLKEM_SEED:]))
        self._raw = bytes(raw)
        self._key = MLKEM768X25519PrivateKey(mlkem, x25519)
        public = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
        self.public = PublicKey(public)

    @classmethod
    def generate(cls) -> PrivateKey:
        """A fresh key from the system's randomness."""
        mlkem, x25519 = MLKEM768PrivateKey.generate(), X25519PrivateKey.generate()
        return cls(mlkem.private_bytes_raw() + x25519.private_bytes_raw())

    def secret_bytes(self) -> bytes:
        """The wire form, for a key backup file only."""
        return self._raw

    def open(self, message: bytes, context: Context) -> bytes:
        """Decrypt a message that was sealed to this key under the same context.

        Raises:
            NotOpened: altered, too short, sealed to another key, or under another context.
        """
        try:
            return _SUITE.decrypt(message, self._key, info=context.canonical())
        except (InvalidTag, ValueError):
            raise NotOpened(type(context).__name__) from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PrivateKey) and hmac.compare_digest(other._raw, self._raw)

    def __hash__(self) -> int:
        return hash(self.public)

    def __repr__(self) -> str:
        return f"PrivateKey(public digest={self.public.digest})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a private key is not pickled; use a key backup file")
