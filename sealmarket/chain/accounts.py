"""An account whose key this process holds.

It does what is used here of ``eth_account``'s, whose import takes longer than most commands: that computes tables of
another curve, and raises the interpreter's limit of recursion to a hundred thousand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import coincurve

from sealmarket.chain.transactions import SignedTransaction, sign_transaction
from sealmarket_enclave.protocol.codec import Bytes32, HexBytes
from sealmarket_enclave.protocol.signing import address_of, sign


class KeyAccount:
    """An account of one private key. Threads may share it; it prints its address only, and is not pickled."""

    __slots__ = ("_key", "address")

    def __init__(self, secret: bytes) -> None:
        """``secret``: 32 bytes. Raises :class:`ValueError` for what is no private key of secp256k1."""
        if len(secret) != 32:
            raise ValueError(f"a private key has 32 bytes, found {len(secret)}")
        self._key = coincurve.PrivateKey(secret)
        self.address: str = address_of(self._key.public_key).checksum
        """With its checksum."""

    @property
    def key(self) -> bytes:
        """The private key, to be kept in a file."""
        return self._key.secret

    def sign_transaction(self, transaction_dict: Mapping[str, Any], /) -> SignedTransaction:
        """The transaction, signed. Raises :class:`ValueError` for fields that make none."""
        return sign_transaction(transaction_dict, self._key)

    def sign_digest(self, digest: Bytes32) -> HexBytes:
        """65 bytes r, s, v with low s. The caller knows what the digest is of."""
        return sign(digest, self._key)

    def __repr__(self) -> str:
        return f"KeyAccount({self.address})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("an account's key is not pickled")
