"""A service in a real sandbox, under a host that lies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sealmarket_enclave.protocol.session import SessionCode
from tests.enclave.session.services import WEIGHTS, Account, Service, scratch, service_scene

ALICE, BOB = Account(0x61), Account(0x62)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(scratch(tmp_path), service_scene(tmp_path / "scene"))
    made.open()
    yield made
    made.close()


def test_an_answer_is_streamed_and_its_receipt_names_what_it_was_made_of(service: Service) -> None:
    service.lease(ALICE, BOB)
    alice, bob = service.session(ALICE), service.session(BOB)
    assert service.answer(alice, b"", endpoint="models").text == WEIGHTS
    assert service.answer(bob, b"from bob").text == b"from bob"
    got = service.answer(alice, b"from alice")
    assert got.text == b"|from alice"
    assert (got.receipt.receipt.prompt_units, got.receipt.receipt.output_units) == (10, 2)
    assert got.receipt.engine == {"engine": "echo"}
    said = service.finish()
    assert said.finished is not None
    assert said.finished.settlement is not None
    last = service.statements[-1].statement
    assert last.last
    assert {entry.account: entry.units for entry in last.entries} == {ALICE.address: 13, BOB.address: 10}
    assert last.total == 23


def test_without_a_lease_a_request_is_refused(service: Service) -> None:
    assert service.answer(service.session(ALICE), b"x").refusal.code == SessionCode.NO_LEASE
