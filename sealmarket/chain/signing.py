"""What an account signs: simulated first, gas with a margin, fees within limits, all of it in one :class:`Entry`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sealmarket.chain.calls import Call
from sealmarket.chain.errors import (
    FeeAboveLimit,
    NotEnoughCoin,
    RpcRefused,
)
from sealmarket.chain.fees import FeeLimits, Fees, raised, suggest
from sealmarket.chain.keys import TransactionSigner
from sealmarket.chain.outbox import Entry
from sealmarket.chain.reverts import revert_of
from sealmarket.chain.rpc import quantity
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.hashing import keccak

if TYPE_CHECKING:
    from sealmarket.chain.chain import Chain

_GAS_MARGIN_PERCENT = 25
_TOO_POOR = ("insufficient funds", "insufficient balance", "exceeds allowance")
BODY = ("to", "data", "value")
_FEES = ("gasPrice", "maxFeePerGas", "maxPriorityFeePerGas")


class Signing:
    """Makes and signs the transactions of one account."""

    def __init__(self, chain: Chain, account: TransactionSigner, limits: FeeLimits) -> None:
        self.address = Address.parse(account.address.lower())
        self._chain = chain
        self._account = account
        self._limits = limits

    def price(self) -> int:
        """The most that one gas of a new transaction may cost now, in wei. Raises :class:`FeeAboveLimit`."""
        return max(self.fees().values())

    def fees(self) -> Fees:
        """What a new transaction offers now. Raises :class:`FeeAboveLimit`."""
        return suggest(self._chain.rpc, self._limits)

    def more_than(self, entry: Entry) -> Fees | None:
        """What replaces an entry's fees; None where that would pass the limit."""
        offered = {name: value for name, value in entry.fields.items() if name in _FEES}
        return raised(offered, self._present(), self._limits)

    def _present(self) -> Fees:
        """No fees where the chain asks for more than the limit: what is replaced may still be raised within it."""
        try:
            return self.fees()
        except FeeAboveLimit:
            return {}

    def sign(self, fields: dict[str, Any], nonce: int, intent: Bytes32, what: str) -> Entry:
        """Sign what a body, its gas and its fees say, under a nonce."""
        signed = self._account.sign_transaction({**fields, "nonce": nonce, "chainId": self._chain.chain_id})
        raw = "0x" + bytes(signed.raw_transaction).hex()
        return Entry(hash=Bytes32(bytes(signed.hash)), nonce=nonce, intent=intent, what=what, fields=fields, raw=raw)

    def estimate(self, body: dict[str, Any]) -> int:
        """The gas to allow: what it takes now, and a margin. Raises as :meth:`simulate`."""
        gas = self.simulate(body)
        return gas + gas * _GAS_MARGIN_PERCENT // 100

    def simulate(self, body: dict[str, Any]) -> int:
        """The gas that a transaction takes now. Raises :class:`Reverted` or :class:`NotEnoughCoin`; nothing is sent."""
        asked = {**as_asked(body), "from": self.address.checksum}
        try:
            return quantity(self._chain.rpc.call("eth_estimateGas", asked), "gas estimate")
        except RpcRefused as error:
            if any(words in error.detail.lower() for words in _TOO_POOR):
                raise NotEnoughCoin(self.address.checksum, error.detail[:200]) from error
            # Simulation says no: say why in the contract's words.
            raise revert_of(error) or error from error


def body_of(call: Call) -> dict[str, Any]:
    """The call as the fields of a transaction; numbers are integers."""
    return {"to": call.to.checksum, "data": "0x" + call.data.hex(), "value": call.value}


def as_asked(body: dict[str, Any]) -> dict[str, Any]:
    """The same fields as a node is asked with them: numbers in hexadecimal."""
    return {key: hex(value) if isinstance(value, int) else value for key, value in body.items()}


def intent_of(body: dict[str, Any], together: bytes) -> Bytes32:
    """What a transaction does, as a hash; ``together`` names the calls of which it is one."""
    return keccak(repr([(name, body.get(name)) for name in BODY]).encode() + together)
