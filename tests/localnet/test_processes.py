"""The supervisor: programs are ready when it says so, and gone when it is."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sealmarket_localnet import processes
from sealmarket_localnet.processes import DiedEarly, DiedMeanwhile, NotReadyInTime, Process, ProgramMissing, Supervisor
from tests.patience import PATIENCE, until
from tests.test_lifeline import is_alive, wait_until_dead

READY = "import os, signal; print('ready', os.getpid(), flush=True); "
FOREVER = READY + "signal.pause()"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + READY + "\nwhile True: signal.pause()"
PARENT = (
    "import subprocess, sys, signal; "
    f"child = subprocess.Popen([sys.executable, '-c', {FOREVER!r}]); print('child', child.pid, flush=True); "
    "signal.pause()"
)


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as programs, pytest.raises(ProgramMissing, match="no program /no/such"):
        programs.start("ghost", ["/no/such"])


def test_a_program_that_dies_early_is_quoted(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as programs, pytest.raises(DiedEarly) as caught:
        programs.start("brief", python("print('port taken'); raise SystemExit(3)"), ready=processes.says("never"))
    assert (caught.value.status, caught.value.tail) == (3, "port taken")


def test_a_program_that_dies_while_it_is_needed_is_quoted(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as programs:
        programs.start("steady", python(FOREVER), ready=processes.says("ready"))
        programs.require_running()
        brief = programs.start("brief", python("print('bad memory'); raise SystemExit(3)"))
        brief.wait_until(lambda process: process.status is not None)
        with pytest.raises(DiedMeanwhile, match="bad memory") as caught:
            programs.require_running()
    assert (caught.value.name, caught.value.status) == ("brief", 3)


def test_an_answer_that_somebody_else_gave_makes_no_program_ready(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as programs, pytest.raises(DiedEarly, match="address already in use"):
        programs.start(
            "late",
            python("raise SystemExit('address already in use')"),
            ready=lambda process: process.status is not None,
        )


def test_a_program_that_is_never_ready_is_quoted_and_stopped(tmp_path: Path) -> None:
    def never(process: Process) -> bool:
        until("its first word", lambda: processes.says("ready .*\n")(process))
        return False

    with Supervisor(tmp_path) as programs:
        with pytest.raises(NotReadyInTime) as caught:
            programs.start("slow", python(FOREVER), ready=never, timeout=0)
        assert caught.value.tail.startswith("ready ")
        assert not is_alive(int(caught.value.tail.split()[1]))


def test_a_program_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as programs:
        deaf = programs.start("deaf", python(DEAF), ready=processes.says("ready"))
        assert deaf.stop(grace=0.2) == -signal.SIGKILL


def test_leaving_the_block_ends_children_of_children(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as programs:
        parent = programs.start("parent", python(PARENT), ready=processes.says(r"child (\d+)"))
        child = int(parent.answer[1])
        assert is_alive(child)
    wait_until_dead(child)


def test_a_program_started_from_a_thread_survives_the_thread(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as programs:
        thread = threading.Thread(
            target=lambda: programs.start("steady", python(FOREVER), ready=processes.says("ready"))
        )
        thread.start()
        thread.join()
        with pytest.raises(NotReadyInTime):
            programs.processes[0].wait(0.3)


def test_a_program_gets_no_input_and_ends_with_its_own_status(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as programs:
        reader = programs.start("reader", python("import sys; raise SystemExit(len(sys.stdin.read()) + 4)"))
        assert reader.wait(PATIENCE) == 4


def test_killing_the_supervisors_process_leaves_no_descendant(tmp_path: Path) -> None:
    """The demo killed with SIGKILL: each program dies with it, and those that they attached die with them."""
    inner = (
        "import os, subprocess, sys, signal; from sealmarket import lifeline; "
        f"child = subprocess.Popen(lifeline.attached([sys.executable, '-c', {FOREVER!r}])); "
        "print('family', os.getpid(), child.pid, flush=True); signal.pause()"
    )
    demo = f"""
import signal, sys
from pathlib import Path
from sealmarket_localnet import processes
programs = processes.Supervisor(Path({str(tmp_path)!r}))
for name in ("one", "two"):
    family = processes.says(r"family (\\d+) (\\d+)")
    found = programs.start(name, [sys.executable, "-c", {inner!r}], ready=family)
    print(found.answer[1], found.answer[2], flush=True)
signal.pause()
"""
    with subprocess.Popen(python(demo), stdout=subprocess.PIPE, text=True) as story:
        assert story.stdout is not None
        descendants = [int(word) for _ in range(2) for word in story.stdout.readline().split()]
        assert len(descendants) == 4
        assert all(map(is_alive, descendants))
        story.kill()
    for pid in descendants:
        wait_until_dead(pid)


@pytest.mark.loopback
def test_an_address_tells_when_a_server_is_ready(tmp_path: Path) -> None:
    port = processes.free_port()
    server = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    page, nothing = f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{port}/none"
    with Supervisor(tmp_path) as programs:
        files = programs.start("files", server, ready=processes.answers(page), cwd=tmp_path)
        assert processes.answers(nothing, 404)(files)
        assert not processes.answers(nothing, 200)(files)
    assert not processes.answers(page)(files)
