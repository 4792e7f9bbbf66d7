"""A request whose answer was lost is found again by its hash, and none is signed in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from sealmarket.client import Wanted
from sealmarket.client.errors import PendingElsewhere, RequestUncertain
from sealmarket.client.pending import Pending, PendingRequest, pending_request
from sealmarket.market_api import MarketApi
from sealmarket.protocol.wire import PostedRequest
from sealmarket_enclave.protocol.codec import decode
from tests.client.test_consumer import KEY, LIMITS, TERMS, WISHES, Stage
from tests.client.test_owner import BOOK


def _refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("down", request=request)


class Asker:
    """Repeats one call, as a person does on the command line."""

    def __init__(self, folder: Path) -> None:
        self.stage = Stage(folder)
        self.pending: Pending[PendingRequest] = pending_request(folder, BOOK, self.stage.consumer.address)
        self.signed: list[Any] = []
        self.stage.chain.finalise()

    def ask(self, target: str = "a") -> Any:
        return self.stage.consumer.request(
            self.stage.workload,
            {"target": target},
            WISHES,
            LIMITS,
            KEY,
            pending=self.pending,
            on_signed=lambda handle: self.signed.append(handle.request_hash),
        )

    def posted(self) -> list[PostedRequest]:
        return [decode(PostedRequest, body) for body in self.stage.backend.posted.get("requests", [])]

    def go_silent_before_the_post(self, monkeypatch: pytest.MonkeyPatch) -> None:
        silent = MarketApi("http://market.twin", transport=httpx.MockTransport(_refuse))
        monkeypatch.setattr(self.stage.consumer, "_api", silent)

    def answer_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(self.stage.consumer, "_api", self.stage.backend.api())


@pytest.fixture
def asker(tmp_path: Path) -> Asker:
    return Asker(tmp_path)


def test_a_request_that_nobody_can_tell_of_is_named_and_not_signed_again(
    asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    asker.go_silent_before_the_post(monkeypatch)
    with pytest.raises(RequestUncertain) as uncertain:
        asker.ask()
    assert [uncertain.value.request_hash] == asker.signed
    assert asker.posted() == []
    asker.answer_again(monkeypatch)
    assert asker.ask().request_hash == asker.signed[0]
    assert [one.request.request.struct_hash() for one in asker.posted()] == asker.signed[:1]


def test_another_request_waits_until_the_first_ones_fate_is_known(
    asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    asker.go_silent_before_the_post(monkeypatch)
    with pytest.raises(RequestUncertain):
        asker.ask()
    asker.answer_again(monkeypatch)
    with pytest.raises(PendingElsewhere, match="of other contents"):
        asker.ask("b")
    asker.ask()
    assert asker.ask("b").request_hash not in asker.signed[:2]


def test_a_note_that_cannot_be_understood_lets_nothing_be_signed(asker: Asker) -> None:
    asker.pending.path.write_text("{")
    with pytest.raises(PendingElsewhere):
        asker.ask()
    assert asker.signed == []


def test_a_lost_answer_is_looked_up_by_the_requests_hash(asker: Asker) -> None:
    asker.stage.backend.loses_answers = 1
    handle = asker.ask()
    assert asker.stage.backend.api().orders.request(handle.request_hash).state == "open"
    assert len(asker.posted()) == 1


def test_a_request_that_waits_in_the_book_is_gone_on_with(asker: Asker) -> None:
    assert asker.ask().request_hash == asker.ask().request_hash
    assert {one.request.request.struct_hash() for one in asker.posted()} == set(asker.signed)


def test_a_request_that_was_matched_meanwhile_is_not_posted_again(asker: Asker) -> None:
    handle = asker.ask()
    asker.stage.matched(handle.request)
    assert asker.ask().request_hash == handle.request_hash
    assert len(asker.posted()) == 1


def test_an_earlier_request_is_found_before_a_quote_could_miss_the_money_that_its_match_locked(asker: Asker) -> None:
    wanted = Wanted(workload=asker.stage.workload, parameters={"target": "a"}, assets=WISHES, limits=LIMITS)
    unsigned = asker.stage.consumer.compose(wanted, KEY)
    assert asker.stage.consumer.earlier(unsigned, asker.pending) is None
    handle = asker.ask()
    asker.stage.matched(handle.request)
    found = asker.stage.consumer.earlier(asker.stage.consumer.compose(wanted, KEY), asker.pending)
    assert found is not None
    assert found.request_hash == handle.request_hash


def test_an_expired_request_is_signed_anew(asker: Asker) -> None:
    first = asker.ask()
    asker.stage.chain.mine(seconds=LIMITS.valid_for + 1)
    assert TERMS.expiry > asker.stage.chain.head().timestamp
    assert asker.ask().request_hash != first.request_hash


def test_request_and_parameters_are_posted_in_one_body(asker: Asker) -> None:
    handle = asker.ask()
    (posted,) = asker.posted()
    assert (posted.request, posted.parameters) == (handle.signed, handle.parameters)
    store = asker.stage.backend.store()
    assert store.find_parameters(handle.request_hash, handle.request.parameters_digest)
    assert replace(posted, parameters=handle.parameters) == posted
