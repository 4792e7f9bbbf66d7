"""Encrypted keys of accounts: version 3 of the Web3 Secret Storage, which Ethereum's wallets read and write.

1. The passphrase makes 32 bytes by scrypt, or by PBKDF2 with HMAC-SHA-256, as the file says and within limits: a file
   of somebody else's takes no more memory and time than a wallet's.
2. The second half of them authenticates the ciphertext (Keccak-256); only then the first half opens it (AES-128-CTR).

The primitives are those of ``cryptography`` and ``pycryptodome``. Ethereum's own library, ``eth_keyfile``, computes
tables of another curve when it is imported, and raises the interpreter's limit of recursion to a hundred thousand.
"""

from __future__ import annotations

import hmac
import secrets
import uuid
from typing import Any, Literal

import coincurve
import msgspec
from Crypto.Protocol.KDF import scrypt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.signing import address_of

LOG_N = 18
"""Of scrypt's cost, as wallets choose it: 256 MiB and about a second."""
_R, _P = 8, 1
_KEY_BYTES = 32
_MOST_BYTES = 1 << 30
"""Memory that scrypt may take."""
_MOST_WORK = 1 << 26
"""Blocks that scrypt may mix: 32 times those of a wallet's file."""
_MOST_ROUNDS = 10_000_000
"""Of PBKDF2: some seconds."""
_MOST_CIPHERTEXT = 1024
"""Hex digits."""


class _Parameters(msgspec.Struct, frozen=True):
    dklen: int
    salt: str
    n: int = 0
    r: int = 0
    p: int = 0
    c: int = 0
    prf: str = ""


class _CipherParameters(msgspec.Struct, frozen=True):
    iv: str


class _Crypto(msgspec.Struct, frozen=True):
    cipher: Literal["aes-128-ctr"]
    cipherparams: _CipherParameters
    ciphertext: str
    kdf: Literal["scrypt", "pbkdf2"]
    kdfparams: _Parameters
    mac: str


class _Keystore(msgspec.Struct, frozen=True):
    crypto: _Crypto
    version: Literal[3]


def encrypt(secret: bytes, passphrase: str, *, log_n: int = LOG_N) -> dict[str, Any]:
    """A keystore, as a document of JSON. ``secret`` is a private key of 32 bytes."""
    salt, iv = secrets.token_bytes(32), secrets.token_bytes(16)
    parameters = _Parameters(dklen=_KEY_BYTES, salt=salt.hex(), n=1 << log_n, r=_R, p=_P)
    derived = _by_scrypt(parameters, passphrase)
    ciphertext = _ctr(derived, iv, secret)
    return {
        "address": address_of(coincurve.PrivateKey(secret).public_key).hex(),
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": {"iv": iv.hex()},
            "ciphertext": ciphertext.hex(),
            "kdf": "scrypt",
            "kdfparams": {"dklen": _KEY_BYTES, "n": 1 << log_n, "r": _R, "p": _P, "salt": salt.hex()},
            "mac": keccak(derived[16:] + ciphertext).hex(),
        },
        "id": str(uuid.uuid4()),
        "version": 3,
    }


def decrypt(keystore: dict[str, Any], passphrase: str) -> bytes:
    """The private key in a keystore.

    Raises:
        ValueError: it is none, asks for more than the limits, or the passphrase is another.
    """
    crypto = msgspec.convert(_lowered(keystore), _Keystore).crypto
    if len(crypto.ciphertext) > _MOST_CIPHERTEXT:
        raise ValueError(f"a private key's ciphertext has at most {_MOST_CIPHERTEXT} hex digits")
    if crypto.kdfparams.dklen != _KEY_BYTES:
        raise ValueError(f"the passphrase makes {_KEY_BYTES} bytes, not {crypto.kdfparams.dklen}")
    ciphertext, iv = bytes.fromhex(crypto.ciphertext), bytes.fromhex(crypto.cipherparams.iv)
    derived = (_by_scrypt if crypto.kdf == "scrypt" else _by_pbkdf2)(crypto.kdfparams, passphrase)
    if not hmac.compare_digest(keccak(derived[16:] + ciphertext), bytes.fromhex(crypto.mac)):
        raise ValueError("the passphrase is another, or the file was changed")
    return _ctr(derived, iv, ciphertext)


def _lowered(value: Any) -> Any:
    """Some wallets write ``Crypto`` and ``Cipher``."""
    if isinstance(value, dict):
        return {str(name).lower(): _lowered(inner) for name, inner in value.items()}
    return value


def _by_scrypt(asked: _Parameters, passphrase: str) -> bytes:
    n, r, p = asked.n, asked.r, asked.p
    if n < 2 or n & (n - 1) or r < 1 or p < 1:
        raise ValueError(f"scrypt takes a power of two and two positive numbers, not n={n}, r={r}, p={p}")
    if 128 * r * (n + p) > _MOST_BYTES or n * r * p > _MOST_WORK:
        raise ValueError(f"scrypt with n={n}, r={r}, p={p} takes more than a wallet's file")
    # OpenSSL's takes no r below 8 with such an n, as some wallets write it.
    return bytes(scrypt(passphrase.encode(), bytes.fromhex(asked.salt), _KEY_BYTES, n, r, p))  # type: ignore[arg-type]


def _by_pbkdf2(asked: _Parameters, passphrase: str) -> bytes:
    if asked.prf != "hmac-sha256" or not 1 <= asked.c <= _MOST_ROUNDS:
        raise ValueError(f"PBKDF2 takes hmac-sha256 and 1 to {_MOST_ROUNDS} rounds, not {asked.prf!r} and {asked.c}")
    return PBKDF2HMAC(SHA256(), _KEY_BYTES, bytes.fromhex(asked.salt), asked.c).derive(passphrase.encode())


def _ctr(derived: bytes, iv: bytes, data: bytes) -> bytes:
    stream = Cipher(algorithms.AES128(derived[:16]), modes.CTR(iv)).encryptor()
    return stream.update(data) + stream.finalize()
