"""How amounts are written for people: whole coins where the token is the chain's own, else the smallest unit."""

from __future__ import annotations

from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address, Wei

SMALLEST_IN_COINS = 10**9
"""Wei below which an amount is written in wei: more zeros behind the point than people count."""


def written(amount: int, token: Address = ZERO_ADDRESS) -> str:
    """``0.5 coin``, ``9 wei``; for other tokens, whose digits are not known here, ``1500 of 0x…``. Negative too."""
    sign, size = ("-" if amount < 0 else ""), abs(amount)
    if token != ZERO_ADDRESS:
        return f"{sign}{size} of {token.checksum}"
    return f"{sign}{size} wei" if 0 < size < SMALLEST_IN_COINS else f"{sign}{Wei(size).coins} coin"
