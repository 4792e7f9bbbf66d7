"""Whole coins, for programs; :mod:`sealmarket.client.written` reads what people write."""

from __future__ import annotations

from sealmarket.client.errors import AmountRefused
from sealmarket.client.written import amount_of
from sealmarket_enclave.protocol.codec import Wei
from sealmarket_enclave.protocol.errors import MalformedDocument


def coin(amount: str | int) -> Wei:
    """An amount in whole coins, exactly: ``coin("0.5")``. No float: 0.1 is none of the numbers that floats have.

    Raises:
        AmountRefused: no number, negative, more than 18 digits after the point, or more than contracts hold.
    """
    if isinstance(amount, float):
        raise AmountRefused(amount)
    try:
        return amount_of(f"{amount}coin")
    except MalformedDocument as error:
        raise AmountRefused(amount) from error
