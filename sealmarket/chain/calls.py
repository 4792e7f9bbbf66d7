"""Transactions as values: which contract, which function, which arguments. Sending is the sender's business."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sealmarket.chain import abi
from sealmarket_enclave.protocol.codec import Address


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one contract; ``value`` is the native coin that goes with it, in wei.

    ``least_gas`` is for calls that do less instead of failing when they have little gas, of which no estimate tells.
    """

    contract: str
    to: Address
    function: str
    arguments: tuple[object, ...]
    value: int = 0
    least_gas: int = 0

    @property
    def data(self) -> bytes:
        """Selector and encoded arguments."""
        entry = abi.load(self.contract).function(self.function, len(self.arguments))
        return abi.encode_call(entry, self.arguments)

    def describe(self) -> str:
        """For people and logs: no argument values."""
        return f"{self.contract}.{self.function}"


class Contract:
    """One contract at one address."""

    NAME = ""

    def __init__(self, address: Address) -> None:
        self.address = address

    def _call(self, function: str, *arguments: object, value: int = 0, least_gas: int = 0) -> Call:
        return Call(self.NAME, self.address, function, tuple(arguments), value, least_gas)


def joined(calls: Sequence[Call]) -> list[bytes]:
    """The encoded data of several calls, for a batch."""
    return [call.data for call in calls]
