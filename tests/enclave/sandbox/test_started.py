"""A workload that is started before its input: it loads, waits, and can do nothing to what will come."""

from __future__ import annotations

import json
import math
import mmap
import os
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from sealmarket_enclave.sandbox import FailureKind, SandboxUnavailable, StartedWorkload, WorkloadFailed, probe, runner
from tests.enclave.sandbox.cage import PRELUDE, manifest


@pytest.fixture(autouse=True)
def _confined() -> None:
    try:
        probe()
    except SandboxUnavailable as error:
        pytest.skip(str(error))


def started(folder: Path, body: str, top: str = "", seconds: float = math.inf, **limits: int) -> StartedWorkload:
    (folder / "bundle" / "code").mkdir(parents=True)
    (folder / "environment").mkdir()
    source = PRELUDE + textwrap.dedent(top) + "\ndef run(inputs, parameters):\n"
    (folder / "bundle/code/job.py").write_text(source + textwrap.indent(textwrap.dedent(body), "    "))
    places = (folder / "bundle", folder / "environment")
    return StartedWorkload(*places, manifest(**limits), ["rows"], {}, seconds=seconds)


def test_what_is_loaded_early_can_change_nothing_of_the_input_that_comes_later(tmp_path: Path) -> None:
    top = """
    import stat

    def tried(action):
        try:
            return repr(action())
        except OSError as error:
            return type(error).__name__

    def regular(n):
        try:
            return stat.S_ISREG(os.fstat(n).st_mode)
        except OSError:
            return False

    def again(n):
        return os.open(f"/proc/self/fd/{n}", os.O_RDWR)

    EARLY = [
        [tried(lambda: os.write(n, b"x")), tried(lambda: os.ftruncate(n, 9)), tried(lambda: os.write(again(n), b"x")),
         tried(lambda: os.ftruncate(again(n), 9))]
        for n in range(3, 64) if regular(n)
    ]
    """
    with started(tmp_path, "return say([EARLY, bytes(inputs['rows']).decode()])", top) as workload:
        early, late = json.loads(workload.run({"rows": b"a,b\n1,2\n"}).files["said.json"])
    assert late == "a,b\n1,2\n"
    assert early
    for attempts in early:
        assert all(answer.endswith("Error") for answer in attempts), attempts


def test_a_workload_that_keeps_its_input_from_being_sealed_has_failed(tmp_path: Path) -> None:
    with started(tmp_path, "return say(1)") as workload:
        [descriptor] = workload._child._inputs.values()
        os.ftruncate(descriptor, 4096)
        # What a child could do with a descriptor that it opened again.
        with mmap.mmap(descriptor, 4096), pytest.raises(WorkloadFailed) as failed:
            workload.run({"rows": b"secret"})
    assert failed.value.kind is FailureKind.FORBIDDEN_CALL


def test_an_output_that_is_written_before_the_input_came_is_all_that_such_a_workload_says(tmp_path: Path) -> None:
    top = "os._exit(0)"
    with started(tmp_path, "return say(1)", top) as workload, pytest.raises(WorkloadFailed) as failed:
        workload.run({"rows": b"secret"})
    assert failed.value.kind is FailureKind.CRASHED


def test_a_workload_that_speaks_before_it_has_loaded_gets_no_data_and_is_not_believed(tmp_path: Path) -> None:
    top = """
    import stat, struct

    def pipe(n):
        try:
            return stat.S_ISFIFO(os.fstat(n).st_mode)
        except OSError:
            return False

    name, data = b"said.json", b"forged"
    body = struct.pack(">IH", 1, len(name)) + name + struct.pack(">Q", len(data)) + data
    for n in filter(pipe, range(3, 64)):
        try:
            os.write(n, b"O" + struct.pack(">Q", len(body)) + body)
        except OSError:
            pass
    os._exit(0)
    """
    with started(tmp_path, "return say(1)", top) as workload:
        [descriptor] = workload._child._inputs.values()
        with pytest.raises(WorkloadFailed) as failed:
            workload.run({"rows": b"secret"})
        assert os.fstat(descriptor).st_size == 0
    assert failed.value.kind is FailureKind.OUTPUT_INVALID


def test_a_workload_that_does_not_load_is_given_no_data(tmp_path: Path) -> None:
    with started(tmp_path, "return say(1)", "import nothing_of_that_name") as workload:
        [descriptor] = workload._child._inputs.values()
        with pytest.raises(WorkloadFailed) as failed:
            workload.run({"rows": b"secret"})
        assert os.fstat(descriptor).st_size == 0
    assert failed.value.kind is FailureKind.NOT_LOADED


def test_a_workload_that_never_has_loaded_is_out_of_time(tmp_path: Path) -> None:
    top = "import threading\nthreading.Event().wait()"
    with started(tmp_path, "return say(1)", top, wall_seconds=1) as workload:
        workload.loaded()
        with pytest.raises(WorkloadFailed) as failed:
            workload.run({"rows": b"secret"})
    assert failed.value.kind is FailureKind.OUT_OF_TIME


def test_a_workload_that_has_loaded_has_its_whole_time_for_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = 0.0
    monkeypatch.setattr(runner, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + passed))
    with started(tmp_path, "return say(len(inputs['rows']))", wall_seconds=60) as workload:
        workload.loaded()
        passed = 61.0  # the committee takes its time
        assert json.loads(workload.run({"rows": b"a,b\n"}).files["said.json"]) == 4


def test_what_a_workload_was_waited_for_while_it_loaded_is_not_there_for_its_data(tmp_path: Path) -> None:
    nap = "threading.Event().wait(1.2)"
    with started(tmp_path, f"{nap}\nreturn say(1)", f"import threading\n{nap}", wall_seconds=2) as workload:
        workload.loaded()
        with pytest.raises(WorkloadFailed) as failed:
            workload.run({"rows": b"a,b\n"})
    assert failed.value.kind is FailureKind.OUT_OF_TIME


@pytest.mark.parametrize("wall_seconds", [1, 600])
def test_a_workload_that_is_granted_less_than_it_declares_ends_after_the_less_of_both(
    tmp_path: Path, wall_seconds: int
) -> None:
    seconds = 0.5 if wall_seconds > 1 else 600.0
    body = "import threading\nthreading.Event().wait()"
    workload = started(tmp_path, body, seconds=seconds, wall_seconds=wall_seconds)
    with workload, pytest.raises(WorkloadFailed) as failed:
        workload.run({"rows": b"a,b\n"})
    assert failed.value.kind is FailureKind.OUT_OF_TIME


def test_other_inputs_than_the_ones_it_was_started_for_are_refused(tmp_path: Path) -> None:
    with started(tmp_path, "return say(1)") as workload, pytest.raises(ValueError, match="expected inputs"):
        workload.run({"columns": b""})


def test_a_workload_that_never_gets_its_input_ends_when_it_is_closed(tmp_path: Path) -> None:
    workload = started(tmp_path, "return say(1)")
    child = workload._child._process.pid
    workload.close()
    workload.close()
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
