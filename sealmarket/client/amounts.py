"""Amounts as people write them, and what contracts hold."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from sealmarket.client.errors import AmountRefused
from sealmarket_enclave.protocol.codec import Wei

COIN = 10**18
"""Smallest units in one native coin."""
LONGEST = 64


def coin(amount: str | int) -> Wei:
    """An amount in whole coins, exactly: ``coin("0.5")``. No float: 0.1 is none of the numbers that floats have.

    Raises:
        AmountRefused: no number, negative, more than 18 digits after the point, or more than contracts hold.
    """
    text = str(amount)
    try:
        if len(text) > LONGEST or isinstance(amount, float):
            raise InvalidOperation
        units = Decimal(text).scaleb(18)
        if units != int(units) or not 0 <= units < 1 << Wei.bits:
            raise InvalidOperation
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise AmountRefused(amount) from error
    return Wei(int(units))
