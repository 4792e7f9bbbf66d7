"""A chain in memory with a pool: it takes signed transactions, mines them when told, and forgets or lies on request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import rlp
from eth_account import Account
from eth_account.signers.local import LocalAccount

from sealmarket.chain import Chain, Sender
from sealmarket.chain.sender import Sending
from sealmarket.protocol.book import AddressBook
from sealmarket_enclave.protocol.hashing import keccak
from tests.chain.node import BOOK, Node, block, chain, error

ACCOUNT: LocalAccount = Account.create()
FIRST_NONCE = 4
GWEI = 10**9


class Ledger(Node):
    """Blocks hold what was in the pool when they were mined, in the order of nonces, without gaps."""

    def __init__(self, account: LocalAccount = ACCOUNT, base_fee: int | None = GWEI) -> None:
        super().__init__()
        self.account = account
        self.base_fee = base_fee
        self.pool: dict[int, dict[str, Any]] = {}
        self.blocks: dict[int, list[dict[str, Any]]] = {}
        self.offers: list[dict[str, int]] = []
        self.least_fee = 0
        self.status = "0x1"
        self.answers |= {
            "eth_getBlockByNumber": self._told_block,
            "eth_estimateGas": "0x5208",
            "eth_gasPrice": hex(2 * GWEI),
            "eth_maxPriorityFeePerGas": hex(GWEI),
            "eth_getTransactionCount": self._count,
            "eth_sendRawTransaction": self.take,
            "eth_getTransactionByHash": self._by_hash,
            "eth_getTransactionReceipt": self.receipt,
        }

    # --- what tests do ------------------------------------------------------------------------------------------

    def mine(self) -> None:
        """One more block, with all that the pool has and that offers enough."""
        self.height += 1
        held = self.blocks.setdefault(self.height, [])
        while (one := self.pool.get(self._mined())) and one["offer"] >= self.least_fee:
            held.append(self.pool.pop(one["nonce_"]))

    def reorganise(self, depth: int) -> None:
        """Take the newest blocks away, and what was in them; others of the same height come."""
        self.fork += 1
        for number in range(self.height - depth + 1, self.height + 1):
            self.blocks.pop(number, None)

    def paid(self) -> list[int]:
        """The nonces of everything that counts."""
        return [one["nonce_"] for held in self.blocks.values() for one in held]

    def foreign(self, nonce: int, price: int = GWEI) -> None:
        """A transaction of the same account, from another machine."""
        signed = self.account.sign_transaction(
            {"to": self.account.address, "value": 7, "gas": 21000, "gasPrice": price, "nonce": nonce, "chainId": 31337}
        )
        self.take("0x" + bytes(signed.raw_transaction).hex())

    # --- what nodes do ------------------------------------------------------------------------------------------

    def take(self, raw: str) -> Any:
        payload = bytes.fromhex(raw[2:])
        typed = payload[0] == 2  # EIP-1559: chain id, nonce, tip, most per gas, ...
        fields = rlp.decode(payload[1:] if typed else payload)
        places = {1: "nonce", 2: "tip", 3: "most"} if typed else {0: "nonce", 1: "gasPrice"}
        offer = {name: int.from_bytes(fields[place]) for place, name in places.items()}
        nonce, price = offer["nonce"], offer.get("most", offer.get("gasPrice", 0))
        hash_ = str(keccak(payload))
        if nonce < self._mined():
            return error(-32000, f"nonce too low: next nonce {self._mined()}, tx nonce {nonce}")
        if (held := self.pool.get(nonce)) is not None:
            if held["hash"] == hash_:
                return error(-32000, "already known")
            if price * 10 < held["offer"] * 11:
                return error(-32000, "replacement transaction underpriced")
        self.offers.append(offer)
        sender = Account.recover_transaction(raw).lower()
        self.pool[nonce] = {"hash": hash_, "from": sender, "nonce": hex(nonce), "nonce_": nonce, "offer": price}
        return hash_

    def receipt(self, transaction: str) -> Any:
        for number, held in self.blocks.items():
            if any(one["hash"] == transaction for one in held):
                return {
                    "transactionHash": transaction,
                    "blockNumber": hex(number),
                    "blockHash": block(number, self._fork_at(number))["hash"],
                    "status": self.status,
                    "gasUsed": "0x5208",
                    "effectiveGasPrice": "0x2",
                    "contractAddress": None,
                    "logs": [],
                }
        return None

    def _fork_at(self, number: int) -> int:
        return self.fork if number > 0 else 0

    def _mined(self, up_to: int | None = None) -> int:
        return FIRST_NONCE + sum(len(held) for at, held in self.blocks.items() if up_to is None or at <= up_to)

    def _count(self, _who: str, tag: str) -> str:
        if tag not in ("latest", "pending"):
            return hex(self._mined(int(tag, 16)))
        found = self._mined()
        while tag == "pending" and found in self.pool:
            found += 1
        return hex(found)

    def _by_hash(self, transaction: str) -> Any:
        held = [*self.pool.values(), *(one for listed in self.blocks.values() for one in listed)]
        return next((one for one in held if one["hash"] == transaction), None)

    def _told_block(self, tag: str, full: bool) -> Any:
        number = self.height if tag in ("latest", "finalized") else int(tag, 16)
        if number > self.height:
            return None
        told: dict[str, Any] = {**block(number, self._fork_at(number))}
        if self.base_fee is not None:
            told["baseFeePerGas"] = hex(self.base_fee)
        return {**told, "transactions": self.blocks.get(number, [])} if full else told


def sender(
    ledger: Ledger, *, book: AddressBook = BOOK, sending: Sending | None = None, **options: Any
) -> tuple[Sender, Chain]:
    """A sender over it. While it waits, blocks are mined."""
    reader = chain(ledger, book)
    pause: Callable[[float], None] = options.pop("pause", lambda _seconds: ledger.mine())
    return Sender(reader, ledger.account, pause=pause, sending=sending or Sending(), **options), reader
