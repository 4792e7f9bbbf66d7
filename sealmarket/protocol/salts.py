"""The salts of orders: which generations of their signers they count for.

Bits 192 to 223 are the generation of the signer in the order's token, bits 224 to 255 that of the payer, or 0 where
the signer pays or no account does. The 192 bits below are free.
"""

from __future__ import annotations

import secrets
from typing import NamedTuple

from sealmarket_enclave.protocol.codec import Uint

_FREE_BITS = 192
_GENERATION_BITS = 32
_GENERATION = (1 << _GENERATION_BITS) - 1


class Generations(NamedTuple):
    """Order generations: 0 until an account first cancels all its orders in a token."""

    signer: int
    payer: int = 0


def new_salt(generations: Generations) -> Uint:
    """A fresh salt for an order or request."""
    high = generations.payer << _GENERATION_BITS | generations.signer
    return Uint(high << _FREE_BITS | int.from_bytes(secrets.token_bytes(_FREE_BITS // 8)))


def generations_of(salt: int) -> Generations:
    """The generations that a salt names."""
    return Generations(salt >> _FREE_BITS & _GENERATION, salt >> _FREE_BITS + _GENERATION_BITS)
