"""Services that come and go while a proxy runs: what is asked is proven, and nothing that others do stops the proxy."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace as altered

from sealmarket.inference.errors import InferenceError, RequestRefused, ServiceNotProven
from sealmarket.inference.pool import Asker
from sealmarket.inference.replicas import Replicas
from sealmarket.inference.service import Service
from sealmarket.inference.watching import MOST_OPENED, RETRY_SECONDS, Watch
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.session import SessionCode
from tests.inference.enclave import FakeEnclave
from tests.patience import until


def job(name: str) -> JobId:
    return JobId(keccak(name.encode()))


class Market:
    """Services by their names, and a proxy that began with the first. ``false`` are those that are not proven."""

    def __init__(self, folder: Path, most: int) -> None:
        self._folder, self.now = folder, 0.0
        self.enclaves: dict[JobId, FakeEnclave] = {}
        self.listed: dict[JobId, str] = {}
        self.false: set[JobId] = set()
        self.checked: list[JobId] = []
        self.said: list[str] = []
        self.changes: dict[str, object] = {}
        self.find: Callable[[], dict[JobId, str]] = lambda: self.listed
        self.replicas = Replicas([self.opened(job("first"), "")], lambda: self.now, most=most)
        self.watch = Watch(self.replicas, self._found, self.opened, self.said.append, lambda: self.now)

    def _found(self) -> dict[JobId, str]:
        return self.find()

    def opened(self, job_id: JobId, _url: str) -> Asker:
        self.checked.append(job_id)
        if job_id in self.false:
            raise ServiceNotProven("its evidence", "true", "false")
        enclave = self.enclaves[job_id] = FakeEnclave(receipt_changes={"job_id": job_id})
        asker, service = enclave.asker(self._folder / job_id.hex()), enclave.service
        asker.service = enclave.service = Service(
            facts=altered(service.facts, job_id=job_id, **self.changes),
            spec=service.spec,
            terms=service.terms,
            serving=service.serving,
            key=service.key,
            steps=(),
            block=service.block,
        )
        return asker

    @property
    def asked(self) -> list[JobId]:
        return [asker.service.facts.job_id for asker in self.replicas.askers]

    def end(self, name: str) -> None:
        """Have a service's enclave say that it is over, and a request learn of it."""
        self.enclaves[job(name)].refuses = lambda _: SessionCode.ENDED
        with pytest.raises(RequestRefused, match="ended"):
            b"".join(self.replicas.ask("chat", b"hello", 50, lambda _: None))


@pytest.fixture
def market(tmp_path: Path) -> Market:
    return Market(tmp_path, most=3)


def test_a_service_that_is_not_proven_is_never_asked_and_not_checked_again_at_once(market: Market) -> None:
    market.listed, market.false = {job("false"): "http://false"}, {job("false")}
    for _ in range(3):
        market.watch.look()
    assert market.asked == [job("first")]
    assert market.checked == [job("first"), job("false")]
    assert "is left out" in market.said[0]
    market.now += RETRY_SECONDS
    market.false.clear()
    market.watch.look()
    assert market.asked == [job("first"), job("false")]


def test_a_service_of_another_model_is_never_asked(market: Market) -> None:
    market.listed, market.changes = {job("other"): "http://other"}, {"weights": keccak(b"another")}
    for _ in range(2):
        market.watch.look()
    assert market.asked == [job("first")]
    assert market.checked.count(job("other")) == 1


@pytest.mark.parametrize("error", [InferenceError("no backend"), ValueError("anything")])
def test_a_search_that_fails_is_said_and_the_proxy_goes_on(error: Exception, market: Market) -> None:
    def fails() -> dict[JobId, str]:
        raise error

    market.find = fails
    market.watch._look_again()
    assert "were not looked for" in market.said[0]
    assert market.asked == [job("first")]


def test_a_service_that_fails_as_nothing_foresaw_keeps_no_other_from_being_looked_at(market: Market) -> None:
    opened = market.watch._open

    def fails_for_one(job_id: JobId, url: str) -> Asker:
        if job_id == job("evil"):
            raise ValueError("a name that nothing reads")
        return opened(job_id, url)

    market.watch._open = fails_for_one
    market.listed = {job("evil"): "http://evil", job("good"): "http://good"}
    market.watch.look()
    assert market.asked == [job("first"), job("good")]
    assert "is left out: ValueError: a name" in market.said[0]


def test_many_services_that_come_and_go_open_a_bounded_number(tmp_path: Path) -> None:
    market = Market(tmp_path, most=MOST_OPENED + 10)
    market.listed = {job(f"{number}"): "http://it" for number in range(MOST_OPENED + 5)}
    market.watch.look()
    assert len(market.checked) == MOST_OPENED


def test_a_proxy_without_room_looks_for_nothing(tmp_path: Path) -> None:
    market = Market(tmp_path, most=1)
    market.listed = {job("second"): "http://second"}
    market.end("first")
    market.watch.look()
    assert market.asked == [job("first")]


def test_the_last_service_stays_though_it_is_over_so_that_its_refusal_is_said(market: Market) -> None:
    market.end("first")
    market.watch.look()
    assert market.asked == [job("first")]
    market.end("first")


def test_a_service_that_opens_later_takes_over_from_one_that_ended(market: Market) -> None:
    market.listed = {job("second"): "http://second"}
    market.end("first")
    assert market.replicas.refused.is_set()
    market.watch.look()
    market.watch.look()
    assert b"".join(market.replicas.ask("chat", b"hello", 50, lambda _: None)) == b"chat:hello"
    assert market.asked == [job("second")]
    assert market.replicas.grants == 12


def test_a_refusal_has_the_proxy_look_and_its_end_ends_the_looking(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sealmarket.inference.watching.SOONEST_SECONDS", 0.01)
    market.listed = {job("second"): "http://second"}
    with market.watch:
        market.end("first")
        until("the second is asked", lambda: job("second") in market.asked)
    assert not [thread for thread in threading.enumerate() if thread.name == "services"]
