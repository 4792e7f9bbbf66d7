"""Hashes that contracts recompute: Keccak-256 over ABI words; and domain separation for everything else."""

from __future__ import annotations

import hashlib

from sha3 import keccak_256

from sealmarket_enclave.protocol.codec import Bytes32

Word = int | bytes | bool
_BEFORE_ADDRESS = bytes(12)


def keccak(data: bytes) -> Bytes32:
    """Keccak-256 as Ethereum uses it (not FIPS 202 SHA3-256)."""
    return bytes.__new__(Bytes32, keccak_256(data).digest())  # of no other length: not checked each time


def sha256(data: bytes) -> Bytes32:
    """SHA-256 (FIPS 180-4)."""
    return Bytes32(hashlib.sha256(data).digest())


def word(value: Word) -> bytes:
    """One ABI word. Integers and addresses fill from the left, 32-byte values are themselves.

    Raises:
        ValueError: a negative or too large integer, or bytes that are neither an address nor 32 long.
    """
    if isinstance(value, int):
        return value.to_bytes(32, "big")
    if len(value) == 32:
        return value
    if len(value) == 20:
        return _BEFORE_ADDRESS + value
    raise ValueError(f"an ABI word holds an integer, an address or 32 bytes, found {len(value)} bytes")


def words(*values: Word) -> bytes:
    """The ABI encoding of static values."""
    return b"".join(map(word, values))
