"""A contract's answer about a signature is taken as the market takes it: 32 bytes, within bounded gas."""

from __future__ import annotations

from typing import Any

import pytest

from sealmarket.chain import ChainUnavailable
from sealmarket.chain.erc1271 import GAS, MOST_SIGNATURE_BYTES, SELECTOR, call_of, contract_accepts
from sealmarket_enclave.protocol.codec import Address
from sealmarket_enclave.protocol.hashing import keccak
from tests.chain.node import Node, chain, error

SIGNER, DIGEST = Address(b"\x77" * 20), keccak(b"an order")


def words(success: int, length: int, word: bytes) -> str:
    return "0x" + (success.to_bytes(32) + length.to_bytes(32) + word.ljust(32, b"\0")).hex()


YES = words(1, 32, SELECTOR)


def node(answer: Any, code: str = "0x6001") -> Node:
    made = Node()
    made.answers |= {"eth_getCode": code, "eth_call": answer}
    return made


@pytest.mark.parametrize(
    "answer",
    [
        words(1, 32, b"\xff" * 4),
        words(1, 33, SELECTOR),
        words(1, 31, SELECTOR),
        words(1, 32, bytes(31) + b"\1"),
        words(1, 0, b""),
        words(0, 32, SELECTOR),
    ],
    ids=["refusal", "longer", "shorter", "true", "nothing", "revert with the answer"],
)
def test_any_other_answer_is_no_signature(answer: Any) -> None:
    assert not contract_accepts(chain(node(answer)), SIGNER, DIGEST, b"signature")


def test_an_account_without_code_accepts_nothing() -> None:
    asked = node(YES, code="0x")
    assert not contract_accepts(chain(asked), SIGNER, DIGEST, b"signature")
    assert "eth_call" not in [method for method, _ in asked.asked]


def test_a_signature_beyond_its_size_is_not_put_to_a_contract() -> None:
    asked = node(YES)
    assert not contract_accepts(chain(asked), SIGNER, DIGEST, bytes(MOST_SIGNATURE_BYTES + 1))
    assert "eth_call" not in [method for method, _ in asked.asked]


def test_a_chain_that_cannot_be_read_says_nothing_about_a_signature() -> None:
    with pytest.raises(ChainUnavailable):
        contract_accepts(chain(node(error(-32000, "missing trie node"))), SIGNER, DIGEST, b"signature")


@pytest.mark.parametrize("code", ["0x6001", "0xef0100" + "11" * 20], ids=["contract", "EIP-7702"])
def test_a_contract_is_asked_at_the_newest_block_with_bounded_gas(code: str) -> None:
    asked = node(YES, code=code)
    assert contract_accepts(chain(asked), SIGNER, DIGEST, b"signature")
    (call,) = [params for method, params in asked.asked if method == "eth_call"]
    assert GAS * 64 // 63 < int(call[0]["gas"], 16) < GAS + 150_000
    assert "to" not in call[0]
    assert SELECTOR.hex() + DIGEST.hex() in call[0]["data"]


def test_the_instructions_copy_the_payload_that_stands_behind_them() -> None:
    payload = bytes(range(200))
    code = call_of(SIGNER, payload)
    length, offset = int.from_bytes(code[1:3]), int.from_bytes(code[4:6])
    assert code[offset:] == payload
    assert length == len(payload)
