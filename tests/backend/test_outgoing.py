"""The keeper's calls go in batches; an entry that fails concerns itself alone."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from sealmarket.chain.calls import Call
from sealmarket.chain.contracts import MarketContract
from sealmarket.chain.errors import ChainUnavailable, NotMined, Replaced, Reverted
from sealmarket.chain.ledger_events import BatchEntryFailed
from sealmarket_backend.errors import StorageFailed
from sealmarket_backend.outgoing import MOST_GAS, MOST_GAS_EACH, Outgoing, Watched
from sealmarket_backend.spending import GWEI, KeeperSettings, Spending
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Bytes32, HexBytes, Uint
from sealmarket_enclave.protocol.errors import SealmarketError
from tests.backend.full import full_disk
from tests.backend.orders import BOOK

MARKET = MarketContract(BOOK.market, BOOK.chain_id)
NOT_ENOUGH_GAS = bytes.fromhex("dd629f86")


class Receipt:
    def __init__(self, events: list[object]) -> None:
        self.events, self.cost = events, 7_000 * GWEI


class Sender:
    """Remembers what was sent: function, number of entries, gas of each. ``lost`` are the ones that no block has."""

    def __init__(self, *gas: int) -> None:
        self.gas = list(gas)
        self.sent: list[tuple[str, int, int]] = []
        self.failing: list[int] = []
        self.lost: set[int] = set()
        self.refused: SealmarketError | None = None
        self.down = False

    def gas_of(self, _call: Call) -> int:
        return self.gas.pop(0)

    def price(self) -> int:
        return GWEI

    def submit(self, call: Call) -> Bytes32:
        if self.down:
            raise ChainUnavailable("http://node", "it is down")
        arguments: Any = call.arguments
        batch = call.function == "batch"
        self.sent.append((call.function, *((len(arguments[0]), arguments[1]) if batch else (1, 0))))
        return Bytes32(bytes([len(self.sent) - 1]) * 32)

    def look(self, transaction: Bytes32) -> Any:
        if transaction[0] in self.lost:
            return None
        if self.refused:
            raise self.refused
        at: Any = None
        return Receipt([BatchEntryFailed(at, Uint(place), HexBytes(NOT_ENOUGH_GAS)) for place in self.failing])


def outgoing_of(sender: Sender, spending: Spending | None = None) -> Outgoing:
    """What has sent as many entries as the sender has gas for."""
    outgoing = Outgoing(sender, MARKET, spending)
    for place in range(len(sender.gas)):
        outgoing.add(f"entry {place}", MARKET.return_unspent(Bytes32(bytes([place]) * 32)))
    outgoing.send()
    return outgoing


def sent(sender: Sender) -> list[tuple[str, int, int]]:
    outgoing_of(sender).look()
    return sender.sent


def test_what_no_block_has_is_waited_for_and_nothing_else_is() -> None:
    sender = Sender(100_000, MOST_GAS_EACH)
    sender.lost = {0}
    outgoing = outgoing_of(sender)
    assert (outgoing.waits_for("entry 0"), outgoing.waits_for("entry 1")) == (True, True)
    outgoing.look()
    assert (outgoing.waits_for("entry 1"), outgoing.waits_for("entry 0")) == (True, False)
    sender.lost.clear()
    outgoing.look()
    assert not outgoing.waits_for("entry 1")


@pytest.mark.parametrize(
    "refused",
    [Reverted("X", {}, "no", "-"), Replaced("0x", 1, "0x"), NotMined("0x", 0.0)],
    ids=lambda error: type(error).__name__,
)
def test_what_was_refused_in_its_block_may_be_tried_again(refused: SealmarketError) -> None:
    sender = Sender(100_000)
    sender.refused = refused
    outgoing = outgoing_of(sender)
    outgoing.look()
    assert not outgoing.waits_for("entry 0")


def test_a_node_that_does_not_answer_does_not_end_a_transaction() -> None:
    sender = Sender(100_000)
    sender.refused = ChainUnavailable("http://node", "it is down")
    outgoing = outgoing_of(sender)
    outgoing.look()
    assert outgoing.waits_for("entry 0")


def test_what_is_not_sent_or_in_no_block_is_counted_as_nothing_and_the_rest_by_its_gas(database: Database) -> None:
    sender = Sender(100_000, 300_000)
    spending = Spending(database, KeeperSettings(), sender)
    outgoing = outgoing_of(sender, spending)
    assert spending.today() == 400_000
    outgoing.look()
    assert spending.today() == 7_000
    sender.gas, sender.down = [100_000], True
    outgoing_of(sender, spending)
    sender.gas, sender.down, sender.refused = [100_000], False, NotMined("0x", 0.0)
    outgoing_of(sender, spending).look()
    assert spending.today() == 7_000


def test_what_a_turn_that_broke_off_left_unsent_is_called_off_and_not_sent_with_the_next(database: Database) -> None:
    sender, called_off = Sender(100_000, 100_000), list[object]()
    spending = Spending(database, KeeperSettings(), sender)
    outgoing = Outgoing(sender, MARKET, spending)
    call = MARKET.return_unspent(Bytes32(bytes(32)))
    outgoing.add("entry", call, Watched(called_off.append))
    with full_disk(database, "gas_spent"), pytest.raises(StorageFailed):
        outgoing.send()
    assert (sender.sent, called_off) == ([], [])
    outgoing.look()
    assert (called_off, spending.today()) == ([None], 0)
    outgoing.add("entry", call)
    outgoing.send()
    assert sender.sent == [("returnUnspent", 1, 0)]
    assert spending.today() == 100_000


def test_one_call_is_sent_as_it_is() -> None:
    assert sent(Sender(100_000)) == [("returnUnspent", 1, 0)]


def test_each_entry_gets_what_the_most_expensive_one_took_and_a_quarter_more() -> None:
    assert sent(Sender(100_000, 200_000, 150_000)) == [("batch", 3, 250_000)]


def test_what_takes_more_than_the_ceiling_goes_alone() -> None:
    assert sent(Sender(100_000, MOST_GAS_EACH, 120_000)) == [("returnUnspent", 1, 0), ("batch", 2, 150_000)]


def test_no_batch_takes_more_than_a_part_of_a_block() -> None:
    found = sent(Sender(*[400_000] * 40))
    assert [entries for _, entries, _ in found] == [16, 16, 8]
    assert all(entries * each <= MOST_GAS for _, entries, each in found)


def test_a_batch_brings_the_gas_of_all_its_entries_along() -> None:
    calls = [MARKET.return_unspent(Bytes32(bytes([place]) * 32)) for place in range(3)]
    assert MARKET.batch(calls, 100_000).least_gas > 3 * 100_000


def test_an_entry_that_failed_is_named_with_the_contracts_reason(caplog: pytest.LogCaptureFixture) -> None:
    sender = Sender(100_000, 100_000)
    sender.failing = [1]
    with caplog.at_level(logging.INFO):
        sent(sender)
    assert "entry 1: the contract refuses it for now: not enough gas was left" in caplog.text


def test_a_transaction_that_is_not_sent_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    sender = Sender(100_000, MOST_GAS_EACH)
    sender.down = True
    assert sent(sender) == []
    assert len(caplog.records) == 2
