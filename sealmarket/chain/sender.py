"""Sending transactions from one account, one after the other, and knowing what became of each.

1. The call is simulated first; a revert becomes :class:`Reverted` with its reason in words, and nothing is sent.
2. Gas is estimated, with a margin; fees by EIP-1559 where the chain has a base fee, the gas price otherwise.
3. The nonce is the node's pending count, or our own next one when that is higher.
4. The receipt is waited for. A transaction that reverts in its block is simulated there again, for its reason.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sealmarket.chain.calls import Call
from sealmarket.chain.errors import NodeDistrusted, NotMined, Reverted, RpcRefused
from sealmarket.chain.events import ChainEvent
from sealmarket.chain.keys import refuse_publicly_known
from sealmarket.chain.model import Block
from sealmarket.chain.reverts import revert_of
from sealmarket.chain.rpc import quantity
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.numbers import BlockNumber

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

    from sealmarket.chain.chain import Chain

RECEIPT_TIMEOUT_SECONDS = 120.0
POLL_SECONDS = 0.1
RELOOK_SECONDS = 2.0
"""How often a transaction without a receipt is looked up: nodes forget what is in no block when they restart."""
_GAS_MARGIN_PERCENT = 25
_TIP_WEI = 1_000_000_000
_NONCE_TRIES = 3


@dataclass(frozen=True, slots=True)
class Mined:
    """A transaction in a block. ``cost`` is what its gas cost, in wei."""

    transaction: Bytes32
    block: Block
    gas_used: int
    cost: int
    events: tuple[ChainEvent, ...]
    created: Address | None = None


class Sender:
    """Sends from one account. Threads may share it; they take turns up to the moment of sending."""

    def __init__(
        self,
        chain: Chain,
        account: LocalAccount,
        *,
        development: bool = False,
        timeout: float = RECEIPT_TIMEOUT_SECONDS,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Raises :class:`DevelopmentKeyRefused` for a publicly known key, unless ``development`` says that the caller
        has started this chain."""
        self.address = Address.parse(account.address.lower())
        refuse_publicly_known(self.address, chain_id=chain.chain_id, url=chain.rpc.url, development=development)
        self._chain = chain
        self._account = account
        self._timeout = timeout
        self._pause = pause
        self._next = 0
        self._turn = threading.Lock()
        self._waiting: dict[Bytes32, str] = {}

    def send(self, call: Call) -> Mined:
        """Send one call and wait until it is in a block.

        Raises:
            Reverted: the contract refuses; nothing was sent, or it was refused in its block.
            NotMined: sent, and in no block in time.
            ChainUnavailable: the node does not answer.
        """
        return self.wait(self.submit(call), call)

    def submit(self, call: Call) -> Bytes32:
        """Simulate, sign and send; returns the transaction's hash at once."""
        return self._submit({"to": call.to.checksum, "data": "0x" + call.data.hex(), "value": call.value})

    def transfer(self, to: Address, amount: int) -> Mined:
        """Send native coin, in wei."""
        return self.wait(self._submit({"to": to.checksum, "value": amount}), None)

    def create(self, code: bytes) -> Mined:
        """Deploy a contract from its creation code."""
        return self.wait(self._submit({"data": "0x" + code.hex(), "value": 0}), None)

    def wait(self, transaction: Bytes32, call: Call | None) -> Mined:
        """Wait for a transaction's block and read what happened in it; sends it again where the node forgot it."""
        begun = looked = time.monotonic()
        while (receipt := self._chain.rpc.call("eth_getTransactionReceipt", str(transaction))) is None:
            now = time.monotonic()
            if now > begun + self._timeout:
                # It may have been dropped: the next transaction takes the nonce that the node then names.
                self._next = 0
                self._waiting.pop(transaction, None)
                raise NotMined(str(transaction), self._timeout)
            if now > looked + RELOOK_SECONDS:
                looked = now
                self._remind(transaction)
            self._pause(POLL_SECONDS)
        self._waiting.pop(transaction, None)
        return self._mined(transaction, receipt, call)

    def _remind(self, transaction: Bytes32) -> None:
        """Rebroadcast the signed transaction if the node does not know it any more: its nonce lets it count once."""
        raw = self._waiting.get(transaction)
        if raw is None or self._chain.rpc.call("eth_getTransactionByHash", str(transaction)) is not None:
            return
        try:
            self._chain.rpc.call("eth_sendRawTransaction", raw)
        except RpcRefused as error:
            if not _nonce_taken(error):
                raise revert_of(error) or error from error

    def _submit(self, body: dict[str, Any]) -> Bytes32:
        rpc = self._chain.rpc
        asked = {key: hex(value) if isinstance(value, int) else value for key, value in body.items()}
        asked["from"] = self.address.checksum
        with self._turn:
            gas = self._estimate(asked)
            for last in range(_NONCE_TRIES - 1, -1, -1):
                fields: dict[str, Any] = {**body, **self._fees(), "gas": gas, "nonce": self._nonce()}
                signed = self._account.sign_transaction({**fields, "chainId": self._chain.chain_id})
                raw = "0x" + bytes(signed.raw_transaction).hex()
                try:
                    sent = rpc.call("eth_sendRawTransaction", raw)
                except RpcRefused as error:
                    if last and _nonce_taken(error):
                        self._next = 0  # somebody else sends from this account: ask the node again
                        continue
                    # Some nodes run a transaction while taking it, and report its revert here.
                    raise revert_of(error) or error from error
                self._next = fields["nonce"] + 1
                break
        expected = Bytes32(bytes(signed.hash))
        if str(sent).lower() != str(expected):
            raise NodeDistrusted("transaction hash", expected, sent)
        self._waiting[expected] = raw
        return expected

    def _nonce(self) -> int:
        pending = self._chain.rpc.call("eth_getTransactionCount", self.address.checksum, "pending")
        return max(self._next, quantity(pending, "nonce"))

    def _estimate(self, asked: dict[str, Any]) -> int:
        try:
            gas = quantity(self._chain.rpc.call("eth_estimateGas", asked), "gas estimate")
        except RpcRefused as error:
            # Simulation says no: say why in the contract's words.
            raise revert_of(error) or error from error
        return gas + gas * _GAS_MARGIN_PERCENT // 100

    def _fees(self) -> dict[str, int]:
        head = self._chain.rpc.call("eth_getBlockByNumber", "latest", False)
        base = head.get("baseFeePerGas") if isinstance(head, dict) else None
        if base is None:
            return {"gasPrice": quantity(self._chain.rpc.call("eth_gasPrice"), "gas price")}
        return {"maxFeePerGas": 2 * quantity(base, "base fee") + _TIP_WEI, "maxPriorityFeePerGas": _TIP_WEI}

    def _mined(self, transaction: Bytes32, receipt: Any, call: Call | None) -> Mined:
        if not isinstance(receipt, dict):
            raise NodeDistrusted("receipt", "an object", type(receipt).__name__)
        number = BlockNumber(quantity(receipt.get("blockNumber"), "receipt's block"))
        if quantity(receipt.get("status"), "receipt's status") != 1:
            raise self._reason(call, number)
        block = self._chain.block(number)
        gas = quantity(receipt.get("gasUsed"), "gas used")
        price = receipt.get("effectiveGasPrice")
        made = receipt.get("contractAddress")
        return Mined(
            transaction=transaction,
            block=block,
            gas_used=gas,
            cost=gas * (0 if price is None else quantity(price, "gas price")),
            events=tuple(self._chain.decode_logs(receipt.get("logs", []), block)),
            created=Address.parse(made.lower()) if isinstance(made, str) else None,
        )

    def _reason(self, call: Call | None, number: int) -> Exception:
        if call is None:
            said = "the contract could not be created, or the receiver refused the coin"
            return Reverted("", {}, said, "read the constructor's requirements; send coin to an account that takes it")
        asked = {
            "from": self.address.checksum,
            "to": call.to.checksum,
            "data": "0x" + call.data.hex(),
            "value": hex(call.value),
        }
        try:
            self._chain.rpc.call("eth_call", asked, hex(number))
        except RpcRefused as error:
            return revert_of(error) or error
        return Reverted(
            "",
            {},
            f"{call.describe()} was refused in its block, and no longer says why",
            "another transaction came first; read the present state and try again if it still makes sense",
        )


def _nonce_taken(error: RpcRefused) -> bool:
    said = error.detail.lower()
    return "nonce" in said and any(word in said for word in ("too low", "already", "used", "expected"))
