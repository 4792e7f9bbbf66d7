"""Which process answers whom, over processes that exist in name only: order, bounds, ends, machines without room."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.session import SessionCode
from sealmarket_enclave.runtime.kinds.session.ledger import Reservation
from sealmarket_enclave.runtime.kinds.session.metering import METER_SECONDS, Event, Happened
from sealmarket_enclave.runtime.kinds.session.pool import MAX_WAITING, QUEUE, Pool, Task
from sealmarket_enclave.sandbox.model import Layer, SandboxUnavailable
from sealmarket_enclave.sandbox.session import Done

DONE = Done(prompt_units=1, output_units=1, engine={})
NAMES = [Address(bytes([place]) * 20) for place in range(1, 9)]


class ProcessTwin:
    """A process that does what a test says."""

    def __init__(self, place: int) -> None:
        self.outputs = (place,)
        self.inputs: tuple[int, ...] = ()
        self.loaded = self.crowded = self.closed = self.counting = self.answered = False
        self.metered = False
        self.unsent: int | None = None
        self.given: list[str] = []
        self.says: list[Happened] = []
        self.unconfined = False
        self.written = 0

    def give(self, endpoint: str, most_units: int, body: bytes) -> None:
        assert self.loaded
        self.given.append(body.decode())

    def cut(self, unsent: int = 0) -> bool:
        if self.metered:
            self.unsent, self.counting = unsent, True
        return self.metered

    def write(self) -> None:
        assert not self.closed
        self.written += 1

    def read(self) -> Iterator[Happened]:
        if self.unconfined:
            raise SandboxUnavailable(frozenset({Layer.SECCOMP}), "not in force")
        said, self.says = self.says, []
        for one in said:
            self.loaded = self.loaded or one.event is Event.WAITING
            yield one

    def close(self) -> None:
        self.closed = True


class World:
    """A pool with its processes, and what became of each task."""

    def __init__(self, most: int = 2) -> None:
        self.processes: list[ProcessTwin] = []
        self.ends: dict[str, str] = {}
        self.counted: dict[str, Done | None] = {}
        self.now = 0.0
        self.full = False
        self.takes = True
        self.pool = Pool(self._start, self, lambda: self.now, most=most, load_seconds=10, request_seconds=5)

    def _start(self) -> ProcessTwin:
        if self.full:
            raise BlockingIOError(11, "no room for a process")
        self.processes.append(ProcessTwin(len(self.processes)))
        return self.processes[-1]

    def sent(self, task: Task, data: bytes) -> bool:
        return self.takes

    def done(self, task: Task, done: Done) -> None:
        self._end(task, "done")

    def broken(self, task: Task, code: SessionCode, counted: Done | None = None) -> None:
        self._end(task, code)
        self.counted[task.answer.opened.body.decode()] = counted

    def _end(self, task: Task, how: str) -> None:
        body = task.answer.opened.body.decode()
        assert body not in self.ends
        self.ends[body] = how

    def ask(self, account: int, body: str) -> Task:
        header = SimpleNamespace(endpoint="chat", most_units=1)
        answer = cast("Any", SimpleNamespace(opened=SimpleNamespace(header=header, body=body.encode())))
        task = Task(NAMES[account], answer, Reservation(NAMES[account], Bytes32(bytes(32)), 1, 1), self.now)
        self.pool.submit(task)
        return task

    def hear(self, place: int, *events: Event) -> None:
        for event in events:
            done = DONE if event in (Event.DONE, Event.CUT) else None
            self.processes[place].says.append(Happened(event, b"x", done))
            self.pool.read({place})

    @property
    def running(self) -> list[ProcessTwin]:
        return [one for one in self.processes if not one.closed]


def ready(most: int = 2) -> World:
    """A pool whose spare process waits for requests."""
    world = World(most)
    world.pool.schedule()
    world.hear(0, Event.WAITING)
    return world


def test_a_machine_without_room_ends_the_requests_that_wait_and_not_the_service() -> None:
    world = World()
    world.full = True
    world.pool.schedule()
    world.ask(0, "one")
    assert world.ends == {"one": SessionCode.WORKLOAD_FAILED}
    world.full = False
    world.ask(0, "two")
    world.hear(0, Event.WAITING, Event.SENT, Event.DONE)
    assert world.ends["two"] == "done"


def test_a_process_that_ends_while_it_loads_ends_what_waits_and_is_not_started_again_unasked() -> None:
    world = World()
    world.ask(0, "one")
    world.ask(0, "two")
    world.hear(0, Event.BROKEN)
    assert world.ends == dict.fromkeys(("one", "two"), SessionCode.WORKLOAD_FAILED)
    started = len(world.processes)
    world.pool.schedule()
    assert len(world.processes) == started


def test_a_process_that_cannot_be_confined_ends_what_waits_for_it_and_not_what_others_served() -> None:
    world = ready()
    world.ask(0, "one")
    world.ask(1, "two")
    world.processes[1].unconfined = True
    world.pool.read({1})
    assert world.ends == {"two": SessionCode.WORKLOAD_FAILED}
    assert world.processes[1].closed
    assert world.processes[1].given == []
    world.hear(0, Event.DONE)
    assert world.ends["one"] == "done"


def test_a_process_that_is_ended_while_it_is_heard_is_written_to_no_more() -> None:
    world = ready()
    world.ask(0, "one")
    world.processes[0].inputs = (7,)
    world.hear(0, Event.BROKEN)
    assert (world.ends, world.processes[0].written) == ({"one": SessionCode.WORKLOAD_FAILED}, 0)


def test_a_service_whose_first_process_cannot_be_confined_ends() -> None:
    world = World()
    world.pool.schedule()
    world.processes[0].unconfined = True
    with pytest.raises(SandboxUnavailable):
        world.pool.read({0})


def test_a_process_that_does_not_load_in_time_ends() -> None:
    world = World()
    world.ask(0, "one")
    world.now = 10.0
    world.pool.tick()
    assert world.ends == {"one": SessionCode.OUT_OF_TIME}
    assert world.processes[0].closed


def test_a_request_that_takes_too_long_or_a_crowd_of_threads_ends_its_process() -> None:
    world = ready()
    world.ask(0, "slow")
    world.hear(1, Event.WAITING)
    world.ask(1, "crowd")
    world.processes[1].crowded = True
    world.pool.tick()
    world.now = 5.0
    world.pool.tick()
    assert world.ends == {"slow": SessionCode.OUT_OF_TIME, "crowd": SessionCode.WORKLOAD_FAILED}
    assert world.processes[0].closed
    assert world.processes[1].closed


def test_a_part_that_breaks_the_bounds_ends_the_process_that_sent_it() -> None:
    world = ready()
    world.ask(0, "one")
    world.takes = False
    world.hear(0, Event.SENT, Event.DONE)
    assert world.ends == {"one": SessionCode.OUTPUT_TOO_LONG}


def test_requests_beyond_an_accounts_queue_or_of_all_do_not_wait() -> None:
    world = ready(1)
    for place in range(QUEUE + 1):
        world.ask(0, f"a{place}")  # the first of them runs
    assert not world.pool.has_room(NAMES[0])
    assert world.pool.has_room(NAMES[1])
    assert QUEUE < MAX_WAITING


def test_a_request_that_no_process_takes_in_time_ends_unanswered() -> None:
    world = ready(1)
    world.ask(0, "runs")
    world.ask(1, "waits")
    world.now = 4.0
    world.hear(0, Event.DONE, Event.BROKEN)  # that process is gone, and the next one never loads
    world.now = 16.0
    world.pool.tick()
    assert world.ends["waits"] in (SessionCode.OUT_OF_TIME, SessionCode.BUSY)
    assert world.pool.tasks == []


def test_the_account_that_asked_least_recently_and_does_nothing_makes_room() -> None:
    world = ready(2)
    for account, body in ((0, "a"), (1, "b")):
        world.now += 1
        world.ask(account, body)
        world.hear(account, Event.WAITING, Event.DONE) if account else world.hear(0, Event.DONE)
    world.now += 1
    world.ask(0, "a again")
    world.ask(2, "c")
    assert world.processes[1].closed
    assert not world.processes[0].closed
    world.hear(2, Event.WAITING)
    assert world.processes[2].given == ["c"]


def test_processes_of_accounts_that_are_served_no_more_end_once_they_do_nothing() -> None:
    world = ready()
    world.ask(0, "a")
    world.pool.retire([])
    assert not world.processes[0].closed
    world.hear(0, Event.DONE)
    world.pool.retire([])
    assert world.processes[0].closed


def test_an_answer_that_is_dropped_ends_with_its_process_and_one_that_waits_without() -> None:
    world = ready(1)
    runs, waits = world.ask(0, "runs"), world.ask(0, "waits")
    world.pool.drop(waits, SessionCode.STOPPED)
    world.pool.drop(runs, SessionCode.STOPPED)
    world.pool.drop(runs, SessionCode.STOPPED)
    assert world.ends == dict.fromkeys(("runs", "waits"), SessionCode.STOPPED)
    assert world.processes[0].closed


STEPS = st.one_of(
    st.tuples(st.just("ask"), st.integers(0, 4)),
    st.tuples(st.sampled_from(list(Event)), st.integers(0, 30)),
    st.tuples(st.just("later"), st.integers(0, 6)),
)


@given(st.lists(STEPS, max_size=60), st.integers(1, 3))
def test_no_process_ever_has_two_accounts_and_every_request_ends_once(steps: list[tuple[Any, int]], most: int) -> None:
    world, asked = World(most), 0
    world.pool.schedule()
    for what, number in steps:
        if what == "ask" and world.pool.has_room(NAMES[number]):
            asked += 1
            world.ask(number, f"{number}-{asked}")
        elif what == "later":
            world.now += number
            world.pool.tick()
        elif isinstance(what, Event) and number < len(world.processes) and not world.processes[number].closed:
            world.hear(number, what)
        assert len(world.running) <= most
        for process in world.processes:
            assert len({body.split("-")[0] for body in process.given}) <= 1
    while world.pool.tasks:
        world.now += 20
        world.pool.tick()
    assert len(world.ends) == asked


@pytest.mark.parametrize("most", [1, 3])
def test_one_process_is_ready_ahead_of_need_while_there_is_room(most: int) -> None:
    world = ready(most)
    world.ask(0, "a")
    assert len(world.running) == min(most, 2)


def asked() -> World:
    """A pool in which account 0 is answered, by a process with a meter."""
    world = ready()
    world.processes[0].metered = True
    world.ask(0, "a")
    return world


def test_an_answer_that_is_broken_off_ends_when_the_meter_has_counted_what_left() -> None:
    for code in (SessionCode.STOPPED, SessionCode.WORKLOAD_FAILED):
        world = asked()
        if code is SessionCode.STOPPED:
            world.pool.drop(world.pool.tasks[0], code)
        else:
            world.hear(0, Event.BROKEN)
        assert world.ends == {}
        assert not world.processes[0].closed
        world.hear(0, Event.CUT)
        assert (world.ends, world.counted) == ({"a": code}, {"a": DONE})
        assert world.processes[0].closed


def test_a_part_that_was_not_let_out_is_not_counted() -> None:
    world = asked()
    world.takes = False
    world.hear(0, Event.SENT)
    assert world.processes[0].unsent == len(b"x")
    world.hear(0, Event.CUT)
    assert world.ends == {"a": SessionCode.OUTPUT_TOO_LONG}


def test_a_request_of_an_account_waits_while_its_last_answer_is_counted() -> None:
    world = asked()
    world.hear(0, Event.BROKEN)
    world.ask(0, "b")
    assert world.processes[0].given == ["a"]
    world.hear(0, Event.CUT)
    world.pool.schedule()
    assert "b" not in world.ends


def test_a_meter_that_takes_too_long_is_ended_with_its_process() -> None:
    world = asked()
    world.processes[0].counting = True
    world.now = METER_SECONDS + 5
    world.pool.tick()
    assert (world.ends, world.counted) == ({"a": SessionCode.NOT_METERED}, {"a": None})
    assert world.processes[0].closed


def test_the_time_of_the_workload_begins_when_its_prompt_is_counted() -> None:
    world = asked()
    world.now = 4.0
    world.hear(0, Event.BEGUN)
    world.now = 8.0
    world.pool.tick()
    assert world.ends == {}
    world.now = 9.0
    world.pool.tick()
    world.hear(0, Event.CUT)
    assert world.ends == {"a": SessionCode.OUT_OF_TIME}


@pytest.mark.parametrize("how", ["late", "crowded", "ended"])
def test_an_answer_that_was_cut_and_that_no_meter_counted_says_so_whatever_cut_it(how: str) -> None:
    """It costs its bytes: under another code the user would hold that price against a count."""
    world = asked()
    world.pool.drop(world.pool.tasks[0], SessionCode.STOPPED)
    if how == "ended":
        world.hear(0, Event.UNMETERED)
    world.now = METER_SECONDS + 1 if how == "late" else 1
    world.processes[0].crowded = how == "crowded"
    world.pool.tick()
    assert (world.ends, world.counted) == ({"a": SessionCode.NOT_METERED}, {"a": None})
    assert world.processes[0].closed


def test_a_drop_of_an_answer_that_is_whole_changes_nothing() -> None:
    world = asked()
    world.hear(0, Event.SENT, Event.COUNTING)
    world.processes[0].answered = True
    world.pool.drop(world.pool.tasks[0], SessionCode.STOPPED)
    world.hear(0, Event.DONE)
    assert world.ends == {"a": "done"}


def test_a_prompt_that_is_too_large_costs_the_unit_of_its_count_and_ends_no_process() -> None:
    world = asked()
    world.hear(0, Event.TOO_LARGE)
    assert world.ends == {"a": SessionCode.UNITS_REFUSED}
    assert world.counted == {"a": Done(prompt_units=0, output_units=1, engine={})}
    world.ask(0, "b")
    assert world.processes[0].given == ["a", "b"]


def test_a_meter_that_gives_no_count_is_replaced_with_its_process() -> None:
    world = asked()
    world.processes[0].metered = False
    world.hear(0, Event.UNMETERED)
    assert (world.ends, world.counted) == ({"a": SessionCode.NOT_METERED}, {"a": None})
    assert world.processes[0].closed
