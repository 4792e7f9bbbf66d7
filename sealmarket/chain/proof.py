"""A contract's storage shown under a block hash that the reader trusts, whatever the node says (EIP-1186).

1. The header that the node gives must hash to the trusted block hash; it names the state root.
2. The account's proof leads from the state root to the contract; it names the storage root and the hash of the code.
3. A slot's proof leads from the storage root to the value, or shows that there is none.

A proof is a path of nodes in a Merkle Patricia trie: each must hash to what the one before named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sealmarket.chain import rlp_bytes
from sealmarket.chain.errors import NodeDistrusted
from sealmarket.chain.model import Block
from sealmarket.chain.rpc import Rpc, data, quantity, word
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.hashing import keccak

_HEADER = (
    ("parentHash", bytes),
    ("sha3Uncles", bytes),
    ("miner", bytes),
    ("stateRoot", bytes),
    ("transactionsRoot", bytes),
    ("receiptsRoot", bytes),
    ("logsBloom", bytes),
    ("difficulty", int),
    ("number", int),
    ("gasLimit", int),
    ("gasUsed", int),
    ("timestamp", int),
    ("extraData", bytes),
    ("mixHash", bytes),
    ("nonce", bytes),
)
_LATER = (
    ("baseFeePerGas", int),
    ("withdrawalsRoot", bytes),
    ("blobGasUsed", int),
    ("excessBlobGas", int),
    ("parentBeaconBlockRoot", bytes),
    ("requestsHash", bytes),
)
"""What forks added at the end, in order; each header has a prefix of them."""

MOST_SLOTS = 128
"""Slots in one call: nodes refuse very many. A job over 16 assets takes 96 of the registry."""
_BRANCH, _SHORT = 17, 2
_COMMON_NODES, _COMMON_BYTES = 2048, 1024
"""How many nodes stay decoded, and the longest of them: a branch has at most 532 bytes."""


class ProofRefused(NodeDistrusted):
    """A node's proof is incomplete, or does not lead to the hash that it is checked against."""

    def __init__(self, what: str, expected: object, found: object) -> None:
        super().__init__(f"proof of {what}", expected, found)
        self.remedy = "ask another node, one that keeps the state of that block"


@dataclass(frozen=True, slots=True)
class StateHeader:
    """What a block's header says, once it hashes to the block hash that counts. ``timestamp`` in seconds."""

    block_hash: Bytes32
    number: int
    timestamp: int
    state_root: Bytes32
    receipts_root: Bytes32


@dataclass(frozen=True, slots=True)
class ProvenAccount:
    """What a proof shows of a contract: the hash of its code, and the words that were asked for, in their order."""

    code_hash: Bytes32
    words: tuple[int, ...]


def proven_header(rpc: Rpc, block_hash: Bytes32) -> StateHeader:
    """The header of a block hash.

    Raises:
        ProofRefused: what the node gives does not hash to it.
        RpcRefused: the node does not know the block.
    """
    header = rpc.call("eth_getBlockByHash", str(block_hash), False)
    if not isinstance(header, dict):
        raise ProofRefused("the block", block_hash, "no such block")
    found = keccak(rlp_bytes.encode(_header_fields(header)))
    if found != block_hash:
        raise ProofRefused("the block", block_hash, found)
    return StateHeader(
        block_hash=block_hash,
        number=quantity(header["number"], "block number"),
        timestamp=quantity(header["timestamp"], "timestamp"),
        state_root=word(header["stateRoot"], "state root"),
        receipts_root=word(header["receiptsRoot"], "receipts root"),
    )


def proven_block_header(rpc: Rpc, block: Block) -> StateHeader:
    """The header of a block whose hash counts, which must name the block's number and time.

    Raises:
        ProofRefused: it does not, or as :func:`proven_header`.
        RpcRefused: the node does not know the block.
    """
    header = proven_header(rpc, block.hash)
    if (header.number, header.timestamp) != (block.number, block.timestamp):
        expected = f"number {header.number} and time {header.timestamp}, as its header says"
        raise ProofRefused(f"block {block.hash}", expected, f"number {block.number}, time {block.timestamp}")
    return header


def proven_account(rpc: Rpc, header: StateHeader, contract: Address, slots: Sequence[Bytes32]) -> ProvenAccount:
    """A contract's words under a header, by one call for each :data:`MOST_SLOTS` of them; 0 for one never written.

    Raises:
        ProofRefused: the node's proof does not lead from the header to the words.
        RpcRefused: the node gives no proofs, or has no state of that block.
    """
    parts = [slots[start : start + MOST_SLOTS] for start in range(0, len(slots), MOST_SLOTS)] or [slots]
    found = [_account_part(rpc, header, contract, part) for part in parts]
    return ProvenAccount(found[0].code_hash, tuple(word for part in found for word in part.words))


def _account_part(rpc: Rpc, header: StateHeader, contract: Address, slots: Sequence[Bytes32]) -> ProvenAccount:
    asked = [str(slot) for slot in slots]
    proof = rpc.call("eth_getProof", contract.checksum, asked, hex(header.number))
    shown = proof.get("storageProof") if isinstance(proof, dict) else None
    if not isinstance(shown, list) or len(shown) != len(slots):
        raise ProofRefused("the contract", f"an account with {len(slots)} slots", type(proof).__name__)
    account = prove(header.state_root, keccak(contract), _nodes(proof.get("accountProof")), "the contract")
    if account is None:
        raise ProofRefused("the contract", "an account", "none at this address")
    fields = _decoded(account, "the contract")
    what = "nonce, balance, storage root and code hash"
    if not isinstance(fields, list) or [len(_bytes(field, "the contract")) for field in fields[2:]] != [32, 32]:
        raise ProofRefused("the contract", what, "another value")
    storage_root = Bytes32(fields[2])
    words = (_word(storage_root, slot, entry) for slot, entry in zip(slots, shown, strict=True))
    return ProvenAccount(Bytes32(fields[3]), tuple(words))


def _word(storage_root: Bytes32, slot: Bytes32, entry: Any) -> int:
    nodes = _nodes(entry.get("proof") if isinstance(entry, dict) else None)
    value = prove(storage_root, keccak(slot), nodes, f"slot {slot}")
    if value is None:
        return 0
    word = _decoded(value, f"slot {slot}")
    if not isinstance(word, bytes) or len(word) > 32:
        raise ProofRefused(f"slot {slot}", "a word", "another value")
    return int.from_bytes(word)


def prove(root: Bytes32, key: Bytes32, nodes: Sequence[bytes], what: str) -> bytes | None:
    """The value under a key in a Merkle Patricia trie, or None where the proof shows that there is none.

    Raises:
        ProofRefused: a node that does not hash to what the one before named, or a path that ends early.
    """
    path = [nibble for byte in key for nibble in (byte >> 4, byte & 15)]
    if not nodes and root == keccak(rlp_bytes.encode(b"")):
        return None
    wanted: Any = root
    rest = list(reversed(nodes))
    while True:
        node = _node(wanted, rest, what)
        if len(node) == _BRANCH:
            if not path:
                return _bytes(node[16], what) or None
            wanted = node[path.pop(0)]
            if wanted == b"":
                return None
            continue
        if len(node) != _SHORT:
            raise ProofRefused(what, "a branch, an extension or a leaf", f"a node of {len(node)} parts")
        prefix, leaf = _unpacked(_bytes(node[0], what))
        if path[: len(prefix)] != prefix:
            return None
        del path[: len(prefix)]
        if leaf:
            return _bytes(node[1], what) if not path else None
        wanted = node[1]


def _node(wanted: Any, rest: list[bytes], what: str) -> Sequence[Any]:
    if isinstance(wanted, list):
        return wanted  # nodes shorter than a hash stand inside the one before
    if not rest:
        raise ProofRefused(what, "the next node", "the end of the proof")
    raw = rest.pop()
    common = len(raw) <= _COMMON_BYTES
    found = _hash_of(raw) if common else keccak(raw)
    if found != wanted:
        raise ProofRefused(what, f"a node with hash 0x{bytes(wanted).hex()}", found)
    decoded = _content_of(raw) if common else _decoded(raw, what)
    if not isinstance(decoded, list):
        raise ProofRefused(what, "a node", "bytes that are none")
    return decoded


# Proofs share the upper nodes of their tries: those of one block, and most of those of the next. Pure, so that what one
# endpoint shows changes nothing for another.
@lru_cache(maxsize=_COMMON_NODES)
def _hash_of(raw: bytes) -> Bytes32:
    return keccak(raw)


@lru_cache(maxsize=_COMMON_NODES)
def _content_of(raw: bytes) -> Any:
    return _decoded(raw, "a node of a trie")


def _bytes(part: Any, what: str) -> bytes:
    """A part of a node that must be a value: a header that a node made up can name a trie of any shape."""
    if not isinstance(part, bytes):
        raise ProofRefused(what, "bytes", "a list")
    return part


def _decoded(raw: bytes, what: str) -> Any:
    try:
        return rlp_bytes.decode(raw)
    except rlp_bytes.NotRlp as error:
        raise ProofRefused(what, "a node", "bytes that are none") from error


def _unpacked(encoded: bytes) -> tuple[list[int], bool]:
    nibbles = [nibble for byte in encoded for nibble in (byte >> 4, byte & 15)]
    flag = nibbles[0] if nibbles else 0
    return nibbles[1 if flag & 1 else 2 :], bool(flag & 2)


def _header_fields(header: dict[str, Any]) -> list[bytes]:
    fields = [_field(header, name, kind) for name, kind in _HEADER]
    for name, kind in _LATER:
        if header.get(name) is None:
            break
        fields.append(_field(header, name, kind))
    return fields


def _field(header: dict[str, Any], name: str, kind: type) -> bytes:
    if kind is bytes:
        return data(header.get(name), name)
    number = quantity(header.get(name), name)
    return number.to_bytes((number.bit_length() + 7) // 8)


def _nodes(proof: Any) -> list[bytes]:
    if not isinstance(proof, list):
        raise ProofRefused("the path", "a list of nodes", type(proof).__name__)
    return [data(node, "proof node") for node in proof]
