"""A stranger's contract that fails in any way is a refusal, and costs no other party its endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from msgspec.structs import replace

from sealmarket.chain import Chain, RpcRefused
from sealmarket.chain.erc1271 import contract_accepts
from sealmarket_enclave.protocol.codec import Address
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_localnet import chains
from sealmarket_localnet.processes import Supervisor
from tests.chain.node import BOOK

ANSWER = "7f1626ba7e" + "00" * 28 + "600052"
WALLETS = {
    "answers with 64 bytes": ANSWER + "60406000f3",
    "answers with nothing": "00",
    "uses up its gas": "5b600056",
    "runs an invalid opcode": "fe",
    "returns a megabyte": "621000006000f3",
    "reverts": "60006000fd",
    "reverts with the right answer": ANSWER + "60206000fd",
}


@pytest.fixture(scope="module", params=["anvil", "hardhat", "ganache"])
def two_endpoints(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """One chain behind two addresses: which of them is asked shows whether a failure counted as the node's."""
    with Supervisor(tmp_path_factory.mktemp("chain")) as programs:
        running = chains.start(programs, request.param)
        book = replace(BOOK, chain_id=chains.CHAIN_ID, finality=running.finality)
        with closing(Chain(book, f"{running.url},{running.url.replace('127.0.0.1', 'localhost')}")) as chain:
            yield chain


def _place(chain: Chain, code: str) -> Address:
    wallet = Address(keccak(code.encode())[:20])
    for method in ("anvil_setCode", "hardhat_setCode", "evm_setAccountCode"):
        try:
            chain.rpc.call(method, wallet.checksum, "0x" + code)
        except RpcRefused:
            continue  # each chain knows one of the three
        return wallet
    raise AssertionError("no chain took the code")


@pytest.mark.parametrize("code", WALLETS.values(), ids=WALLETS)
def test_a_contract_that_fails_refuses_and_moves_no_endpoint(two_endpoints: Chain, code: str) -> None:
    wallet = _place(two_endpoints, code)
    two_endpoints.head()
    before = two_endpoints.rpc._current
    assert not contract_accepts(two_endpoints, wallet, keccak(b"an order"), b"signature")
    assert two_endpoints.rpc._current == before


def test_a_contract_that_accepts_is_believed(two_endpoints: Chain) -> None:
    wallet = _place(two_endpoints, ANSWER + "60206000f3")
    assert contract_accepts(two_endpoints, wallet, keccak(b"an order"), b"signature")
