"""Accounts on a fresh Anvil: keys that are the same in each run, money for each, and transactions of any account."""

from __future__ import annotations

import time
from dataclasses import dataclass

import coincurve

from sealmarket.chain import abi
from sealmarket.chain.calls import Call
from sealmarket.chain.rpc import Rpc, quantity
from sealmarket_enclave.protocol.codec import (
    Address,
    Bytes32,
    Uint,
)
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import Timestamp
from sealmarket_enclave.protocol.signing import address_of

ETHER = 10**18
RECEIPT_SECONDS = 10.0
_BATCH_ENTRY_FAILED = str(next(t for t, e in abi.load("Market").events.items() if e.name == "BatchEntryFailed"))


@dataclass(frozen=True, slots=True)
class Party:
    """A party with a key."""

    key: coincurve.PrivateKey
    address: Address


class Accounts:
    """Parties, their money and their transactions. Every method that sends returns the gas that it took."""

    def __init__(self, url: str) -> None:
        """Use an Anvil that no other program uses."""
        self.url, self._rpc = url, Rpc(url)
        self._count = 0
        self._rpc.call("evm_setIntervalMining", 0)
        self._rpc.call("evm_setAutomine", True)
        self._rpc.call("anvil_autoImpersonateAccount", True)
        self.sender = self._party().address
        self._give(self.sender)
        self.chain_id = quantity(self._rpc.call("eth_chainId"), "chain id")

    def disconnect(self) -> None:
        """Close the connections to the chain."""
        self._rpc.close()

    def pass_time(self, seconds: int) -> None:
        """Let the chain's clock run, from its newest block's time on: many blocks a second are ahead of the wall's."""
        self._rpc.call("evm_setNextBlockTimestamp", self._time() + seconds)
        self._rpc.call("evm_mine")

    def _send(self, call: Call, sender: Party | None = None, *, value: int = 0) -> int:
        who = sender.address if sender else self.sender
        data = "0x" + call.data.hex()
        return self._transact({"from": who.checksum, "to": call.to.checksum, "data": data, "value": hex(value)})

    def _transact(self, fields: dict[str, str]) -> int:
        sent = self._rpc.call("eth_sendTransaction", fields | {"gas": hex(29_000_000)})
        deadline = time.monotonic() + RECEIPT_SECONDS
        while (receipt := self._rpc.call("eth_getTransactionReceipt", str(sent))) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no receipt of {sent} within {RECEIPT_SECONDS} s")
            time.sleep(0.01)
        if not isinstance(receipt, dict) or receipt["status"] != "0x1":
            raise ValueError(f"transaction refused: {receipt}")
        if any(log["topics"][0] == _BATCH_ENTRY_FAILED for log in receipt["logs"]):
            raise ValueError("an entry of the batch failed")
        return quantity(receipt["gasUsed"], "gas used")

    def _time(self) -> int:
        block = self._rpc.call("eth_getBlockByNumber", "latest", False)
        if not isinstance(block, dict):
            raise ValueError("no block")
        return quantity(block["timestamp"], "block time")

    def _later(self) -> Timestamp:
        return Timestamp(4_102_444_799)

    def _give(self, address: Address) -> None:
        self._rpc.call("anvil_setBalance", address.checksum, hex(1_000_000 * ETHER))

    def _party(self) -> Party:
        key = coincurve.PrivateKey(self._word())
        party = Party(key, address_of(key.public_key))
        self._give(party.address)
        return party

    def _word(self) -> Bytes32:
        self._count += 1
        return keccak(b"sealmarket gas" + self._count.to_bytes(8))

    def _salt(self) -> Uint:
        return Uint(int.from_bytes(self._word()) >> 64)
