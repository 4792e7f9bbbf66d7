"""The receipts of a block give the root that its header names, or they are refused."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
import rlp
from hypothesis import given, settings
from hypothesis import strategies as st

from sealmarket.chain.errors import AnswerTooLong, NodeDistrusted, TooSlow
from sealmarket.chain.proof import ProofRefused, StateHeader
from sealmarket.chain.proven_logs import ProvenLogs
from sealmarket.chain.quorum import EndpointQuorum
from sealmarket.chain.receipts import ordered_root, proven_logs, receipts_of
from sealmarket.chain.rpc import Rpc
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.hashing import keccak
from tests.chain.test_storage_proof import Trie

BLOCK = keccak(b"block")
EMPTY_ROOT = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"
"""Of a block without transactions (Ethereum yellow paper, 4.3.2)."""


def receipt(place: int, *logs: dict[str, Any], **changes: Any) -> dict[str, Any]:
    base = {
        "type": "0x2",
        "status": "0x1",
        "cumulativeGasUsed": hex(21_000 * (place + 1)),
        "logsBloom": "0x" + "00" * 256,
        "transactionHash": str(keccak(b"transaction %d" % place)),
        "logs": list(logs),
    }
    return base | changes


def log(number: int) -> dict[str, Any]:
    return {"address": "0x" + "aa" * 20, "topics": [str(keccak(b"%d" % number))], "data": f"0x{number:064x}"}


def encoded(found: dict[str, Any]) -> bytes:
    """A receipt as EIP-2718 and EIP-658 have it."""
    logs = [
        [_raw(one["address"]), [_raw(topic) for topic in one["topics"]], _raw(one["data"])] for one in found["logs"]
    ]
    body: list[Any] = [int(found["status"], 16), int(found["cumulativeGasUsed"], 16), _raw(found["logsBloom"]), logs]
    body += [int(found[name], 16) for name in ("depositNonce", "depositReceiptVersion") if name in found]
    kind = int(found["type"], 16)
    return (bytes([kind]) if kind else b"") + bytes(rlp.encode(body))


def _raw(value: str) -> bytes:
    return bytes.fromhex(value[2:])


def shown(receipts: Any, root: bytes) -> list[dict[str, Any]]:
    """The logs that an endpoint with these receipts proves under a root."""
    header = StateHeader(block_hash=BLOCK, number=7, timestamp=1, state_root=BLOCK, receipts_root=Bytes32(root))
    rpc = Rpc("http://endpoint.twin")

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"jsonrpc": "2.0", "id": json.loads(request.content)["id"], "result": receipts})

    rpc.mount(httpx.MockTransport(answer))
    return proven_logs(rpc, header)


def root_of(receipts: list[dict[str, Any]]) -> bytes:
    return Trie({rlp.encode(place): encoded(one) for place, one in enumerate(receipts)}).root


TRUE = [receipt(0, log(1)), receipt(1, type="0x0"), receipt(2, log(2), log(3))]


# --- refusals ---------------------------------------------------------------------------------------------------

LIES: dict[str, list[Any]] = {
    "a log left out": [TRUE[0], TRUE[1], receipt(2, log(2))],
    "a log made up": [TRUE[0], receipt(1, log(9), type="0x0"), TRUE[2]],
    "another word in a log": [receipt(0, log(8)), *TRUE[1:]],
    "logs in another order": [TRUE[0], TRUE[1], receipt(2, log(3), log(2))],
    "receipts in another order": [TRUE[2], TRUE[1], TRUE[0]],
    "a receipt left out": TRUE[:2],
    "another outcome": [TRUE[0] | {"status": "0x0"}, *TRUE[1:]],
    "another type": [TRUE[0] | {"type": "0x1"}, *TRUE[1:]],
    "nothing": [],
}


@pytest.mark.parametrize("name", LIES)
def test_receipts_of_another_content_are_refused(name: str) -> None:
    with pytest.raises(ProofRefused, match="receipts of block 7"):
        shown(LIES[name], root_of(TRUE))


def test_two_receipts_of_one_transaction_are_refused() -> None:
    """What happened in one transaction decides about the end of a job; a receipt does not hold its name."""
    same = [one | {"transactionHash": TRUE[0]["transactionHash"]} for one in TRUE]
    with pytest.raises(ProofRefused, match="same hash twice"):
        shown(same, root_of(TRUE))


SHAPES: list[Any] = [
    None,
    7,
    {},
    [7],
    [{}],
    [{"logs": 1}],
    [receipt(0, type="0xff")],
    [receipt(0, logs=[{"topics": 1}])],
]


@pytest.mark.parametrize("receipts", SHAPES, ids=repr)
def test_receipts_of_another_shape_are_refused(receipts: Any) -> None:
    with pytest.raises(NodeDistrusted):
        shown(receipts, root_of(TRUE))


@pytest.mark.parametrize("name", ["0x12", "0x", None, 7])
def test_a_transaction_whose_hash_is_none_is_refused(name: Any) -> None:
    """As the endpoint's failure, so that the next one is asked."""
    with pytest.raises(NodeDistrusted):
        shown([TRUE[0] | {"transactionHash": name}, *TRUE[1:]], root_of(TRUE))


def one_by_one(transactions: Any) -> Rpc:
    """An endpoint that shows no block's receipts together, and these transactions of each block."""
    rpc = Rpc("http://endpoint.twin")
    answers: dict[str, Any] = {
        "eth_getBlockReceipts": {"error": {"code": -32601, "message": "no such method"}},
        "eth_getBlockByHash": {"result": {"transactions": transactions}},
        "eth_getTransactionReceipt": {"result": TRUE[0]},
    }

    def answer(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        return httpx.Response(200, json={"jsonrpc": "2.0", "id": asked["id"], **answers[asked["method"]]})

    rpc.mount(httpx.MockTransport(answer))
    return rpc


@pytest.mark.parametrize("hostile", ['"\\ud800"', '{"a": ["\\uDfff"]}', '{"\\udc00": 1}'])
@pytest.mark.parametrize("method", ["eth_getBlockReceipts", "eth_getBlockByHash", "eth_getTransactionReceipt"])
def test_an_endpoint_that_answers_with_half_characters_is_refused_and_the_next_one_asked(
    method: str, hostile: str
) -> None:
    """JSON may spell half a character; no journal, terminal or encoder takes it. It must stop no reader."""
    answers = {
        "eth_getBlockReceipts": '"error": {"code": -32601, "message": "no such method \\ud800"}',
        "eth_getBlockByHash": '"result": {"transactions": ["0x01"]}',
        method: f'"result": {hostile}',
    }

    honest = {
        "eth_getBlockReceipts": TRUE,
        "eth_getBlockByHash": {"transactions": ["0x01"]},
        "eth_getTransactionReceipt": TRUE[0],
    }

    def answer(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        if request.url.host == "honest.twin":
            return httpx.Response(200, json={"jsonrpc": "2.0", "id": asked["id"], "result": honest[asked["method"]]})
        text = f'{{"jsonrpc": "2.0", "id": {asked["id"]}, {answers[asked["method"]]}}}'
        return httpx.Response(200, content=text.encode(), headers={"content-type": "application/json"})

    alone = Rpc("http://liar.twin")
    alone.mount(httpx.MockTransport(answer))
    with pytest.raises(NodeDistrusted, match="half a character"):
        receipts_of(alone, BLOCK, 7)
    beside = Rpc("http://liar.twin,http://honest.twin")
    beside.mount(httpx.MockTransport(answer))
    assert receipts_of(beside, BLOCK, 7) in (TRUE, TRUE[:1])


@pytest.mark.parametrize("transactions", [None, 7, {"0x": 1}])
def test_a_block_without_a_list_of_transactions_is_refused(transactions: Any) -> None:
    with pytest.raises(NodeDistrusted, match="a list of transactions"):
        receipts_of(one_by_one(transactions), BLOCK, 7)


def test_a_list_of_transactions_of_any_length_takes_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not proven: an endpoint could have a node ask for receipts for ever."""
    whole = ["0x01"] * 100_000
    assert receipts_of(one_by_one(whole[:2]), BLOCK, 7) == [TRUE[0], TRUE[0]]
    monkeypatch.setattr("sealmarket.chain.receipts.ONE_BY_ONE_SECONDS", -1.0)
    with pytest.raises(TooSlow, match="0 of 100000 receipts of block 7"):
        receipts_of(one_by_one(whole), BLOCK, 7)


def test_receipts_one_by_one_have_no_more_bytes_than_a_list_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its own bound, and an unproven list names any number of them."""
    one = len(json.dumps(TRUE[0], separators=(",", ":")))
    monkeypatch.setattr("sealmarket.chain.receipts.MAXIMUM_ANSWER", 3 * one)
    assert len(receipts_of(one_by_one(["0x01"] * 3), BLOCK, 7)) == 3
    with pytest.raises(AnswerTooLong):
        receipts_of(one_by_one(["0x01"] * 4), BLOCK, 7)


def test_a_list_of_more_transactions_than_receipts_could_be_read_asks_for_none() -> None:
    with pytest.raises(AnswerTooLong, match="more than 67108864 bytes"):
        receipts_of(one_by_one(["0x01"] * 200_000), BLOCK, 7)


def test_logs_of_full_blocks_are_kept_up_to_a_bound_whoever_fills_them() -> None:
    """Whoever pays for a block's gas could else have each node keep 64 blocks of megabytes."""
    data = "0x" + "00" * (4 << 20)
    quorum = SimpleNamespace(
        block=lambda number: SimpleNamespace(hash=number),
        proven=lambda _read, _what: [{"data": data}],
    )
    logs = ProvenLogs(cast(Rpc, None), cast(EndpointQuorum, quorum), ())
    for number in range(5):
        logs._block_logs(number)
    assert len(logs._kept) == 1
    data = "0x"
    for number in range(5, 100):
        logs._block_logs(number)
    assert len(logs._kept) == 64


# --- what is proven ---------------------------------------------------------------------------------------------


def test_all_logs_come_in_their_order_with_their_places_and_their_transactions() -> None:
    found = shown(TRUE, root_of(TRUE))
    assert [(one["logIndex"], one["data"][-1], one["transactionHash"]) for one in found] == [
        ("0x0", "1", TRUE[0]["transactionHash"]),
        ("0x1", "2", TRUE[2]["transactionHash"]),
        ("0x2", "3", TRUE[2]["transactionHash"]),
    ]
    assert {one["blockHash"] for one in found} == {str(BLOCK)}


def test_a_block_without_transactions_has_the_empty_root() -> None:
    assert str(ordered_root([])) == EMPTY_ROOT
    assert shown([], bytes.fromhex(EMPTY_ROOT[2:])) == []


def test_a_deposit_of_an_op_chain_has_two_fields_more() -> None:
    deposit = receipt(0, log(1), type="0x7e", depositNonce="0x5", depositReceiptVersion="0x1")
    assert len(shown([deposit, TRUE[1]], root_of([deposit, TRUE[1]]))) == 1


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=80), min_size=1, max_size=40), st.integers(0, 300))
def test_the_root_of_any_list_is_that_of_its_trie(values: list[bytes], more: int) -> None:
    whole = [*values, *(b"%d" % number for number in range(more))]
    trie = Trie({rlp.encode(place): value for place, value in enumerate(whole)})
    assert ordered_root(whole) == trie.root
