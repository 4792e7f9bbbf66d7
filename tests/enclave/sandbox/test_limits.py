"""Limits that hold: what a workload writes, how many threads and processors it has, and which names it sees."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import msgspec
import pytest

from sealmarket_enclave.sandbox import (
    FailureKind,
    Layer,
    SandboxUnavailable,
    StartedWorkload,
    WorkloadFailed,
    probe,
    process,
)
from sealmarket_enclave.sandbox import cgroup as groups
from sealmarket_enclave.workload.manifest import LEAST_MEMORY, Manifest, Output
from tests.enclave.sandbox.cage import PRELUDE, Cage, manifest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module", autouse=True)
def layers() -> tuple[Layer, ...]:
    try:
        return probe()
    except SandboxUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def cage(tmp_path: Path) -> Cage:
    return Cage(tmp_path)


def prepared(folder: Path, body: str) -> tuple[Path, Path]:
    (folder / "bundle" / "code").mkdir(parents=True)
    (folder / "environment").mkdir()
    source = PRELUDE + "\ndef run(inputs, parameters):\n" + textwrap.indent(textwrap.dedent(body), "    ")
    (folder / "bundle/code/job.py").write_text(source)
    return folder / "bundle", folder / "environment"


def boundless() -> Manifest:
    """A workload that declares an output of a tebibyte."""
    output = Output(name="said.json", media_type="application/json", max_bytes=1 << 40)
    return msgspec.structs.replace(manifest(), outputs=(output,))


# --- the least memory ----------------------------------------------------------------------------------------------


def test_a_sandbox_comes_up_in_the_least_memory_that_a_workload_may_declare(tmp_path: Path) -> None:
    bundle, environment = prepared(tmp_path, "return {'said.json': b'1'}")
    least = msgspec.structs.replace(manifest().limits, memory_bytes=LEAST_MEMORY)
    small = msgspec.structs.replace(manifest(), limits=least)
    with StartedWorkload(bundle, environment, small, ("rows",), {}) as started:
        assert started.run({"rows": b"abc"}).files == {"said.json": b"1"}


@pytest.mark.parametrize(
    ("code", "kind"), [(errno.ENOMEM, FailureKind.OUT_OF_MEMORY), (errno.EBUSY, FailureKind.FORBIDDEN_CALL)]
)
def test_an_input_for_which_the_machine_has_no_memory_is_no_forbidden_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: FailureKind
) -> None:
    bundle, environment = prepared(tmp_path, "return {'said.json': b'1'}")
    with StartedWorkload(bundle, environment, manifest(), ("rows",), {}) as started:
        started.loaded()

        def refused(*_: object) -> None:
            raise OSError(code, "refused")

        monkeypatch.setattr(process, "fill", refused)
        with pytest.raises(WorkloadFailed) as failure:
            started.run({"rows": b"abc"})
    assert failure.value.kind is kind


def test_an_output_is_read_no_further_than_a_workload_has_memory_whatever_all_allow(tmp_path: Path) -> None:
    """Code that writes to its pipe by itself says more than it ever held."""
    body = """
    pipe = max(n for n in range(256) if attempt(lambda: os.fstat(n))[0] != 'E')
    os.write(pipe, b'O' + (1 << 39).to_bytes(8, 'big'))
    while True: os.write(pipe, bytes(1 << 16))
    """
    bundle, environment = prepared(tmp_path, body)
    least = msgspec.structs.replace(boundless().limits, memory_bytes=LEAST_MEMORY)
    greedy = msgspec.structs.replace(boundless(), limits=least)
    with StartedWorkload(bundle, environment, greedy, ("rows",), {}) as started:
        with pytest.raises(WorkloadFailed) as failure:
            started.run({"rows": b"abc"}, 1 << 40)
        assert failure.value.kind is FailureKind.OUTPUT_TOO_LARGE


# --- outputs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        "return {'said.json': bytes(1 << 24)}",
        # It says that terabytes come, and goes on writing for as long as its runtime reads.
        """
        pipe = max(n for n in range(256) if attempt(lambda: os.fstat(n))[0] != 'E')
        os.write(pipe, b'O' + (1 << 39).to_bytes(8, 'big'))
        while True: os.write(pipe, bytes(1 << 16))
        """,
    ],
)
def test_an_output_is_read_no_further_than_the_owners_allow_whatever_the_workload_declares(
    tmp_path: Path, body: str
) -> None:
    with StartedWorkload(*prepared(tmp_path, body), boundless(), ["rows"], {}) as workload:
        with pytest.raises(WorkloadFailed) as failure:
            workload.run({"rows": b""}, 10_000)
        assert failure.value.kind is FailureKind.OUTPUT_TOO_LARGE


def test_an_output_within_the_owners_bound_is_read_whole(tmp_path: Path) -> None:
    with StartedWorkload(*prepared(tmp_path, "return say('x' * 9000)"), boundless(), ["rows"], {}) as workload:
        assert len(workload.run({"rows": b""}, 10_000).files["said.json"]) == 9002


# --- threads -------------------------------------------------------------------------------------------------------


def test_a_workload_runs_on_as_many_processors_as_it_declares_threads_and_chooses_no_others(cage: Cage) -> None:
    body = """
    return say([len(os.sched_getaffinity(0)), attempt(lambda: os.sched_setaffinity(0, range(os.cpu_count())))])
    """
    assert cage.said(body, threads=1) == [1, "EPERM"]
    held = len(os.sched_getaffinity(0))
    assert cage.said(body, threads=2) == [min(2, held), "EPERM"]
    assert cage.said(body, threads=256)[0] == held


def test_a_bomb_of_threads_is_ended(cage: Cage) -> None:
    body = """
    import threading
    threading.stack_size(32768)
    forever = threading.Event()
    try:
        while True:
            threading.Thread(target=forever.wait, daemon=True).start()
    except RuntimeError:
        forever.wait()
    """
    with pytest.raises(WorkloadFailed) as failure:
        cage.run(body)
    assert failure.value.kind is FailureKind.TOO_MANY_THREADS


def test_threads_that_libraries_keep_waiting_are_no_bomb(cage: Cage) -> None:
    body = """
    import threading, time
    done = threading.Event()
    threads = [threading.Thread(target=done.wait) for _ in range(32)]
    for thread in threads: thread.start()
    time.sleep(0.5)  # longer than the runtime takes between two looks
    done.set()
    return say(len(threads))
    """
    assert cage.said(body) == 32


# --- what the runtime inherited ------------------------------------------------------------------------------------

INHERITING = """
import json, resource, sys
sys.path[:0] = [{root!r}]
from pathlib import Path
from tests.enclave.sandbox.cage import Cage
resource.setrlimit(resource.RLIMIT_NOFILE, (96, 100))
resource.setrlimit(resource.RLIMIT_CPU, (15, 17))
body = "import resource as r\\nreturn say([r.getrlimit(r.RLIMIT_NOFILE), r.getrlimit(r.RLIMIT_CPU)])"
print(json.dumps(Cage(Path(sys.argv[1])).said(body)))
"""


def test_stricter_limits_that_the_runtime_inherited_stay(tmp_path: Path) -> None:
    command = [sys.executable, "-c", INHERITING.format(root=str(ROOT)), str(tmp_path)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    assert json.loads(said) == [[96, 100], [15, 17]]


# --- names ---------------------------------------------------------------------------------------------------------


def test_no_name_of_another_file_or_process_shows(cage: Cage, tmp_path: Path, layers: tuple[Layer, ...]) -> None:
    if Layer.PRIVATE_ROOT not in layers:
        pytest.skip("this kernel grants no mount namespace")
    (tmp_path / "other-job").write_text("rows")
    names = ["/etc/passwd", "/proc", "/proc/1", f"/proc/{os.getpid()}", "/proc/self/exe", "/sys", "/home"]
    names += [str(tmp_path / "other-job"), str(ROOT), str(ROOT / "README.md")]
    body = """
    kinds = (os.stat, os.lstat, os.readlink, os.listdir, lambda name: os.stat(name, dir_fd=None, follow_symlinks=False))
    return say([[attempt(lambda: kind(name)) for kind in kinds] + [os.access(name, os.F_OK)]
                for name in parameters["names"]])
    """
    for name, (*found, exists) in zip(names, cage.said(body, parameters={"names": names}), strict=True):
        assert (set(found), exists) == ({"ENOENT"}, False), name


def test_no_process_is_told_apart_from_one_that_does_not_exist(cage: Cage) -> None:
    body = """
    calls = (os.getpgid, os.getsid, lambda pid: os.getpriority(os.PRIO_PROCESS, pid), lambda pid: os.kill(pid, 0),
             os.sched_getscheduler, os.sched_getparam)
    return say([[attempt(lambda: call(pid)) for pid in (1, os.getppid(), 4194000)] for call in calls])
    """
    assert cage.said(body) == [["EPERM"] * 3] * 6


def test_modules_load_from_where_they_always_are_also_late(cage: Cage) -> None:
    body = """
    import decimal, sqlite3, ssl, xml.dom.minidom
    return say([str(decimal.Decimal("0.1")), os.path.exists(os.path.dirname(__file__))])
    """
    assert cage.said(body) == ["0.1", True]


# --- control groups ------------------------------------------------------------------------------------------------


def test_where_no_group_may_be_made_there_is_none(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    assert groups.make(1 << 30, 1, mount=tmp_path, own=own) is None
    own.write_text("9:cpu:/\n0::/system.slice/worker.service/runtime\n4:memory:/x\n")
    assert groups.make(1 << 30, 1, mount=tmp_path, own=own) is None
    # A folder that is no control group has no bound to write.
    (tmp_path / "system.slice/worker.service/runtime").mkdir(parents=True)
    assert groups.make(1 << 30, 1, mount=tmp_path, own=own) is None
    assert sorted(path.name for path in tmp_path.rglob("sealmarket-*")) == []


def test_a_workload_is_in_a_group_of_its_own_that_goes_with_it(tmp_path: Path, layers: tuple[Layer, ...]) -> None:
    if Layer.CGROUP_MEMORY not in layers:
        pytest.skip("this machine lets the runtime make no control group")
    with StartedWorkload(*prepared(tmp_path, "return say(1)"), manifest(), ["rows"], {}) as workload:
        workload.loaded()
        child = workload._child._process.pid
        lines = Path(f"/proc/{child}/cgroup").read_text().splitlines()
        group = next(line.split(":", 2)[2] for line in lines if "sealmarket-" in line)
        assert Layer.CGROUP_MEMORY in workload.run({"rows": b""}).layers
    assert list(groups.MOUNT.glob(f"*{group}")) == []
