"""Sending: simulated first, one nonce after the other, and the node's word is checked."""

from __future__ import annotations

from typing import Any

import pytest
import rlp
from eth_account import Account
from eth_account.signers.local import LocalAccount

from sealmarket.chain import NodeDistrusted, NotMined, Reverted, RpcRefused, Sender
from sealmarket.chain.calls import Call
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Bytes32, Wei
from sealmarket_enclave.protocol.hashing import keccak
from tests.chain.node import Node, block, chain, error
from tests.chain.test_reverts import payload

ACCOUNT: LocalAccount = Account.create()


class Mining(Node):
    """A node that puts each transaction into a block at once."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[dict[str, Any]] = []
        self.pending = 4
        self.status = "0x1"
        self.answers |= {
            "eth_estimateGas": "0x5208",
            "eth_getTransactionCount": lambda _who, _tag: hex(self.pending),
            "eth_gasPrice": "0x3b9aca00",
            "eth_sendRawTransaction": self.take,
            "eth_getTransactionReceipt": self.receipt,
        }

    def take(self, raw: str) -> str:
        payload = bytes.fromhex(raw[2:])
        typed = payload[0] == 2  # EIP-1559: chain id, nonce, tip, most per gas, ...
        fields = rlp.decode(payload[1:] if typed else payload)
        names = {1: "nonce", 3: "maxFeePerGas"} if typed else {0: "nonce", 1: "gasPrice"}
        self.sent.append({name: int.from_bytes(fields[place]) for place, name in names.items()})
        return str(keccak(payload))

    def receipt(self, transaction: str) -> dict[str, Any]:
        return {
            "transactionHash": transaction,
            "blockNumber": hex(5),
            "blockHash": block(5)["hash"],
            "status": self.status,
            "gasUsed": "0x5208",
            "effectiveGasPrice": "0x2",
            "contractAddress": None,
            "logs": [],
        }


def sender(node: Node, **options: Any) -> tuple[Sender, Call]:
    reader = chain(node)
    return Sender(reader, ACCOUNT, pause=lambda _seconds: None, **options), reader.market.stake(ZERO_ADDRESS, Wei(1))


def test_a_call_that_would_revert_is_not_sent_and_says_why() -> None:
    node = Mining()
    node.answers["eth_estimateGas"] = error(3, "execution reverted", "0x" + payload("ZeroAmount").hex())
    sending, call = sender(node)
    with pytest.raises(Reverted, match="the amount is zero"):
        sending.send(call)
    assert node.sent == []


def test_a_transaction_that_another_came_before_is_asked_for_its_reason() -> None:
    node = Mining()
    node.status = "0x0"
    node.answers["eth_call"] = error(3, "execution reverted", "0x" + payload("MatchingIsPaused").hex())
    sending, call = sender(node)
    with pytest.raises(Reverted, match="paused"):
        sending.send(call)
    node.answers["eth_call"] = "0x"
    with pytest.raises(Reverted, match="no longer says why"):
        sending.send(call)


def test_a_node_that_names_another_transaction_is_distrusted() -> None:
    node = Mining()
    node.answers["eth_sendRawTransaction"] = lambda _raw: str(keccak(b"another"))
    sending, call = sender(node)
    with pytest.raises(NodeDistrusted, match="transaction hash"):
        sending.send(call)


def test_waiting_ends_and_says_that_it_may_still_come() -> None:
    node = Mining()
    node.answers["eth_getTransactionReceipt"] = None
    sending, call = sender(node, timeout=0.0)
    with pytest.raises(NotMined, match="look it up before sending anything again"):
        sending.send(call)


def test_a_nonce_that_somebody_else_took_is_asked_for_again() -> None:
    node = Mining()
    taken = iter([True, False])

    def take(raw: str) -> Any:
        if next(taken):
            node.pending = 9
            return error(-32000, "nonce too low")
        return node.take(raw)

    node.answers["eth_sendRawTransaction"] = take
    sending, call = sender(node)
    sending.send(call)
    assert node.sent[-1]["nonce"] == 9


def test_a_node_that_never_takes_a_nonce_ends_in_its_error() -> None:
    node = Mining()
    node.answers["eth_sendRawTransaction"] = error(-32000, "nonce too low")
    sending, call = sender(node)
    with pytest.raises(RpcRefused, match="nonce too low"):
        sending.send(call)


def test_nonces_follow_each_other_before_the_node_has_counted_them() -> None:
    node = Mining()
    sending, call = sender(node)
    for _ in range(3):
        sending.send(call)
    assert [sent["nonce"] for sent in node.sent] == [4, 5, 6]


def test_a_chain_without_a_base_fee_is_paid_by_the_gas_price() -> None:
    node = Mining()
    sending, call = sender(node)
    sending.send(call)
    assert node.sent[-1]["gasPrice"] == 10**9


def test_a_chain_with_a_base_fee_is_paid_by_eip_1559() -> None:
    node = Mining()
    node.answers["eth_getBlockByNumber"] = lambda tag, full: {**node._block(tag, full), "baseFeePerGas": "0x64"}  # type: ignore[dict-item]
    sending, call = sender(node)
    mined = sending.send(call)
    assert node.sent[-1]["maxFeePerGas"] == 200 + 10**9
    assert (mined.gas_used, mined.cost, mined.block.hash) == (21000, 42000, Bytes32.parse(block(5)["hash"]))


def test_a_transaction_that_the_node_forgot_is_handed_in_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that restarts loses what is in no block; the same bytes count once, whoever mines them."""
    monkeypatch.setattr("sealmarket.chain.sender.RELOOK_SECONDS", 0.0)
    node = Mining()
    taken: list[str] = []

    def take(raw: str) -> str:
        taken.append(raw)
        return node.take(raw)

    node.answers["eth_sendRawTransaction"] = take
    node.answers["eth_getTransactionByHash"] = lambda _hash: None
    node.answers["eth_getTransactionReceipt"] = lambda hash_: node.receipt(hash_) if len(taken) > 1 else None
    sending, call = sender(node)
    sending.send(call)
    assert len(taken) == 2
    assert taken[0] == taken[1]


def test_a_transaction_that_the_node_still_holds_is_not_handed_in_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sealmarket.chain.sender.RELOOK_SECONDS", 0.0)
    node = Mining()
    looks: list[str] = []

    def look(transaction: str) -> dict[str, str]:
        looks.append(transaction)
        return {"hash": transaction}

    node.answers["eth_getTransactionByHash"] = look
    node.answers["eth_getTransactionReceipt"] = lambda hash_: node.receipt(hash_) if looks else None
    sending, call = sender(node)
    sending.send(call)
    assert len(node.sent) == 1
