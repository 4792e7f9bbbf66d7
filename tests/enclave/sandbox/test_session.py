"""Processes of a service: what one account's process may do, say and see, and what ends it."""

from __future__ import annotations

import json
import os
import select
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealmarket_enclave.sandbox import STRICT, SandboxProfile, SandboxUnavailable, process
from sealmarket_enclave.sandbox import session as session_module
from sealmarket_enclave.sandbox.session import Event, Happened, SessionProcess, SharedInputs
from sealmarket_enclave.workload.manifest import Limits
from tests.enclave.sandbox.cage import PRELUDE
from tests.patience import PATIENCE

WEIGHTS = b"weights" * 1000


class Stage:
    """Processes over one set of inputs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.environment = folder, folder / "environment"
        self.environment.mkdir()
        self.inputs = SharedInputs({"weights": WEIGHTS})
        self.processes: list[SessionProcess] = []

    def start(self, body: str, *, top: str = "", **limits: int) -> SessionProcess:
        """A process whose ``serve(session)`` has this body."""
        bundle = self.folder / f"bundle-{len(self.processes)}"
        (bundle / "code").mkdir(parents=True)
        source = PRELUDE + textwrap.dedent(top) + "\ndef serve(session):\n"
        (bundle / "code/job.py").write_text(source + textwrap.indent(textwrap.dedent(body), "    "))
        given = {"cpu_seconds": 20, "wall_seconds": 120, "memory_bytes": 1 << 30, **limits}
        launch = process.Launch(
            bundle, self.environment, "job:serve", Limits(**given), {"word": "x"}, STRICT, service=True
        )
        self.processes.append(SessionProcess(launch, self.inputs))
        return self.processes[-1]

    def close(self) -> None:
        for one in self.processes:
            one.close()
        self.inputs.close()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.close()


def happen(one: SessionProcess) -> list[Happened]:
    """What it says next."""
    while True:
        poller = select.poll()
        poller.register(one.output, select.POLLIN)
        if one.input is not None:
            poller.register(one.input, select.POLLOUT)
        assert poller.poll(PATIENCE * 1000), "nothing came"
        one.write()
        if found := list(one.read()):
            return found


def wait(one: SessionProcess, event: Event) -> list[Happened]:
    """Everything up to an event."""
    seen: list[Happened] = []
    while not seen or seen[-1].event is not event:
        seen += happen(one)
        assert seen[-1].event in (event, Event.SENT), seen[-1]
    return seen


def ask(one: SessionProcess, body: bytes = b"") -> Any:
    """Give it a request and read its answer as JSON."""
    one.give("chat", 10, body)
    seen = wait(one, Event.DONE)
    return json.loads(b"".join(part.data for part in seen))


ANSWERS = """
for request in session.requests():
    request.send(json.dumps({expression}).encode())
    request.done(1, 2, {{"engine": "test"}})
"""


def says(expression: str) -> str:
    return ANSWERS.format(expression=expression)


def test_a_process_that_writes_before_it_is_asked_is_broken(stage: Stage) -> None:
    one = stage.start("session._raw(b'L'); session._raw(b'S' + (1).to_bytes(4) + b'x'); os.read(0, 1)")
    seen = wait(one, Event.BROKEN) if (first := happen(one))[-1].event is Event.WAITING else first
    assert seen[-1].event is Event.BROKEN
    assert list(one.read()) == []


READY = b"R" + (29).to_bytes(4) + json.dumps({"layers": [], "failed": []}).encode().ljust(29)
WRONG = {
    "an unknown kind": b"X",
    "an empty part": b"S" + (0).to_bytes(4),
    "a part beyond its bound": b"S" + ((1 << 16) + 1).to_bytes(4),
    "an end beyond its bound": b"D" + ((1 << 14) + 1).to_bytes(4),
    "an end without fields": b"D" + (2).to_bytes(4) + b"{}",
    "an end that is no text": b"D" + (4).to_bytes(4) + b"\xff" * 4,
    "units below nothing": b"D" + (51).to_bytes(4) + b'{"prompt_units":-1,"output_units":1,"engine":{}}   ',
    "nested values": b"D" + (55).to_bytes(4) + b'{"prompt_units":1,"output_units":1,"engine":{"a":[1]}} ',
    "a second L": b"L",
}


class Piped:
    """A process of which only its pipe exists, so that a test writes for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        output, self.theirs = os.pipe()
        self._reads, go = os.pipe()
        ended = SimpleNamespace(returncode=0, pid=0)
        started = process.Started(cast("subprocess.Popen[bytes]", ended), output, go, None)
        monkeypatch.setattr(process, "start", lambda *_: started)
        limits = Limits(cpu_seconds=1, wall_seconds=1, memory_bytes=1 << 30)
        profile = SimpleNamespace(required=frozenset())
        launch = process.Launch(Path(), Path(), "", limits, {}, cast("SandboxProfile", profile), service=True)
        self.side = SessionProcess(launch, SharedInputs({}))
        self._open = [output, self.theirs, self._reads, go]

    def say(self, data: bytes) -> list[Event]:
        os.write(self.theirs, data)
        return [one.event for one in self.side.read()]

    def close(self) -> None:
        for descriptor in self._open:
            os.close(descriptor)


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Iterator[Piped]:
    made = Piped(monkeypatch)
    yield made
    made.close()


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_part_or_an_end_of_another_form_is_broken_and_nothing_after_it_counts(piped: Piped, wrong: bytes) -> None:
    assert piped.say(READY + b"L") == [Event.WAITING]
    piped.side.give("chat", 10, b"")
    assert piped.say(b"S" + (1).to_bytes(4) + b"x" + wrong + b"S" + (1).to_bytes(4) + b"y") == [
        Event.SENT,
        Event.BROKEN,
    ]
    assert piped.say(b"S" + (1).to_bytes(4) + b"y") == []


def test_a_process_that_closes_its_pipe_of_requests_is_waited_for_and_not_written_to_again(piped: Piped) -> None:
    piped.say(READY + b"L")
    os.dup2(piped.theirs, piped._reads)  # the only reading end is gone
    piped.side.give("chat", 10, bytes(1 << 20))
    assert piped.side.input is None


@given(st.binary(max_size=200), st.integers(1, 50))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_of_a_process_do_anything_but_be_events_or_break_it(
    monkeypatch: pytest.MonkeyPatch, said: bytes, step: int
) -> None:
    piped = Piped(monkeypatch)
    piped.say(READY + b"L")
    piped.side.give("chat", 10, b"")
    seen = [event for at in range(0, len(said), step) for event in piped.say(said[at : at + step])]
    piped.close()
    assert Event.BROKEN not in seen[:-1]


def test_what_is_no_sandbox_is_refused(piped: Piped) -> None:
    with pytest.raises(SandboxUnavailable):
        piped.say(b"L" * 5)


@pytest.mark.long
@pytest.mark.parametrize("body", ["raise ValueError", "os._exit(3)"])
def test_a_process_that_ends_is_broken_before_and_while_it_serves(stage: Stage, body: str) -> None:
    before = stage.start(body)
    one = stage.start(f"for request in session.requests():\n    {body}\n")
    wait(one, Event.WAITING)
    one.give("chat", 10, b"")
    assert wait(one, Event.BROKEN)[-1].event is Event.BROKEN
    assert wait(before, Event.BROKEN)[-1].event is Event.BROKEN


def test_a_process_that_says_more_once_its_request_is_over_is_broken(stage: Stage) -> None:
    one = stage.start("for request in session.requests():\n    request.done(1, 1)\n    session._raw(b'S')\n")
    wait(one, Event.WAITING)
    one.give("chat", 10, b"")
    seen = happen(one)
    while seen[-1].event is not Event.BROKEN:
        seen += happen(one)
    assert [one.event for one in seen] == [Event.DONE, Event.BROKEN]


def test_a_process_that_reads_nothing_holds_up_no_writer(stage: Stage) -> None:
    one = stage.start("session._waiting = True\nsession._raw(b'L')\nimport time\ntime.sleep(1000)")
    wait(one, Event.WAITING)
    one.give("chat", 10, bytes(1 << 20))
    assert one.input is not None
    one.write()


def test_no_process_changes_the_inputs_that_all_share(stage: Stage) -> None:
    one = stage.start(
        says("""{
            "write": attempt(lambda: os.write(os.open(session.path("weights"), os.O_RDWR), b"x")),
            "own": attempt(lambda: os.write(list(session._descriptors.values())[0], b"x")),
            "truncate": attempt(lambda: os.open(session.path("weights"), os.O_RDWR | os.O_TRUNC)),
            "map": attempt(lambda: __import__("mmap").mmap(os.open(session.path("weights"), os.O_RDWR), 10)),
        }""")
    )
    wait(one, Event.WAITING)
    assert ask(one) == {"write": "EFBIG", "own": "EBADF", "truncate": "EPERM", "map": "EPERM"}
    other = stage.start(says("bytes(session.inputs['weights']).decode()"))
    wait(other, Event.WAITING)
    assert ask(other) == WEIGHTS.decode()


def test_a_process_does_not_see_that_another_reads_the_inputs(stage: Stage) -> None:
    looks = says("""[os.stat(session.path("weights")).st_atime_ns, os.lseek(session._descriptors["weights"], 0, 1)]""")
    reader = says(
        """[len(os.read(os.open(session.path("weights"), 0), 10)), len(os.read(session._descriptors["weights"], 9))]"""
    )
    one, other = stage.start(looks), stage.start(looks)
    for process_ in (one, other):
        wait(process_, Event.WAITING)
    before = ask(one)
    reading = stage.start(reader)
    wait(reading, Event.WAITING)
    assert ask(reading) == [10, 9]
    assert ask(one) == before
    assert ask(other)[1] == 0


@pytest.mark.long
def test_where_the_kernel_keeps_access_times_each_process_gets_a_copy(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "_without_access_time", lambda _descriptor: False)
    stage.inputs = SharedInputs({"weights": WEIGHTS})
    inode = says("""[os.stat(session.path("weights")).st_ino, bytes(session.inputs["weights"]).decode()]""")
    one, other = stage.start(inode), stage.start(inode)
    for process_ in (one, other):
        wait(process_, Event.WAITING)
    (first, content), (second, _) = ask(one), ask(other)
    assert content == WEIGHTS.decode()
    assert first != second


def test_of_proc_a_service_sees_its_own_descriptors_and_no_process(stage: Stage) -> None:
    one = stage.start(
        says("""{
            "own": attempt(lambda: os.stat(session.path("weights")).st_size),
            "descriptors": attempt(lambda: sum(not attempt(lambda: os.fstat(n)).startswith("E") for n in range(256))),
            "status": attempt(lambda: open("/proc/self/status").read()[:1]),
            "parent": attempt(lambda: os.listdir(f"/proc/{os.getppid()}/fd")),
            "parents_map": attempt(lambda: open(f"/proc/{os.getppid()}/maps").read()[:1]),
            "files": attempt(lambda: open("/etc/passwd").read()[:1]),
            "up": attempt(lambda: open("/proc/self/fd/../environ").read()[:1]),
            "socket": attempt(lambda: call(41, 2, 1, 0)),
        }""")
    )
    wait(one, Event.WAITING)
    found = ask(one)
    assert found.pop("own") == str(len(WEIGHTS))
    assert found.pop("descriptors") == "6"  # three to the null device, its two pipes, its input
    assert set(found.values()) <= {"ENOENT", "EACCES", "EPERM"}, found


def test_a_request_is_answered_in_parts_and_the_next_one_by_the_same_process(stage: Stage) -> None:
    one = stage.start(
        """
        seen = 0
        for request in session.requests():
            seen += 1
            for part in (request.body, request.endpoint.encode(), str(request.most_units).encode()):
                request.send(part)
            request.done(len(request.body), seen, {"engine": session.parameters["word"]})
        """
    )
    wait(one, Event.WAITING)
    for number, body in enumerate((b"first", bytes(1 << 20)), 1):
        one.give("chat", 10, body)
        seen = wait(one, Event.DONE)
        assert b"".join(part.data for part in seen) == body + b"chat10"
        assert seen[-1].done is not None
        assert (seen[-1].done.prompt_units, seen[-1].done.output_units) == (len(body), number)
        assert seen[-1].done.engine == {"engine": "x"}
    assert "seccomp" in one.layers


@pytest.mark.long
def test_a_process_with_more_threads_than_it_may_have_is_seen(stage: Stage) -> None:
    one = stage.start(
        """
        import threading
        for request in session.requests():
            begun = 0
            try:
                for begun in range(70):
                    threading.Thread(target=threading.Event().wait, daemon=True).start()
            except RuntimeError:
                pass
            request.done(0, begun)
        """
    )
    wait(one, Event.WAITING)
    assert not one.crowded
    one.give("chat", 10, b"")
    done = wait(one, Event.DONE)[-1].done
    assert done is not None
    assert one.crowded or done.output_units < 69  # a control group refuses them where this machine grants one


def test_a_process_that_was_closed_is_neither_read_nor_written_to(stage: Stage) -> None:
    """Its descriptors may be another account's by then."""
    one = stage.start("session._raw(b'L'); time.sleep(1000)", top="import time")
    wait(one, Event.WAITING)
    one.give("chat", 1, b"x" * 900_000)
    waiting = one.input
    assert waiting is not None
    one.close()
    assert one.input is None
    one.write()
    assert list(one.read()) == []
    one.close()
