"""A workload that is started before its input: it loads, waits, and can do nothing to what will come."""

from __future__ import annotations

import json
import mmap
import os
import textwrap
from pathlib import Path

import pytest

from sealmarket_worker.sandbox import FailureKind, SandboxUnavailable, StartedWorkload, WorkloadFailed, probe
from tests.worker.sandbox.cage import PRELUDE, manifest


@pytest.fixture(autouse=True)
def _confined() -> None:
    try:
        probe()
    except SandboxUnavailable as error:
        pytest.skip(str(error))


def started(folder: Path, body: str, top: str = "") -> StartedWorkload:
    (folder / "bundle" / "code").mkdir(parents=True)
    (folder / "environment").mkdir()
    source = PRELUDE + textwrap.dedent(top) + "\ndef run(inputs, parameters):\n"
    (folder / "bundle/code/job.py").write_text(source + textwrap.indent(textwrap.dedent(body), "    "))
    return StartedWorkload(folder / "bundle", folder / "environment", manifest(), ["rows"], {})


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


def test_other_inputs_than_the_ones_it_was_started_for_are_refused(tmp_path: Path) -> None:
    with started(tmp_path, "return say(1)") as workload, pytest.raises(ValueError, match="expected inputs"):
        workload.run({"columns": b""})


def test_a_workload_that_never_gets_its_input_ends_when_it_is_closed(tmp_path: Path) -> None:
    workload = started(tmp_path, "return say(1)")
    workload.close()
    workload.close()
