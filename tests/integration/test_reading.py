"""Reading on Anvil while it mines: values that must agree do so at every block that counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from sealmarket.chain import Chain, RpcRefused, Sender
from sealmarket.protocol.book import FinalityRule
from sealmarket_enclave.protocol.codec import Address
from sealmarket_localnet import chains
from sealmarket_localnet.processes import Supervisor
from tests.chain.node import BOOK
from tests.integration.market import development_account
from tests.patience import PATIENCE

PAID = bytes.fromhex("36600e57600054600101600055005b60005460005260206000f3")
"""Counts payments without data, and answers with their number: its counter and its balance are equal in every block."""
SECONDS, BLOCKS = 4.0, 8


@dataclass(frozen=True)
class Paid:
    """A chain whose transactions all pay one contract a wei."""

    chain: Chain
    contract: Address
    since: int


@pytest.fixture(scope="module", params=["0.25", "automining"])
def paid(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Paid]:
    interval = ("--block-time", "0.25") if request.param == "0.25" else ("--block-time", "100000")
    with Supervisor(tmp_path_factory.mktemp("anvil")) as programs:
        url = chains.anvil(programs, *interval).url
        book = replace(BOOK, finality=FinalityRule(kind="depth", depth=1))
        with closing(Chain(book, url)) as chain:
            if request.param == "automining":
                chain.rpc.call("evm_setAutomine", True)
            sender = Sender(chain, development_account(0), development=True)
            made = sender.create(bytes.fromhex(f"60{len(PAID):02x}600c60003960{len(PAID):02x}6000f3") + PAID)
            assert made.created
            yield Paid(chain, made.created, made.block.number)


def pay(paid: Paid, stop: threading.Event) -> None:
    payer = development_account(1).address
    call = {"from": payer, "to": paid.contract.checksum, "value": "0x1", "gas": "0x30000"}
    while not stop.is_set():
        try:
            paid.chain.rpc.call("eth_sendTransaction", call)
        except RpcRefused:
            time.sleep(0.01)  # the pool is full


def test_values_read_at_a_final_block_fit_each_other_while_the_chain_mines(paid: Paid) -> None:
    """The case ``anvil_pinned_reads``: pinned to the head's hash, one read in four is of the block being mined."""
    stop = threading.Event()
    paying = threading.Thread(target=pay, args=(paid, stop))
    paying.start()
    seen: dict[int, int] = {}
    end = time.monotonic() + SECONDS
    try:
        while time.monotonic() < end or (len(seen) < BLOCKS and time.monotonic() < end + PATIENCE):
            block = paid.chain.final()
            if block.number < paid.since:
                continue
            count = int.from_bytes(paid.chain.read(paid.contract, b"\x01", block))
            assert count == paid.chain.balance(paid.contract, block), block
            seen[block.number] = count
    finally:
        stop.set()
        paying.join()
    assert len(set(seen.values())) >= BLOCKS
