"""The meter of a service: in a real sandbox under workloads that lie, and by itself over processes in name only."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket_enclave.protocol.codec import decode
from sealmarket_enclave.protocol.job import Failure
from sealmarket_enclave.protocol.numbers import FailureCause
from sealmarket_enclave.protocol.session import SessionCode
from sealmarket_enclave.runtime.channel import Deliver, Refused
from sealmarket_enclave.runtime.kinds.session.metering import AnsweringProcess, Event
from sealmarket_enclave.sandbox import session as sandboxed
from sealmarket_enclave.sandbox.session import Done
from tests.enclave.runtime.twins import serve
from tests.enclave.session.services import (
    METER,
    Account,
    Got,
    Pending,
    Service,
    Session,
    meter_bundle,
    scratch,
    service_scene,
)

SCRIPTED = """\
import os, signal, time
def serve(session):
    for request in session.requests():
        exec(request.body.split(b"#meter ")[0].decode(), {**globals(), "session": session, "request": request})
"""
"""A workload that does what the request says."""
COUNTING = """\
import os, time
def serve(session):
    seen = []
    for request in session.requests():
        size = int.from_bytes(request.body[:4])
        asked, answered = request.body[4 : 4 + size], request.body[4 + size :]
        what = request.endpoint.partition("/")[0]
        seen.append(asked)
        say = {"request": request, "what": what, "seen": seen, "os": os, "time": time}
        for line in asked.split(b"#meter ")[1:]:
            exec(line.decode(), say)
        if not request.over:
            request.done(2, answered.count(b"w"))
"""
"""A meter for which a prompt has two units, and an answer one for each letter w; it does what the request says."""
OPENING = 32
"""Bytes of an answer before its first frame."""
WORDS = b"request.send(b'w w w'); "


class Shared:
    """One metered service for many tests, most by one account; what was used is redeemed before each request."""

    def __init__(self, folder: Path) -> None:
        self._seeds = count(1)
        self.meter = meter_bundle(folder / "meter", COUNTING)
        self.service = Service(scratch(folder), service_scene(folder / "scene", SCRIPTED, meter=self.meter))
        self.service.open()
        self._account, self._session = self._made()

    def answer(self, body: bytes, *, most: int = 64, other: bool = False) -> Got:
        """The answer to the one account, or to another one."""
        account, session = self._made() if other else (self._account, self._session)
        self.service.lease(account, units=100_000, redeemed=self.service.state().statement.total)
        return self.service.answer(session, body, most=most)

    def ask(self, body: bytes) -> Pending:
        """A request of the one account, whose answer is not read yet."""
        self.service.lease(self._account, units=100_000, redeemed=self.service.state().statement.total)
        return self.service.ask(self._session, body)

    def _made(self) -> tuple[Account, Session]:
        account = Account(next(self._seeds))
        return account, self.service.session(account, cap=100_000)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    made = Shared(tmp_path_factory.mktemp("metered"))
    yield made
    made.service.close()


def test_what_a_workload_says_of_units_counts_for_nothing(shared: Shared) -> None:
    for claim in (b"request.done(400, 100)", b"request.done(0, 0)", b"request.done(30, 30)"):
        got = shared.answer(WORDS + claim)
        assert (got.receipt.receipt.prompt_units, got.receipt.receipt.output_units) == (2, 3)


def test_a_whole_answer_costs_at_least_one_unit(shared: Shared) -> None:
    got = shared.answer(b"request.send(b'y'); request.done(0, 0)#meter request.done(0, 0)")
    assert (got.receipt.receipt.prompt_units, got.receipt.receipt.output_units) == (0, 1)


def test_padding_costs_the_user_nothing(shared: Shared) -> None:
    """Without a meter each started 64 bytes cost a unit."""
    got = shared.answer(b"request.send(b'w' + bytes(1500)); request.done(0, 0)")
    assert got.receipt.receipt.output_units == 1


@pytest.mark.parametrize("end", [b"os._exit(1)", b"request.send(b'w' * 9999)"])
def test_an_answer_that_its_workload_breaks_off_costs_what_left_of_it_by_the_meter(shared: Shared, end: bytes) -> None:
    got = shared.answer(WORDS + end)
    assert got.abort.code in (SessionCode.WORKLOAD_FAILED, SessionCode.OUTPUT_TOO_LONG)
    assert (got.abort.receipt.prompt_units, got.abort.receipt.output_units) == (2, 3)


def test_a_user_that_hangs_up_once_it_has_read_the_start_of_an_answer_pays_for_the_prompt(shared: Shared) -> None:
    pending = shared.ask(WORDS + b"time.sleep(1000)")
    shared.service.until(lambda: len(pending.data) > OPENING)
    shared.service.drop(pending)
    got = shared.service.read(pending)
    assert (got.abort.code, got.text) == (SessionCode.STOPPED, b"w w w")
    assert (got.abort.receipt.prompt_units, got.abort.receipt.output_units) == (2, 3)


def test_one_that_hangs_up_before_anything_left_pays_nothing(shared: Shared) -> None:
    pending = shared.ask(b"time.sleep(1000)")
    shared.service.drop(pending)
    got = shared.service.read(pending)
    assert (got.text, got.abort.receipt.prompt_units, got.abort.receipt.output_units) == (b"", 0, 0)


def test_an_answer_whose_engine_has_no_spelling_costs_its_prompt_too(shared: Shared) -> None:
    got = shared.answer(WORDS + b"request.done(0, 0, {'engine': 2**60})")
    assert got.abort.code is SessionCode.WORKLOAD_FAILED
    assert (got.abort.receipt.prompt_units, got.abort.receipt.output_units) == (2, 3)


def test_a_workload_that_writes_on_when_it_is_done_is_counted_and_then_ended(shared: Shared) -> None:
    got = shared.answer(WORDS + b"request.done(0, 0); os.write(session._output, b'S' + bytes(9)); time.sleep(1000)")
    assert got.receipt.receipt.output_units == 3


@pytest.mark.parametrize("meter", [b"1 / 0", b"request._write(b'D', b'nonsense')"])
def test_a_prompt_that_the_meter_cannot_count_reaches_no_workload_and_costs_nothing(
    shared: Shared, meter: bytes
) -> None:
    got = shared.answer(b"request.send(b'here'); request.done(0, 0)#meter " + meter)
    assert got.abort.code is SessionCode.NOT_METERED
    assert got.text == b""
    assert (got.abort.receipt.prompt_units, got.abort.receipt.output_units) == (0, 0)


def test_an_answer_that_the_meter_does_not_count_costs_the_units_of_its_bytes(shared: Shared) -> None:
    got = shared.answer(b"request.send(b'w' * 130); request.done(9, 9)#meter what == 'prompt' or os._exit(0)")
    assert got.abort.code is SessionCode.NOT_METERED
    assert (got.abort.receipt.prompt_units, got.abort.receipt.output_units) == (0, 3)


def test_a_prompt_beyond_what_is_allowed_reaches_no_workload_and_costs_a_unit(shared: Shared) -> None:
    for units, most in ((9, 8), (401, 450)):
        body = b"request.send(b'here')#meter request.done(%d, 0)" % units + b" " * 400
        got = shared.answer(body, most=most)
        assert got.abort.code is SessionCode.UNITS_REFUSED
        assert got.text == b""
        assert (got.abort.receipt.prompt_units, got.abort.receipt.output_units) == (0, 1)


def test_a_meter_counts_no_more_units_than_there_are_bytes(shared: Shared) -> None:
    body = b"request.send(b'www'); request.done(0, 0)#meter request.done(2 if what == 'prompt' else 2**40, 2**40)"
    got = shared.answer(body)
    assert (got.receipt.receipt.prompt_units, got.receipt.receipt.output_units) == (2, 3)


def test_a_meter_never_sees_two_accounts(shared: Shared) -> None:
    """It counts a unit for each prompt that it ever saw; a second account's meter has seen one."""
    body = b"request.send(b'w' * 20); request.done(0, 0)#meter request.done(len(set(seen)), 0)"
    for text in (b"1; ", b"2; "):
        assert shared.answer(text + body, other=True).receipt.receipt.prompt_units == 1


def test_the_receipt_names_the_meter_whatever_the_workload_says(shared: Shared) -> None:
    got = shared.answer(WORDS + b"request.done(0, 0, {'meter': 'mine', 'engine': 'e'})")
    assert got.receipt.engine == {"engine": "e", "meter": str(shared.meter.digest)}
    assert shared.answer(WORDS + b"os._exit(1)").abort.engine == {"meter": str(shared.meter.digest)}


def test_without_a_meter_a_receipt_names_none(tmp_path: Path) -> None:
    service = Service(scratch(tmp_path), service_scene(tmp_path / "scene", SCRIPTED))
    service.open()
    account = Account(1)
    service.lease(account)
    got = service.answer(service.session(account), b"request.done(1, 1, {'meter': 'mine'})")
    assert got.receipt.engine == {}
    service.close()


def test_a_service_whose_meter_the_host_leaves_out_can_never_run(tmp_path: Path) -> None:
    scene = service_scene(tmp_path / "scene", meter=meter_bundle(tmp_path / "meter", COUNTING))
    scene.steps = ()
    service = Service(scratch(tmp_path), scene)
    service.quote()
    service.host.send(Deliver(releases=()))
    assert serve(scene, service.host).refused is not None
    service.close()


def test_a_host_cannot_put_another_meter_in_its_place(tmp_path: Path) -> None:
    scene = service_scene(tmp_path / "scene", meter=meter_bundle(tmp_path / "meter", COUNTING))
    scene.steps = (meter_bundle(tmp_path / "other", COUNTING + "\n"),)
    service = Service(scratch(tmp_path), scene)
    answer = service.quote()
    assert isinstance(answer, Refused)
    assert answer.code == "step_mismatch"
    service.close()


def test_a_meter_that_serves_no_requests_is_its_owners_fault(tmp_path: Path) -> None:
    manifest = METER.replace('kind = "session"', "").partition("[session]")[0]
    manifest += '[[outputs]]\nname = "a.json"\nmedia_type = "application/json"\nmax_bytes = 9\n'
    meter = meter_bundle(tmp_path / "meter", COUNTING, manifest)
    scene = service_scene(tmp_path / "scene", meter=meter)
    service = Service(scratch(tmp_path), scene)
    service.quote()
    service.host.send(Deliver(releases=()))
    finished = serve(scene, service.host).finished
    assert finished is not None
    assert finished.failure is not None
    assert decode(Failure, finished.failure).cause is FailureCause.INPUT
    service.close()


STRAY = """\
import os, time
def serve(session):
    session._raw(b"L")
    os.read(session._requests, 4)
    os.write(session._output, b"X")
    time.sleep(1000)
"""
"""It says a byte out of turn while most of the first request waits to be read."""


@pytest.mark.parametrize("hostile", ["workload", "meter"])
def test_a_process_that_is_ended_while_its_request_is_written_ends_no_other_accounts_service(
    tmp_path: Path, hostile: str
) -> None:
    meter = meter_bundle(tmp_path / "meter", STRAY) if hostile == "meter" else None
    code = STRAY if hostile == "workload" else SCRIPTED
    service = Service(scratch(tmp_path), service_scene(tmp_path / "scene", code, meter=meter))
    service.open()
    for seed in (1, 2):
        account = Account(seed)
        service.lease(account)
        got = service.answer(service.session(account), b"x" * 900_000)
        assert got.abort.code is (SessionCode.NOT_METERED if meter else SessionCode.WORKLOAD_FAILED)
    assert service.finish().finished is not None
    service.close()


class Twin:
    """A sandboxed process that says what a test says."""

    def __init__(self, output: int) -> None:
        self.output, self.input = output, None
        self.loaded = self.closed = False
        self.crowded = False
        self.given: list[tuple[str, bytes]] = []
        self.most = 0
        self.says: list[sandboxed.Happened] = []

    def give(self, endpoint: str, most_units: int, body: bytes) -> None:
        assert not self.closed
        self.given.append((endpoint, body))
        self.most = most_units

    def write(self) -> None:
        """Nothing waits to be written."""

    def read(self) -> Iterator[sandboxed.Happened]:
        said, self.says = self.says, []
        for one in said:
            self.loaded = self.loaded or one.event is sandboxed.Event.WAITING
            yield one

    def close(self) -> None:
        self.closed = True

    def say(self, event: sandboxed.Event, data: bytes = b"", done: Done | None = None) -> None:
        self.says.append(sandboxed.Happened(event, data, done))

    def count(self, prompt: int, output: int) -> None:
        self.say(sandboxed.Event.DONE, done=Done(prompt_units=prompt, output_units=output, engine={}))


class Pair:
    """A workload and its meter, both in name only."""

    def __init__(self, *, body: bytes = b"asked", most: int = 50, max_prompt: int = 50) -> None:
        self.workload, self.meter = Twin(1), Twin(2)
        self.process = AnsweringProcess(self.workload, self.meter, max_prompt)
        self.workload.say(sandboxed.Event.WAITING)
        assert self.heard() == []
        self.meter.say(sandboxed.Event.WAITING)
        assert self.heard() == [Event.WAITING]
        self.process.give("chat", most, body)

    def heard(self) -> list[Event]:
        return [one.event for one in self.process.read()]

    def begin(self, prompt: int = 2) -> None:
        self.meter.count(prompt, 0)
        assert self.heard() == [Event.BEGUN]


def test_a_request_reaches_the_workload_when_its_prompt_is_counted_and_not_before() -> None:
    pair = Pair()
    assert (pair.workload.given, pair.process.counting) == ([], True)
    assert set(pair.process.outputs) == {2}
    assert pair.meter.given == [("prompt/chat", b"\0\0\0\5asked")]
    pair.begin()
    assert pair.workload.given == [("chat", b"asked")]
    assert set(pair.process.outputs) == {1, 2}


@pytest.mark.parametrize(("most", "max_prompt"), [(2, 50), (50, 2)])
def test_a_prompt_beyond_its_bound_leaves_the_process_waiting(most: int, max_prompt: int) -> None:
    pair = Pair(most=most, max_prompt=max_prompt)
    assert pair.meter.most == 2
    pair.meter.count(3, 0)
    assert pair.heard() == [Event.TOO_LARGE]
    pair.process.give("chat", 9, b"again")
    assert pair.workload.given == []


@pytest.mark.parametrize("event", [sandboxed.Event.SENT, sandboxed.Event.BROKEN])
@pytest.mark.parametrize("begun", [False, True])
def test_a_meter_that_says_anything_but_a_count_has_given_none(event: sandboxed.Event, begun: bool) -> None:
    pair = Pair()
    if begun:
        pair.begin()
    pair.meter.say(event, b"text")
    assert pair.heard() == [Event.UNMETERED]
    assert not pair.process.cut()


def test_a_workload_that_ends_once_its_answer_is_whole_is_counted_all_the_same() -> None:
    pair = Pair()
    pair.begin()
    pair.workload.say(sandboxed.Event.SENT, b"word")
    pair.workload.say(sandboxed.Event.DONE, done=Done(prompt_units=9, output_units=9, engine={"engine": "e"}))
    pair.workload.say(sandboxed.Event.BROKEN)
    assert pair.heard() == [Event.SENT, Event.COUNTING]
    assert pair.process.answered
    assert pair.meter.given[-1] == ("answer/chat", b"\0\0\0\5askedword")
    pair.meter.count(2, 1)
    found = list(pair.process.read())
    assert [one.event for one in found] == [Event.DONE, Event.BROKEN]
    assert found[0].done == Done(prompt_units=2, output_units=1, engine={"engine": "e"})


def test_of_an_answer_that_is_cut_the_meter_is_given_what_left_of_it() -> None:
    pair = Pair()
    pair.begin()
    pair.workload.say(sandboxed.Event.SENT, b"left")
    pair.workload.say(sandboxed.Event.SENT, b"stayed")
    assert pair.heard() == [Event.SENT, Event.SENT]
    assert pair.process.cut(len(b"stayed"))
    assert (pair.workload.closed, pair.process.outputs, pair.process.inputs) == (True, (2,), ())
    assert pair.meter.given[-1] == ("cut/chat", b"\0\0\0\5askedleft")
    pair.meter.count(0, 1)
    assert pair.heard() == [Event.CUT]


def test_of_an_answer_of_which_nothing_left_there_is_nothing_to_count() -> None:
    pair = Pair()
    assert not pair.process.cut()
    pair.begin()
    assert not pair.process.cut()


@given(st.integers(0, 2**53 - 1), st.integers(0, 2**53 - 1), st.integers(0, 2**53 - 1), st.binary(max_size=20))
def test_no_count_is_above_the_bytes_that_were_counted_or_the_prompts_first_count(
    first: int, prompt: int, output: int, sent: bytes
) -> None:
    pair = Pair(max_prompt=2**53)
    pair.begin(first)
    if sent:
        pair.workload.say(sandboxed.Event.SENT, sent)
    pair.workload.say(sandboxed.Event.DONE, done=Done(prompt_units=0, output_units=0, engine={}))
    list(pair.process.read())
    pair.meter.count(prompt, output)
    (done,) = (one.done for one in pair.process.read())
    assert done is not None
    assert done.prompt_units == min(first, prompt, len(b"asked"))
    assert done.output_units == min(output, len(sent))


def test_without_a_meter_what_the_workload_says_is_taken() -> None:
    workload = Twin(1)
    process = AnsweringProcess(workload, None, 50)
    workload.say(sandboxed.Event.WAITING)
    assert [one.event for one in process.read()] == [Event.WAITING]
    process.give("chat", 9, b"asked")
    assert not process.counting
    workload.say(sandboxed.Event.DONE, done=Done(prompt_units=4, output_units=5, engine={}))
    (found,) = process.read()
    assert (found.event, found.done) == (Event.DONE, Done(prompt_units=4, output_units=5, engine={}))
    assert not process.cut()
