"""An order in a contract's name enters after the contract accepted it, and only then counts against its quota."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from msgspec.structs import replace

from sealmarket.protocol.wire import PostedRequest
from sealmarket.serving.rates import Rates
from sealmarket_backend import book as book_module
from sealmarket_backend import signatures as signatures_module
from sealmarket_backend.book import OrderBook
from sealmarket_backend.errors import Rejected, TooMany
from sealmarket_backend.signatures import Signatures
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, Uint, Wei
from tests.backend.orders import BOOK, CONSUMER, NOW, RULES, STRANGER, account, compute, posted_request, request
from tests.patience import PATIENCE

WALLET = Address(b"\x5a" * 20)
GOOD = HexBytes(b"the wallet's own kind of signature")


class Wallet:
    """A contract that accepts one signature, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def accepts(self, signer: Address, _digest: Bytes32, signature: bytes) -> bool:
        self.asked += 1
        return (signer, signature) == (WALLET, GOOD)


@pytest.fixture
def wallet() -> Wallet:
    return Wallet()


@pytest.fixture
def book(database: Database, wallet: Wallet) -> OrderBook:
    return OrderBook(database, Signatures(BOOK, wallet.accepts, Rates(1, 5, clock=lambda: 0.0)), RULES)


def test_an_offer_of_a_contract_is_refused_before_any_job_and_its_contract_is_not_asked(
    book: OrderBook, wallet: Wallet
) -> None:
    """Nodes take evidence that a key signed: each job of such an offer would end at its provider's cost."""
    with pytest.raises(Rejected, match="expected a signature by the key of") as refused:
        book.add_compute_order(replace(compute(provider=WALLET), signature=GOOD), NOW)
    assert "a provider whose account is a contract can show no evidence" in (refused.value.remedy or "")
    assert (book.open_compute_orders(), wallet.asked) == ([], 0)


def of_the_wallet(**changes: Any) -> PostedRequest:
    """A request in the wallet's name, which it accepts."""
    posted = posted_request(consumer=WALLET, payer=WALLET, **changes)
    return replace(posted, request=replace(posted.request, signature=GOOD, payer_signature=HexBytes(b"")))


def test_unsigned_orders_in_a_contracts_name_are_refused_and_use_up_nothing_of_it(
    monkeypatch: pytest.MonkeyPatch, book: OrderBook
) -> None:
    monkeypatch.setattr(book_module, "MAX_OPEN_ORDERS_PER_ACCOUNT", 1)
    for salt in range(3):
        posted = of_the_wallet(salt=Uint(salt))
        forged = replace(posted, request=replace(posted.request, signature=HexBytes(bytes(65))))
        with pytest.raises(Rejected, match="expected a signature by"):
            book.add_request(forged, NOW)
    assert book.add_request(of_the_wallet(), NOW)


def test_a_peer_that_has_contracts_asked_too_often_has_to_wait_and_others_do_not(
    book: OrderBook, wallet: Wallet
) -> None:
    forged = posted_request(key=STRANGER)
    for _ in range(5):
        with pytest.raises(Rejected):
            book.add_request(forged, NOW, "192.0.2.1")
    with pytest.raises(TooMany, match=r"192\.0\.2\.1") as refused:
        book.add_request(forged, NOW, "192.0.2.1")
    assert (refused.value.retry_after, wallet.asked) == (1, 5)
    with pytest.raises(Rejected):
        book.add_request(forged, NOW, "192.0.2.2")


def test_contracts_that_answer_slowly_hold_up_only_so_many_threads(
    monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    monkeypatch.setattr(signatures_module, "CHECKS_AT_ONCE", 1)
    begun, go_on = threading.Event(), threading.Event()

    def slow(*_: object) -> bool:
        begun.set()
        return not go_on.wait(PATIENCE)

    book = OrderBook(database, Signatures(BOOK, slow), RULES)
    forged = posted_request(key=STRANGER)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(book.add_request, forged, NOW)
        assert begun.wait(PATIENCE)
        with pytest.raises(TooMany, match="too many signatures"):
            book.add_request(forged, NOW)
        go_on.set()
        with pytest.raises(Rejected):
            first.result(PATIENCE)


def test_a_contract_has_one_open_order_a_salt(book: OrderBook) -> None:
    book.add_request(of_the_wallet(), NOW)
    with pytest.raises(Rejected, match="salt 0 already"):
        book.add_request(of_the_wallet(max_compute_price=Wei(7)), NOW)
    book.add_request(of_the_wallet(salt=Uint(1)), NOW)
    book.add_request(of_the_wallet(), NOW)


def test_a_sponsor_with_a_contract_is_asked_as_well(book: OrderBook) -> None:
    sponsored = posted_request(payer=WALLET)
    with pytest.raises(Rejected):
        book.add_request(sponsored, NOW)
    book.add_request(replace(sponsored, request=replace(sponsored.request, payer_signature=GOOD)), NOW)


def test_an_account_with_a_key_and_code_signs_by_its_key_without_its_contract_being_asked(
    book: OrderBook, wallet: Wallet
) -> None:
    assert book.add_request(posted_request(), NOW) == request().struct_hash()
    assert (account(CONSUMER), wallet.asked) == (request().consumer, 0)
