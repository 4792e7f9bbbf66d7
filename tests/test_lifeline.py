"""The lifeline: whatever ends the parent ends the child, and the child's child."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sealmarket import lifeline
from tests.patience import PATIENCE, until

FOREVER = "import signal; signal.pause()"
ATTENTIVE = "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL)"
"""A program started in the background ignores SIGINT until it asks for it, as does all that it starts."""


def is_alive(pid: int) -> bool:
    """Whether the process still runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def wait_until_dead(pid: int) -> None:
    """Wait for the end of a process that is not our child."""
    try:
        until(f"the end of process {pid}", lambda: not is_alive(pid))
    except AssertionError:
        os.kill(pid, signal.SIGKILL)
        raise


def start_family(levels: int, way: str) -> tuple[subprocess.Popen[str], list[int]]:
    """A chain of processes, each attached to the one before; the ids of those below the first."""
    member = f"""
import os, subprocess, sys
from sealmarket import lifeline
{ATTENTIVE}
levels, parent = int(sys.argv[1]), int(sys.argv[2])
if {way!r} == "bind" and parent:
    lifeline.bind_to_parent(parent)
print(os.getpid(), flush=True)
if levels:
    command = [sys.executable, "-c", sys.argv[3], str(levels - 1), str(os.getpid()), sys.argv[3]]
    subprocess.Popen(lifeline.attached(command) if {way!r} == "attached" else command)
{FOREVER}
"""
    first = subprocess.Popen(
        [sys.executable, "-c", member, str(levels), "0", member],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(lifeline.__file__).parents[1])},
    )
    assert first.stdout is not None
    ids = [int(first.stdout.readline()) for _ in range(levels + 1)]
    return first, ids[1:]


@pytest.mark.parametrize("way", ["attached", "bind"])
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_descendant_survives_its_ancestor(way: str, ending: signal.Signals) -> None:
    first, descendants = start_family(3, way)
    try:
        assert all(map(is_alive, descendants))
        first.send_signal(ending)
        assert first.wait(PATIENCE) == -ending
    finally:
        first.kill()
        first.communicate()
    for pid in descendants:
        wait_until_dead(pid)


def test_binding_to_a_process_that_is_not_the_parent_is_refused() -> None:
    program = "from sealmarket import lifeline; lifeline.bind_to_parent(1)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "ParentGone: The parent process 1 has ended" in done.stderr


def test_a_program_whose_parent_is_gone_does_not_start() -> None:
    command = lifeline.attached([sys.executable, "-c", "print('started')"], parent=1)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (lifeline.EXIT_PARENT_GONE, "")


def test_a_missing_program_is_named() -> None:
    done = subprocess.run(lifeline.attached(["/no/such"]), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (127, "/no/such: No such file or directory\n")


def test_an_attached_program_has_the_id_of_the_process_that_was_started() -> None:
    command = lifeline.attached([sys.executable, "-c", "import os; print(os.getpid())"])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.communicate()[0] == f"{process.pid}\n"


@pytest.mark.parametrize("ignored", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("way", ["_become", "_stay_beside"])
def test_a_program_heeds_a_signal_that_its_starter_ignores(way: str, ignored: signal.Signals) -> None:
    program = "import os, time; print(os.getpid(), flush=True)\nwhile True: time.sleep(1)"
    starter = f"""
import os, signal, sys
from sealmarket import lifeline
signal.signal({ignored:d}, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [{ignored:d}])
sys.exit(lifeline.{way}(os.getppid(), [sys.executable, "-c", {program!r}]))
"""
    with subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True) as shim:
        assert shim.stdout is not None
        os.kill(int(shim.stdout.readline()), ignored)
        try:
            assert shim.wait(PATIENCE) in (-ignored, 128 + ignored)
        finally:
            shim.kill()


def test_without_the_kernels_help_the_shim_watches_the_parent() -> None:
    shim = f"""
import os, sys
from sealmarket import lifeline
child = {FOREVER!r}
report = "import os; print(os.getpid(), flush=True); " + child
sys.exit(lifeline._stay_beside(int(sys.argv[1]), [sys.executable, "-c", report]))
"""
    middle = f"""
import os, subprocess, sys
subprocess.Popen([sys.executable, "-c", {shim!r}, str(os.getpid())])
{FOREVER}
"""
    with subprocess.Popen([sys.executable, "-c", middle], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        grandchild = int(parent.stdout.readline())
        assert is_alive(grandchild)
        parent.kill()
        parent.stdout.close()
    wait_until_dead(grandchild)


def test_the_shim_passes_on_the_exit_status_where_it_stays() -> None:
    shim = (
        "import os, sys; from sealmarket import lifeline; sys.exit(lifeline._stay_beside(os.getppid(), sys.argv[1:]))"
    )
    done = subprocess.run([sys.executable, "-c", shim, sys.executable, "-c", "raise SystemExit(7)"], check=False)
    assert done.returncode == 7
