"""A contract's slot shown under a block hash that the reader trusts, whatever the node says (EIP-1186).

1. The header that the node gives must hash to the trusted block hash; it names the state root.
2. The account's proof leads from the state root to the contract; it names the storage root.
3. The slot's proof leads from the storage root to the value, or shows that there is none.

A proof is a path of nodes in a Merkle Patricia trie: each must hash to what the one before named.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import rlp

from sealmarket.chain.errors import NodeDistrusted
from sealmarket.chain.rpc import Rpc, data, quantity
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.hashing import keccak, words

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

_BRANCH, _SHORT = 17, 2


class ProofRefused(NodeDistrusted):
    """A node's proof is incomplete, or does not lead to the hash that it is checked against."""

    def __init__(self, what: str, expected: object, found: object) -> None:
        super().__init__(f"proof of {what}", expected, found)
        self.remedy = "ask another node, one that keeps the state of that block"


def proven_slot(rpc: Rpc, block_hash: Bytes32, contract: Address, slot: Bytes32) -> int:
    """The value of a contract's slot at a block, proven; 0 for a slot that was never written.

    Raises:
        ProofRefused: the node's header or proof does not lead from the hash to the value.
        RpcRefused: the node does not know the block or gives no proofs.
    """
    header = rpc.call("eth_getBlockByHash", str(block_hash), False)
    state_root = _state_root(header, block_hash)
    number = header["number"]
    proof = rpc.call("eth_getProof", contract.checksum, [str(slot)], number)
    if (
        not isinstance(proof, dict)
        or not isinstance(proof.get("storageProof"), list)
        or len(proof["storageProof"]) != 1
    ):
        raise ProofRefused("the contract", "an account with one slot", type(proof).__name__)
    account = prove(state_root, keccak(contract), _nodes(proof.get("accountProof")), "the contract")
    if account is None:
        raise ProofRefused("the contract", "an account", "none at this address")
    fields = rlp.decode(account)
    value = prove(Bytes32(fields[2]), keccak(slot), _nodes(proof["storageProof"][0].get("proof")), "the slot")
    return int.from_bytes(rlp.decode(value)) if value is not None else 0


def mapping_slot(key: Bytes32, place: int) -> Bytes32:
    """Where Solidity keeps the value of a key in a mapping that stands at a place."""
    return keccak(words(key, place))


def prove(root: Bytes32, key: Bytes32, nodes: Sequence[bytes], what: str) -> bytes | None:
    """The value under a key in a Merkle Patricia trie, or None where the proof shows that there is none.

    Raises:
        ProofRefused: a node that does not hash to what the one before named, or a path that ends early.
    """
    path = [nibble for byte in key for nibble in (byte >> 4, byte & 15)]
    if not nodes and root == keccak(rlp.encode(b"")):
        return None
    wanted: Any = root
    rest = list(nodes)
    while True:
        node = _node(wanted, rest, what)
        if len(node) == _BRANCH:
            if not path:
                return bytes(node[16]) or None
            wanted = node[path.pop(0)]
            if wanted == b"":
                return None
            continue
        if len(node) != _SHORT:
            raise ProofRefused(what, "a branch, an extension or a leaf", f"a node of {len(node)} parts")
        prefix, leaf = _unpacked(node[0])
        if path[: len(prefix)] != prefix:
            return None
        del path[: len(prefix)]
        if leaf:
            return bytes(node[1]) if not path else None
        wanted = node[1]


def _node(wanted: Any, rest: list[bytes], what: str) -> Sequence[Any]:
    if isinstance(wanted, list | tuple):
        return wanted  # nodes shorter than a hash stand inside the one before
    if not rest:
        raise ProofRefused(what, "the next node", "the end of the proof")
    raw = rest.pop(0)
    if keccak(raw) != wanted:
        raise ProofRefused(what, f"a node with hash 0x{bytes(wanted).hex()}", keccak(raw))
    try:
        decoded = rlp.decode(raw)
    except rlp.exceptions.RLPException as error:
        raise ProofRefused(what, "a node", "bytes that are none") from error
    if not isinstance(decoded, list):
        raise ProofRefused(what, "a node", "bytes that are none")
    return decoded


def _unpacked(encoded: bytes) -> tuple[list[int], bool]:
    nibbles = [nibble for byte in encoded for nibble in (byte >> 4, byte & 15)]
    flag = nibbles[0] if nibbles else 0
    return nibbles[1 if flag & 1 else 2 :], bool(flag & 2)


def _state_root(header: Any, block_hash: Bytes32) -> Bytes32:
    if not isinstance(header, dict):
        raise ProofRefused("the block", block_hash, "no such block")
    fields = [_field(header, name, kind) for name, kind in _HEADER]
    for name, kind in _LATER:
        if header.get(name) is None:
            break
        fields.append(_field(header, name, kind))
    found = keccak(rlp.encode(fields))
    if found != block_hash:
        raise ProofRefused("the block", block_hash, found)
    return Bytes32(data(header["stateRoot"], "state root"))


def _field(header: dict[str, Any], name: str, kind: type) -> bytes:
    if kind is bytes:
        return data(header.get(name), name)
    number = quantity(header.get(name), name)
    return number.to_bytes((number.bit_length() + 7) // 8)


def _nodes(proof: Any) -> list[bytes]:
    if not isinstance(proof, list):
        raise ProofRefused("the path", "a list of nodes", type(proof).__name__)
    return [data(node, "proof node") for node in proof]
