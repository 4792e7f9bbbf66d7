"""A storage proof shows a slot under a block hash, and nothing else."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
import rlp
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.chain import proven
from sealmarket.chain.proof import ProofRefused, StateHeader, prove, proven_account
from sealmarket.chain.rpc import Rpc
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.hashing import keccak

Node = Any


def nibbles(key: bytes) -> list[int]:
    return [n for byte in key for n in (byte >> 4, byte & 15)]


def packed(path: list[int], leaf: bool) -> bytes:
    flag = 2 * leaf + len(path) % 2
    filled = [flag, *path] if len(path) % 2 else [flag, 0, *path]
    return bytes(a << 4 | b for a, b in zip(filled[::2], filled[1::2], strict=True))


class Trie:
    """A Merkle Patricia trie made the slow way, to prove against."""

    def __init__(self, entries: Mapping[Bytes32, bytes]) -> None:
        self.nodes: dict[bytes, bytes] = {}
        built = self._build([(nibbles(key), value) for key, value in entries.items()])
        raw = rlp.encode(built)
        self.root = keccak(raw)
        self.nodes[self.root] = raw

    def _build(self, entries: list[tuple[list[int], bytes]]) -> Node:
        if not entries:
            return b""
        if len(entries) == 1:
            return [packed(entries[0][0], True), entries[0][1]]
        shared = 0
        while len({path[shared] for path, _ in entries}) == 1:
            shared += 1
        if shared:
            rest = [(path[shared:], value) for path, value in entries]
            return [packed(entries[0][0][:shared], False), self._reference(self._build(rest))]
        slots: list[Node] = [
            self._reference(self._build([(path[1:], value) for path, value in entries if path[0] == n]))
            for n in range(16)
        ]
        return [*slots, b""]

    def _reference(self, node: Node) -> Node:
        if node == b"":
            return b""
        raw = rlp.encode(node)
        if len(raw) < 32:
            return node
        self.nodes[keccak(raw)] = raw
        return keccak(raw)

    def proof(self, key: bytes) -> list[bytes]:
        """All nodes of the trie, in the order of the path that uses them; more than needed is refused nowhere."""
        path, node, found = nibbles(key), rlp.decode(self.nodes[self.root]), [self.nodes[self.root]]
        while True:
            if len(node) == 17:
                wanted, path = (node[path[0]], path[1:]) if path else (b"", path)
            else:
                flag = node[0][0] >> 4
                prefix = nibbles(node[0])[1 if flag & 1 else 2 :]
                if flag & 2 or path[: len(prefix)] != prefix:
                    return found
                wanted, path = node[1], path[len(prefix) :]
            if wanted == b"":
                return found
            if isinstance(wanted, list):
                node = wanted
                continue
            found.append(self.nodes[wanted])
            node = rlp.decode(self.nodes[wanted])


ENTRIES: dict[Bytes32, bytes] = {keccak(b"%d" % n): rlp.encode(b"value %d" % n) for n in range(60)}
TRIE = Trie(ENTRIES)


@pytest.mark.parametrize("key", list(ENTRIES)[:10])
def test_a_value_is_proven(key: Bytes32) -> None:
    assert prove(TRIE.root, key, TRIE.proof(key), "the slot") == ENTRIES[key]


@pytest.mark.parametrize("number", range(100, 110))
def test_that_nothing_is_there_is_proven(number: int) -> None:
    key = keccak(b"%d" % number)
    assert prove(TRIE.root, key, TRIE.proof(key), "the slot") is None


def test_nodes_that_proofs_share_are_hashed_and_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    trie = Trie({keccak(b"shared %d" % n): rlp.encode(b"shared value %d" % n) for n in range(200)})
    keys, counted = [keccak(b"shared %d" % n) for n in range(200)], 0
    decode = rlp.decode

    def counting(raw: bytes) -> Any:
        nonlocal counted
        counted += 1
        return decode(raw)

    proofs = {key: trie.proof(key) for key in keys}
    monkeypatch.setattr(rlp, "decode", counting)
    for _block in range(2):
        for key, proof in proofs.items():
            assert prove(trie.root, key, proof, "the slot") is not None
    assert counted <= len(trie.nodes) < sum(map(len, proofs.values()))


def test_a_node_that_was_proven_before_proves_nothing_in_another_place() -> None:
    first, second = Trie({keccak(b"1"): b"one"}), Trie({keccak(b"1"): b"two"})
    assert prove(first.root, keccak(b"1"), first.proof(keccak(b"1")), "the slot") == b"one"
    with pytest.raises(ProofRefused, match="a node with hash"):
        prove(second.root, keccak(b"1"), first.proof(keccak(b"1")), "the slot")


def test_the_empty_trie_holds_nothing() -> None:
    assert prove(keccak(rlp.encode(b"")), keccak(b"1"), [], "the slot") is None


@pytest.mark.parametrize("key", list(ENTRIES)[:5])
def test_a_proof_that_ends_early_is_refused(key: Bytes32) -> None:
    proof = TRIE.proof(key)
    for length in range(len(proof)):
        with pytest.raises(ProofRefused):
            prove(TRIE.root, key, proof[:length], "the slot")


def test_a_proof_under_another_root_is_refused() -> None:
    key = next(iter(ENTRIES))
    with pytest.raises(ProofRefused):
        prove(keccak(b"another root"), key, TRIE.proof(key), "the slot")


@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_no_altered_byte_of_a_proof_passes(place: int, bit: int) -> None:
    key = next(iter(ENTRIES))
    proof = [bytearray(node) for node in TRIE.proof(key)]
    flat = [(node, i) for node in proof for i in range(len(node))]
    node, index = flat[place % len(flat)]
    node[index] ^= 1 << bit
    with pytest.raises(ProofRefused):
        prove(TRIE.root, key, [bytes(n) for n in proof], "the slot")


@given(nodes=st.lists(st.binary(max_size=80), max_size=4))
def test_no_bytes_prove_anything(nodes: list[bytes]) -> None:
    with pytest.raises(ProofRefused):
        prove(TRIE.root, keccak(b"1"), nodes, "the slot")


@given(node=st.recursive(st.binary(max_size=40), lambda inner: st.lists(inner, max_size=17), max_leaves=40))
def test_a_trie_of_any_shape_under_a_made_up_root_is_read_or_refused(node: Any) -> None:
    """A header that an endpoint made up names whatever root it likes."""
    raw = rlp.encode(node)
    try:
        found = prove(keccak(raw), keccak(b"1"), [raw], "the slot")
    except ProofRefused:
        return
    assert found is None or isinstance(found, bytes)


@pytest.mark.parametrize(
    "fields",
    [[b"", b"", [b"a"] * 32, b"c" * 32], [b"", b"", b"s" * 32, [b"a"] * 32], [b"", b"", b"s" * 32], [], b"none"],
)
def test_an_account_of_any_shape_under_a_made_up_root_is_refused(fields: Any) -> None:
    address = Address(b"a" * 20)
    trie = Trie({keccak(address): rlp.encode(fields)})
    header = StateHeader(
        block_hash=keccak(b"block"), number=1, timestamp=1, state_root=trie.root, receipts_root=trie.root
    )
    rpc = Rpc("http://liar.twin")
    shown = {"accountProof": ["0x" + node.hex() for node in trie.proof(keccak(address))], "storageProof": []}
    answer = {"jsonrpc": "2.0", "id": 1, "result": shown}
    rpc.mount(
        httpx.MockTransport(
            lambda request: httpx.Response(200, json=answer | {"id": json.loads(request.content)["id"]})
        )
    )
    with pytest.raises(ProofRefused):
        proven_account(rpc, header, address, [])


@pytest.mark.parametrize("grade", [0, 3, 255])
def test_terms_of_a_grade_that_no_contract_takes_are_refused(grade: int) -> None:
    words = defaultdict(int, {"price.minGrade": grade, "rules.owner": 1})
    with pytest.raises(ProofRefused, match="lowest grade"):
        proven._asset_state(words)
