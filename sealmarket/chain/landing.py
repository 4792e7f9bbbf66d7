"""Where a transaction of a nonce ended: in which block, and which one it was.

A receipt counts only while the chain has its block under the same hash. That a nonce went to another transaction is
never concluded from a receipt that is missing, since a node may be behind: the block that took the nonce is found by
the account's counts, and read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sealmarket.chain.errors import NodeDistrusted
from sealmarket.chain.model import Block
from sealmarket.chain.rpc import quantity
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.numbers import BlockNumber

if TYPE_CHECKING:
    from sealmarket.chain.chain import Chain


@dataclass(frozen=True, slots=True)
class Landed:
    """A receipt, and the block of the present chain that it is in."""

    transaction: Bytes32
    receipt: Mapping[str, Any]
    block: Block

    @property
    def succeeded(self) -> bool:
        """Whether it did what it was sent for."""
        return quantity(self.receipt.get("status"), "receipt's status") == 1


@dataclass(frozen=True, slots=True)
class Taken:
    """A block in which a nonce went. ``by`` is None where an authorisation (EIP-7702) used it."""

    block: Block
    by: Bytes32 | None
    contents: frozenset[str]


def landed(chain: Chain, transaction: Bytes32) -> Landed | None:
    """The receipt, if the present chain has its block; None while it has none.

    Raises:
        NodeDistrusted: the receipt of another transaction, or not a receipt.
    """
    receipt = chain.rpc.call("eth_getTransactionReceipt", str(transaction))
    if receipt is None:
        return None
    if not isinstance(receipt, dict):
        raise NodeDistrusted("receipt", "an object", type(receipt).__name__)
    named = str(receipt.get("transactionHash")).lower()
    if named != str(transaction):
        raise NodeDistrusted("receipt", transaction, named[:80])
    if receipt.get("blockNumber") is None:
        return None  # some nodes tell of pending ones so
    block = chain.block(BlockNumber(quantity(receipt["blockNumber"], "receipt's block")))
    named_block = str(receipt.get("blockHash")).lower()
    return Landed(transaction, receipt, block) if named_block == str(block.hash) else None


def known(chain: Chain, transaction: Bytes32) -> bool:
    """Whether the node has it, in its pool or in a block."""
    if chain.rpc.call("eth_getTransactionByHash", str(transaction)) is not None:
        return True
    return chain.rpc.call("eth_getTransactionReceipt", str(transaction)) is not None


def count(chain: Chain, account: Address, at: str) -> int:
    """The nonce that comes next for an account, at a block's number or tag."""
    return quantity(chain.rpc.call("eth_getTransactionCount", account.checksum, at), "nonce")


def taken(chain: Chain, account: Address, nonce: int) -> Taken | None:
    """The block in which a nonce went; None while it has not.

    Raises:
        ChainError: the node no longer has the states that tell.
    """
    high = int(chain.head().number)
    if count(chain, account, hex(high)) <= nonce:
        return None
    low, step = high, 1
    while low > 0 and count(chain, account, hex(low)) > nonce:
        high, low, step = low, max(0, low - step), 2 * step
    while high - low > 1:
        middle = (low + high) // 2
        if count(chain, account, hex(middle)) > nonce:
            high = middle
        else:
            low = middle
    return _read(chain, account, nonce, high)


def _read(chain: Chain, account: Address, nonce: int, number: int) -> Taken:
    block = chain.block(BlockNumber(number))
    whole = chain.rpc.call("eth_getBlockByNumber", hex(number), True)
    listed = whole.get("transactions") if isinstance(whole, dict) else None
    if not isinstance(listed, list) or str(whole.get("hash")).lower() != str(block.hash):
        raise NodeDistrusted(f"block {number}", f"the transactions of {block.hash}", "something else")
    held = [one for one in listed if isinstance(one, dict)]
    return Taken(
        block,
        next((_hash(one) for one in held if _is(one, account, nonce)), None),
        frozenset(str(one.get("hash")).lower() for one in held),
    )


def _is(one: Mapping[str, Any], account: Address, nonce: int) -> bool:
    return str(one.get("from")).lower() == str(account) and quantity(one.get("nonce"), "nonce") == nonce


def _hash(one: Mapping[str, Any]) -> Bytes32:
    try:
        return Bytes32.parse(str(one.get("hash")).lower())
    except MalformedDocument as error:
        raise NodeDistrusted("transaction", "32 bytes", str(one.get("hash"))[:80]) from error
