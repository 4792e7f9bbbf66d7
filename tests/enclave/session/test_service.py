"""A service in a real sandbox, under a host and a workload that lie. One enclave serves most tests, by new accounts."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, Uint64
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.session import SessionCode, TabState
from sealmarket_enclave.runtime.channel import Refused, Renew, Renewed
from tests.enclave.runtime.twins import deliver
from tests.enclave.session.services import LEASE, RULES, WEIGHTS, Account, Service, scratch, service_scene
from tests.patience import until

SCRIPTED = """\
import os, signal, time
def serve(session):
    mine = []
    for request in session.requests():
        mine.append(request.body)
        exec(request.body.decode(), {**globals(), "session": session, "request": request, "mine": mine})
"""
"""A workload that does what the request says."""
FLOOD = "while True: request.send(bytes(1000))"
SILENT = "time.sleep(1000)"


class Clock:
    """The clock of an enclave, as its host moves it."""

    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.offset


class Shared:
    """One service for many tests: each takes accounts of its own, and what it used is redeemed before the next."""

    def __init__(self, folder: Path) -> None:
        self.clock, self._seeds = Clock(), count(1)
        self.service = Service(scratch(folder), service_scene(folder / "scene", SCRIPTED), self.clock)
        self.service.open()

    def accounts(self, number: int, units: int = 500) -> list[Account]:
        """New accounts with tabs, and a whole lease for them."""
        made = [Account(next(self._seeds)) for _ in range(number)]
        total = self.service.state().statement.total
        self.service.lease(*made, units=units, redeemed=total)
        return made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    made = Shared(tmp_path_factory.mktemp("service"))
    yield made
    made.service.close()


def say(expression: str, units: int = 1) -> bytes:
    return f"request.send(str({expression}).encode()); request.done(0, {units})".encode()


def test_a_request_that_was_not_sealed_to_this_service_has_no_answer(shared: Shared) -> None:
    service = shared.service
    (account,) = shared.accounts(1)
    given = service.session(account)
    sealed, secret = service.seal(given, say("1"))
    for wrong in (b"", b"x" * 2000, sealed[:-1] + bytes([sealed[-1] ^ 1]), bytes(1 << 21)):
        pending = service.send(given, wrong, secret)
        service.until(lambda one=pending: one.over)  # type: ignore[misc]
        assert pending.unopened
        assert not pending.data
    assert service.answer(given, say("1")).text == b"1"


WRONG_GRANTS: dict[str, dict[str, Any]] = {
    "another service": {"job_id": JobId(Bytes32(bytes(32)))},
    "another workload": {"workload": Bytes32(bytes(32))},
    "other weights": {"weights": Bytes32(bytes(32))},
    "another session key": {"session_key": Address(bytes(20))},
}


@pytest.mark.parametrize("change", WRONG_GRANTS.values(), ids=WRONG_GRANTS)
def test_a_grant_for_something_else_is_refused(shared: Shared, change: dict[str, Any]) -> None:
    (account,) = shared.accounts(1)
    got = shared.service.answer(shared.service.session(account, **change), say("1"))
    assert got.refusal.code == SessionCode.GRANT_REFUSED


def test_what_the_wallet_or_the_session_key_did_not_sign_is_refused(shared: Shared) -> None:
    service = shared.service
    account, other = shared.accounts(2)
    given = service.session(account)
    false = HexBytes(bytes(65))
    assert service.answer(given, say("1"), grant_signature=false).refusal.code == SessionCode.GRANT_REFUSED
    assert service.answer(given, say("1"), signature=false).refusal.code == SessionCode.GRANT_REFUSED
    stolen = service.session(other)
    stolen.grant, stolen.signature = given.grant, given.signature
    assert service.answer(stolen, say("1")).refusal.code == SessionCode.GRANT_REFUSED
    # A grant signed by another account is that account's: without a tab it is served nothing.
    forged = service.session(Account(0xEE))
    assert service.answer(forged, say("1")).refusal.code == SessionCode.NO_TAB
    assert Account(0xEE).address in [Address(one) for one in service.nonce().wanted]


def test_a_request_that_is_delivered_again_is_refused_under_a_key_of_its_own(shared: Shared) -> None:
    service = shared.service
    (account,) = shared.accounts(1)
    given = service.session(account)
    sealed, secret = service.seal(given, say("1"))
    first, second = service.send(given, sealed, secret), service.send(given, sealed, secret)
    assert service.read(second).refusal.code in (SessionCode.ANSWER_RUNS, SessionCode.NUMBER_UNEXPECTED)
    assert service.read(first).text == b"1"
    assert service.read(service.send(given, sealed, secret)).refusal.code == SessionCode.NUMBER_UNEXPECTED
    assert first.data[:32] != second.data[:32]
    assert first.data[37:] != second.data[37:]


@pytest.mark.parametrize("nodes", [(), (0,), (1, 1)])
def test_a_renewal_of_too_few_nodes_is_refused(shared: Shared, nodes: tuple[int, ...]) -> None:
    service = shared.service
    shared.accounts(1)  # a lease in force, whichever test came before
    tab = TabState(account=Account(0xEF).address, units=Uint64(500), closing=False)
    renewal = service.renewal(service.nonce().nonce, tab, block=service.block)
    assert "signatures" in service.renew(renewal, nodes)
    assert service.answer(service.session(Account(0xEF)), say("1")).refusal.code == SessionCode.NO_TAB


def test_a_renewal_that_strangers_signed_or_that_is_none_is_refused(shared: Shared) -> None:
    service = shared.service
    renewal = service.renewal(service.nonce().nonce, block=service.block).canonical()
    for raw, signatures in (
        (renewal, (bytes(65), b"", b"\x1b" * 65)),
        (renewal + b" ", ()),
        (b"{}", ()),
        (renewal, (bytes(65),) * 256),
    ):
        service.host.send(Renew(renewal=raw, signatures=signatures))
        assert service.wait(Renewed).refused


def test_a_stockpiled_renewal_is_refused(shared: Shared) -> None:
    service = shared.service
    (account,) = shared.accounts(1)
    tab = TabState(account=account.address, units=Uint64(500), closing=False)
    stored = service.renewal(service.nonce().nonce, tab, block=service.block)
    service.nonce()
    assert "nonce" in service.renew(stored)


def test_an_account_that_closes_is_stated_before_the_renewal_is_taken_and_served_no_more(shared: Shared) -> None:
    service = shared.service
    (account,) = shared.accounts(1)
    given = service.session(account)
    service.answer(given, say("1", 7))
    closing = TabState(account=account.address, units=Uint64(500), closing=True)
    nonce = service.nonce().nonce
    service.said.clear()
    assert service.renew(service.renewal(nonce, closing, block=service.block)) == ""
    assert service.said == ["Stated", "Renewed"]
    (entry,) = service.statements[-1].statement.entries
    assert (entry.account, entry.units, entry.last) == (account.address, 7, True)
    assert service.answer(given, say("1")).refusal.code == SessionCode.NO_TAB


def test_one_accounts_prompt_is_in_no_other_accounts_process(shared: Shared) -> None:
    service = shared.service
    alice, bob = shared.accounts(2)
    secret = b"# the prompt of alice\n"
    first, second = service.session(alice), service.session(bob)
    pid = service.answer(first, secret + say("os.getpid()")).text
    leak = say("(os.getpid(), [name for name in globals()], mine, open(session.path('weights'), 'rb').read())")
    got = service.answer(second, leak).text
    assert b"alice" not in got
    assert WEIGHTS in got
    assert pid not in got
    # The same account's next request goes to the same process, which still knows the first.
    assert b"alice" in service.answer(service.session(alice), say("mine")).text


@pytest.mark.long
def test_a_process_is_given_to_no_second_account_when_there_are_more_accounts_than_processes(shared: Shared) -> None:
    service = shared.service
    accounts = shared.accounts(4)
    seen = [service.answer(service.session(account), say("os.getpid()")).text for account in accounts]
    assert len(set(seen)) == 4
    assert service.answer(service.session(accounts[0]), say("len(mine)")).text == b"1"


@pytest.mark.parametrize(("script", "code"), [
    (FLOOD, SessionCode.OUTPUT_TOO_LONG),
    ("request.send(bytes(65)); raise ValueError", SessionCode.WORKLOAD_FAILED),
    ("request.send(bytes(65)); os.kill(os.getpid(), 9)", SessionCode.WORKLOAD_FAILED),
    ("request.send(bytes(65)); session._raw(b'O' + bytes(9))", SessionCode.WORKLOAD_FAILED),
    ("request.send(bytes(65)); request.done(1, 1, {'seed': 1 << 60})", SessionCode.WORKLOAD_FAILED),
    ("request.send(bytes(65)); request.done(1, 1, {'seed': 1e20})", SessionCode.WORKLOAD_FAILED),
    ("request.send(bytes(65)); session._raw(b'S' + bytes(4))", SessionCode.WORKLOAD_FAILED),
])  # fmt: skip
def test_an_answer_that_goes_wrong_is_broken_off_and_costs_what_was_released(
    shared: Shared, script: str, code: SessionCode
) -> None:
    service = shared.service
    (account,) = shared.accounts(1)
    given = service.session(account)
    got = service.answer(given, script.encode(), most=20)
    assert got.abort.code == code
    released = -(-len(got.text) // RULES.unit_bytes)
    assert (got.abort.receipt.prompt_units, got.abort.receipt.output_units) == (0, released)
    assert released <= 20
    # The grant goes on, by a new process.
    assert service.answer(given, say("len(mine)")).receipt.receipt.cumulative == released + 1


def test_a_workload_that_counts_nothing_or_too_much_is_charged_within_bounds(shared: Shared) -> None:
    service = shared.service
    (account,) = shared.accounts(1)
    given = service.session(account)
    free = service.answer(given, b"request.send(bytes(129)); request.done(0, 0)", most=20).receipt.receipt
    assert (free.prompt_units, free.output_units) == (0, 3)
    dear = service.answer(given, b"request.send(b'x'); request.done(10 ** 9, 10 ** 9)", most=20).receipt.receipt
    assert (dear.prompt_units, dear.output_units, dear.cumulative) == (20, 0, 23)


def test_an_answer_that_takes_longer_than_a_request_may_is_broken_off(shared: Shared) -> None:
    service = shared.service
    (account,) = shared.accounts(1)
    given = service.session(account)
    pending = service.ask(given, b"request.send(b'begun')\n" + SILENT.encode())
    service.until(lambda: len(pending.data) > 32)
    shared.clock.offset += 61
    assert service.read(pending).abort.code == SessionCode.OUT_OF_TIME


def test_a_peer_that_is_gone_ends_its_answer_and_pays_what_was_released(shared: Shared) -> None:
    service = shared.service
    (account,) = shared.accounts(1)
    given = service.session(account)
    pending = service.ask(given, b"request.send(bytes(64))\n" + SILENT.encode())
    waiting = service.ask(service.session(account), say("1"))
    service.until(lambda: len(pending.data) > 32)
    service.drop(waiting)
    service.drop(pending)
    assert service.read(waiting).abort.receipt.cumulative == 0
    got = service.read(pending)
    assert (got.abort.code, got.abort.receipt.output_units) == (SessionCode.STOPPED, 1)


@pytest.mark.long
def test_a_process_that_is_killed_ends_its_own_answer_alone(shared: Shared) -> None:
    service = shared.service
    alice, bob = shared.accounts(2)
    pending = service.ask(service.session(alice), f"request.send(str(os.getpid()).encode())\n{SILENT}".encode())
    service.until(lambda: len(pending.data) > 32)
    assert service.answer(service.session(bob), say("1")).text == b"1"
    # In a private root the process sees its own number.
    for child in children():
        os.kill(child, signal.SIGKILL)
    assert service.read(pending).abort.code == SessionCode.WORKLOAD_FAILED
    assert service.answer(service.session(bob), say("1")).text == b"1"


def children() -> list[int]:
    """The processes of this service's sandbox."""
    with suppress(OSError):
        return [
            int(one) for task in Path("/proc/self/task").iterdir() for one in (task / "children").read_text().split()
        ]
    return []


def test_no_more_is_served_than_the_lease_and_more_once_it_was_redeemed(shared: Shared) -> None:
    service = shared.service
    accounts = shared.accounts(3)
    for account in accounts[:2]:
        got = service.answer(service.session(account), b"request.send(b'x'); request.done(400, 90)", most=490)
        assert got.receipt.receipt.cumulative == 490
    given = service.session(accounts[2])
    assert service.answer(given, say("1"), most=LEASE - 2 * 490 + 1).refusal.code == SessionCode.LEASE_SPENT
    total = service.state(*accounts).statement.total
    service.lease(*accounts, redeemed=total)
    assert service.answer(given, say("1", 100), most=400).receipt.receipt.cumulative == 100


def test_a_service_ends_when_its_last_answer_has_and_takes_no_request_meanwhile(tmp_path: Path) -> None:
    service = Service(scratch(tmp_path), service_scene(tmp_path / "scene"))
    service.open()
    alice, bob = Account(0x61), Account(0x62)
    service.lease(alice, bob)
    assert service.answer(service.session(alice), b"", endpoint="models").text == WEIGHTS
    got = service.answer(service.session(bob), b"from bob")
    assert got.text == b"from bob"
    assert (got.receipt.receipt.prompt_units, got.receipt.receipt.output_units) == (8, 2)
    assert got.receipt.engine == {"engine": "echo"}
    said = service.finish()
    assert said.finished is not None
    assert said.finished.settlement is not None
    last = service.statements[-1].statement
    assert (last.total, last.last) == (11, True)
    assert {entry.account: entry.units for entry in last.entries} == {alice.address: 1, bob.address: 10}
    service.close()


def test_a_host_that_dies_ends_the_enclave_and_every_process(tmp_path: Path) -> None:
    service = Service(scratch(tmp_path), service_scene(tmp_path / "scene", SCRIPTED))
    before = set(children())
    service.open()
    alice = Account(0x61)
    service.lease(alice)
    pending = service.ask(service.session(alice), b"request.send(b'begun')\n" + SILENT.encode())
    service.until(lambda: len(pending.data) > 32)
    started = set(children()) - before
    assert started
    service.close()
    until("every process ended", lambda: not started & set(children()))


@pytest.mark.long
def test_a_workload_that_never_comes_up_is_a_failure_of_the_request(tmp_path: Path) -> None:
    service = Service(
        scratch(tmp_path), service_scene(tmp_path / "scene", "def serve(session):\n    raise ValueError\n")
    )
    service.open()
    alice = Account(0x61)
    service.lease(alice)
    got = service.answer(service.session(alice), b"x")
    assert (got.abort.code, got.abort.receipt.cumulative) == (SessionCode.WORKLOAD_FAILED, 0)
    said = service.finish()
    assert said.finished is not None
    assert said.finished.failure is not None
    service.close()


def test_other_terms_than_the_requests_are_refused_before_the_quote(tmp_path: Path) -> None:
    service = Service(scratch(tmp_path), service_scene(tmp_path / "scene"))
    other = msgspec.structs.replace(service.terms, lease=Uint64(999)).canonical()
    answer = service.quote(extension=other)
    assert isinstance(answer, Refused)
    assert answer.code == "session_terms_mismatch"
    service.close()


def test_terms_that_an_owner_does_not_allow_are_a_failure_of_the_request(tmp_path: Path) -> None:
    strict = msgspec.structs.replace(RULES, max_lease=Uint64(999))
    service = Service(scratch(tmp_path), service_scene(tmp_path / "scene", serving=strict))
    evidence = service.quote()
    assert not isinstance(evidence, Refused)
    deliver(service.scene, service.enclave, evidence, ())
    said = service.rest()
    assert said.finished is not None
    assert said.finished.failure is not None
    service.close()
