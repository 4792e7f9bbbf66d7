"""Amounts as people write them, and what contracts hold."""

from __future__ import annotations

from sealmarket.client.errors import AmountRefused
from sealmarket_enclave.protocol.codec import Wei

DIGITS = 18
"""After the point of a whole coin."""
LONGEST = 64
"""Characters of an amount: more than any that contracts hold."""


def coin(amount: str | int) -> Wei:
    """An amount in whole coins, exactly: ``coin("0.5")``. No float: 0.1 is none of the numbers that floats have.

    Raises:
        AmountRefused: no number, negative, more than 18 digits after the point, or more than contracts hold.
    """
    if isinstance(amount, float) or len(text := str(amount)) > LONGEST:
        raise AmountRefused(amount)
    whole, _, rest = text.partition(".")
    digits = whole + rest.ljust(DIGITS, "0")
    if not (whole and len(rest) <= DIGITS and digits.isascii() and digits.isdigit()) or text.endswith("."):
        raise AmountRefused(amount)
    if (units := int(digits)) >= 1 << Wei.bits:
        raise AmountRefused(amount)
    return Wei(units)
