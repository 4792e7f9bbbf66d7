"""The logs of one block, shown by its receipts under its header, whatever the node says.

1. The header that a node gives must hash to the block hash that counts; it names the root of the receipts' trie.
2. All receipts of the block, in their order, must give that root (Ethereum yellow paper, 4.3.2; EIP-2718). So no log
   is made up, changed or left out.
3. A transaction's hash is not in its receipt. Logs of one receipt have one hash, and no two receipts the same, so that
   what belongs to one transaction is proven; that the hash is the transaction's own is not.

The receipt of a deposit on an OP chain has two fields more than others.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from sealmarket.chain import rlp_bytes
from sealmarket.chain.errors import AnswerTooLong, NodeDistrusted, RpcRefused, TooSlow
from sealmarket.chain.node import MAXIMUM_ANSWER
from sealmarket.chain.proof import ProofRefused, StateHeader
from sealmarket.chain.rpc import Rpc, data, quantity, word
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.hashing import keccak

_LEGACY, _DEPOSIT, _MOST_TYPE = 0, 0x7E, 0x7F
_DEPOSIT_FIELDS = ("depositNonce", "depositReceiptVersion")
_BRANCHES, _HASH_BYTES = 16, 32
ONE_BY_ONE_SECONDS = 300.0
"""For all receipts of a block, where a node shows them one by one; some thousands at the pace of a public node."""
_LEAST_RECEIPT = 512
"""Bytes of a receipt's JSON: its bloom alone has as many digits."""
_COMPACT = (",", ":")
Pair = tuple[tuple[int, ...], bytes]
"""A key in nibbles, and its value."""


def receipts_of(rpc: Rpc, block_hash: Bytes32, number: int) -> list[Any]:
    """The receipts of a block as a node tells them, unproven.

    Raises:
        NodeDistrusted: no list.
        RpcRefused: the node does not show them.
        TooSlow: it shows them one by one, and not within :data:`ONE_BY_ONE_SECONDS`.
        AnswerTooLong: they have more than :data:`~sealmarket.chain.node.MAXIMUM_ANSWER` bytes, together or one by one.
    """
    try:
        found = rpc.call("eth_getBlockReceipts", hex(number))
    except RpcRefused:  # a newer method, which not every node has
        found = _one_by_one(rpc, block_hash, number)
    if not isinstance(found, list):
        raise NodeDistrusted(f"receipts of block {number}", "a list", type(found).__name__)
    return found


def proven_logs(rpc: Rpc, header: StateHeader) -> list[dict[str, Any]]:
    """All logs of a block in their order, in the form of ``eth_getLogs``.

    Raises:
        ProofRefused: the receipts that the node tells are not the block's.
        NodeDistrusted, RpcRefused: it tells none.
    """
    receipts = receipts_of(rpc, header.block_hash, header.number)
    what = f"the receipts of block {header.number}"
    found = ordered_root([_encoded(receipt, what) for receipt in receipts])
    if found != header.receipts_root:
        raise ProofRefused(what, header.receipts_root, found)
    names = [str(word(receipt.get("transactionHash"), "receipt's transaction")) for receipt in receipts]
    if len(set(names)) != len(names):
        raise ProofRefused(what, "transactions of different hashes", "the same hash twice")
    logs = [(name, log) for name, receipt in zip(names, receipts, strict=True) for log in receipt["logs"]]
    return [_log(header, name, place, log) for place, (name, log) in enumerate(logs)]


def ordered_root(values: Sequence[bytes]) -> Bytes32:
    """The root of the Merkle Patricia trie that has each value under the RLP of its place."""
    if not values:
        return keccak(rlp_bytes.encode(b""))
    pairs = sorted((_nibbles(rlp_bytes.encode(place)), value) for place, value in enumerate(values))
    return keccak(rlp_bytes.encode(_node(pairs, 0)))


# --- inside -----------------------------------------------------------------------------------------------------


def _one_by_one(rpc: Rpc, block_hash: Bytes32, number: int) -> list[Any]:
    """By a list of transactions that nothing proves yet: it may be of any length, and each receipt of any size."""
    shown = rpc.call("eth_getBlockByHash", str(block_hash), False)
    transactions = shown.get("transactions") if isinstance(shown, dict) else None
    if not isinstance(transactions, list):
        raise NodeDistrusted(f"block {number}", "a list of transactions", type(transactions).__name__)
    if len(transactions) * _LEAST_RECEIPT > MAXIMUM_ANSWER:
        raise AnswerTooLong(rpc.asked, MAXIMUM_ANSWER)
    found, until, left = list[Any](), time.monotonic() + ONE_BY_ONE_SECONDS, MAXIMUM_ANSWER
    for transaction in transactions:
        if time.monotonic() > until:
            detail = f"{len(found)} of {len(transactions)} receipts of block {number} in {ONE_BY_ONE_SECONDS:g} seconds"
            raise TooSlow(rpc.asked, detail)
        found.append(rpc.call("eth_getTransactionReceipt", transaction))
        left -= len(json.dumps(found[-1], separators=_COMPACT))  # which spells whatever a node's JSON gave
        if left < 0:
            raise AnswerTooLong(rpc.asked, MAXIMUM_ANSWER)
    return found


def _node(pairs: Sequence[Pair], depth: int) -> list[Any]:
    """The node over sorted pairs whose keys agree up to ``depth``. No such key is the beginning of another."""
    first, last = pairs[0][0], pairs[-1][0]
    if len(pairs) == 1:
        return [_packed(first[depth:], leaf=True), pairs[0][1]]
    shared = depth
    while first[shared] == last[shared]:
        shared += 1
    if shared > depth:
        return [_packed(first[depth:shared], leaf=False), _reference(_node(pairs, shared))]
    below: list[list[Pair]] = [[] for _ in range(_BRANCHES)]
    for pair in pairs:
        below[pair[0][depth]].append(pair)
    return [*(_reference(_node(part, depth + 1)) if part else b"" for part in below), b""]


def _reference(node: list[Any]) -> Any:
    encoded = rlp_bytes.encode(node)
    return node if len(encoded) < _HASH_BYTES else bytes(keccak(encoded))


def _packed(nibbles: Sequence[int], *, leaf: bool) -> bytes:
    odd = len(nibbles) % 2
    flags = (2 * leaf + odd,) if odd else (2 * leaf, 0)
    whole = (*flags, *nibbles)
    return bytes(high << 4 | low for high, low in zip(whole[::2], whole[1::2], strict=True))


def _nibbles(key: bytes) -> tuple[int, ...]:
    return tuple(nibble for byte in key for nibble in (byte >> 4, byte & 15))


def _encoded(receipt: Any, what: str) -> bytes:
    """A receipt as its trie holds it: fields in RLP, behind its type where it has one."""
    if not isinstance(receipt, dict) or not isinstance(receipt.get("logs"), list):
        raise ProofRefused(what, "receipts with logs", "others")
    kind = quantity(receipt.get("type", "0x0"), "receipt's type")
    if kind > _MOST_TYPE:
        raise ProofRefused(what, f"a type up to {_MOST_TYPE}", kind)
    fields = [
        _outcome(receipt),
        _number(receipt.get("cumulativeGasUsed"), "receipt's gas"),
        data(receipt.get("logsBloom"), "receipt's bloom"),
        [_content(log, what) for log in receipt["logs"]],
    ]
    if kind == _DEPOSIT:
        fields += [_number(receipt[name], name) for name in _DEPOSIT_FIELDS if receipt.get(name) is not None]
    return (b"" if kind == _LEGACY else bytes([kind])) + rlp_bytes.encode(fields)


def _outcome(receipt: dict[str, Any]) -> bytes:
    """Status; before Byzantium the state's root."""
    if receipt.get("status") is None and receipt.get("root") is not None:
        return data(receipt["root"], "receipt's root")
    return _number(receipt.get("status"), "receipt's status")


def _number(value: object, what: str) -> bytes:
    found = quantity(value, what)
    return found.to_bytes((found.bit_length() + 7) // 8)


def _content(log: Any, what: str) -> list[Any]:
    if not isinstance(log, dict) or not isinstance(log.get("topics"), list):
        raise ProofRefused(what, "logs with topics", "others")
    topics = [data(topic, "topic") for topic in log["topics"]]
    return [data(log.get("address"), "log address"), topics, data(log.get("data"), "log data")]


def _log(header: StateHeader, transaction: str, place: int, log: dict[str, Any]) -> dict[str, Any]:
    return {
        "address": log["address"],
        "topics": log["topics"],
        "data": log["data"],
        "blockNumber": hex(header.number),
        "blockHash": str(header.block_hash),
        "transactionHash": transaction,
        "logIndex": hex(place),
        "removed": False,
    }
