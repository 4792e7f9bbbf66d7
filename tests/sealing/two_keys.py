"""A ciphertext of AES-256-GCM that opens under two keys, to two plaintexts: what "not committing" means.

The tag is a polynomial in the blocks, another one under each key; one free block makes both values equal (Grubbs, Lu
and Ristenpart, "Message Franking via Committing Authenticated Encryption", 2017).
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_POLYNOMIAL = 0xE1 << 120
_ONE = 1 << 127
_BLOCK = 16


def opens_under_both(first: bytes, second: bytes, associated: bytes, blocks: int) -> bytes:
    """Ciphertext and tag of so many blocks that both keys open, under a nonce of zeros."""
    body = bytes(_BLOCK * (blocks - 1))
    (h1, rest1), (h2, rest2) = (_without_last(key, associated, body, blocks) for key in (first, second))
    last = _times(rest1 ^ rest2, _inverse(_times(h1, h1) ^ _times(h2, h2)))
    tag = rest1 ^ _times(last, _times(h1, h1))
    return body + last.to_bytes(_BLOCK) + tag.to_bytes(_BLOCK)


def _without_last(key: bytes, associated: bytes, body: bytes, blocks: int) -> tuple[int, int]:
    """The hash key, and the tag of a ciphertext whose last block is zero."""
    hash_key = int.from_bytes(_encrypted(key, bytes(_BLOCK)))
    padded = associated + bytes(-len(associated) % _BLOCK) + body + bytes(_BLOCK)
    lengths = (8 * len(associated)).to_bytes(8) + (8 * _BLOCK * blocks).to_bytes(8)
    total = 0
    for start in range(0, len(padded) + _BLOCK, _BLOCK):
        total = _times(total ^ int.from_bytes((padded + lengths)[start : start + _BLOCK]), hash_key)
    return hash_key, total ^ int.from_bytes(_encrypted(key, bytes(_BLOCK - 1) + b"\x01"))


def _encrypted(key: bytes, block: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)


def _times(left: int, right: int) -> int:
    product = 0
    while left:
        if left & _ONE:
            product ^= right
        left = (left << 1) & ((1 << 128) - 1)
        right = (right >> 1) ^ (_POLYNOMIAL if right & 1 else 0)
    return product


def _inverse(value: int) -> int:
    result, square = _ONE, value
    for _ in range(127):  # the exponent 2**128 - 2
        square = _times(square, square)
        result = _times(result, square)
    return result
