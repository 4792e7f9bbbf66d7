"""What a hostile workload tries, and what it gets."""

from __future__ import annotations

import os
import resource
import select
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from sealmarket_enclave.sandbox import (
    STRICT,
    FailureKind,
    Layer,
    SandboxProfile,
    SandboxUnavailable,
    WorkloadFailed,
    probe,
    process,
)
from tests.enclave.sandbox.cage import Cage
from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[3]
REFUSED = {"EPERM", "EACCES", "ENOENT"}
"""The last where the workload has a root of its own: what it may not read has no name there."""
X86 = os.uname().machine == "x86_64"


def _available() -> bool:
    try:
        return bool(probe())
    except SandboxUnavailable:
        return False


pytestmark = pytest.mark.skipif(not _available(), reason="this kernel has no Landlock or seccomp")


@pytest.fixture
def cage(tmp_path: Path) -> Cage:
    return Cage(tmp_path)


def fails(cage: Cage, body: str, **options: Any) -> FailureKind:
    with pytest.raises(WorkloadFailed) as failure:
        cage.run(body, **options)
    assert STRICT.required <= set(failure.value.layers)
    assert failure.value.remedy
    return failure.value.kind


def test_no_socket_of_any_family_opens(cage: Cage) -> None:
    body = """
    import socket
    return say([attempt(lambda: socket.socket(family, kind)) for family in range(46) for kind in (1, 2, 3)])
    """
    assert set(cage.said(body)) == {"EPERM"}


def test_no_socket_pair_opens(cage: Cage) -> None:
    assert cage.said("import socket\nreturn say(attempt(socket.socketpair))") == "EPERM"


def test_the_parents_memory_environment_and_descriptors_cannot_be_read(cage: Cage) -> None:
    body = """
    names = [f"/proc/{who}/{what}" for who in (os.getppid(), "self", 1) for what in ("mem", "environ", "maps", "fd")]
    return say([attempt(lambda: os.open(name, os.O_RDONLY)) for name in names])
    """
    assert set(cage.said(body)) <= REFUSED


@pytest.mark.parametrize(("name", "number"), [
    ("ptrace", 101),
    ("process_vm_readv", 310),
    ("process_vm_writev", 311),
    ("pidfd_open", 434),
    ("pidfd_getfd", 438),
    ("keyctl", 250),
    ("bpf", 321),
    ("io_uring_setup", 425),
    ("userfaultfd", 323),
    ("perf_event_open", 298),
    ("unshare", 272),
    ("setns", 308),
    ("mount", 165),
    ("chroot", 161),
    ("open_by_handle_at", 304),
    ("execve", 59),
    ("x32 getpid", 0x40000000 + 39),
])  # fmt: skip
@pytest.mark.skipif(not X86, reason="the numbers are those of x86_64")
def test_a_call_that_only_an_attacker_makes_ends_the_workload(cage: Cage, name: str, number: int) -> None:
    assert fails(cage, f"call({number}, 0, os.getppid(), 0, 0, 0, 0)\nreturn say(1)") is FailureKind.FORBIDDEN_CALL


def test_no_signal_reaches_the_parent_or_anybody_else(cage: Cage) -> None:
    body = """
    targets = [(os.kill, os.getppid()), (os.kill, 1), (os.kill, -1), (os.killpg, 0)]
    return say([attempt(lambda: kill(who, 0)) for kill, who in targets])
    """
    assert set(cage.said(body)) <= REFUSED


def test_files_of_other_jobs_and_of_the_system_cannot_be_read_or_listed(cage: Cage, tmp_path: Path) -> None:
    secret = tmp_path / "other-job"
    secret.write_text("rows")
    homes = [str(home) for home in [Path.home()] if home.is_dir()]
    names = [str(secret), "/etc/passwd", *homes, "/", "/tmp", "/dev/shm", "/sys", "/proc", str(ROOT)]
    body = """
    def look(name):
        try:
            return os.listdir(name)
        except NotADirectoryError:
            return open(name).read()
    return say([attempt(lambda: look(name)) for name in parameters["names"]])
    """
    assert set(cage.said(body, parameters={"names": names})) <= REFUSED


def test_packages_beside_the_standard_library_cannot_be_read(cage: Cage) -> None:
    beside = Path(sysconfig.get_path("stdlib")) / "site-packages"
    if not beside.is_dir():
        pytest.skip("this interpreter keeps no packages beside its standard library")
    found = next(path for path in beside.rglob("*.py"))
    body = "return say(attempt(lambda: open(parameters['name']).read()))"
    assert cage.said(body, parameters={"name": str(found)}) in REFUSED


def test_no_descriptor_of_the_runtime_is_inherited(cage: Cage, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("key")
    held = os.open(tmp_path / "secret", os.O_RDONLY)
    os.set_inheritable(held, True)
    body = """
    import stat
    found = {}
    for number in range(256):
        try:
            status = os.fstat(number)
        except OSError:
            continue
        mine = stat.S_ISREG(status.st_mode) and (status.st_nlink, status.st_size) == (0, 5)
        kinds = {"input": mine, "null": stat.S_ISCHR(status.st_mode), "pipe": stat.S_ISFIFO(status.st_mode)}
        found[number] = next((kind for kind, is_it in kinds.items() if is_it), "stray")
    return say(found)
    """
    try:
        found = cage.said(body, inputs={"rows": b"1,2,3"})
    finally:
        os.close(held)
    assert {found.pop(number) for number in "012"} == {"null"}
    assert sorted(found.values()) == ["input", "pipe"]


def test_no_other_program_runs(cage: Cage) -> None:
    assert fails(cage, "os.execv('/bin/sh', ['sh', '-c', 'id'])") is FailureKind.FORBIDDEN_CALL
    body = """
    import subprocess
    return say(attempt(lambda: subprocess.run(["/bin/true"])))
    """
    assert cage.said(body) == "EPERM"


def test_a_fork_bomb_does_not_fork_once(cage: Cage) -> None:
    body = """
    CLONE_NEWUSER = 0x10000000
    return say([attempt(os.fork), attempt(os.forkpty), attempt(lambda: call(56, CLONE_NEWUSER, 0, 0, 0, 0))])
    """
    assert set(cage.said(body)) <= REFUSED


def test_nothing_is_written_anywhere(cage: Cage) -> None:
    body = """
    places = [os.path.dirname(__file__), parameters["environment"], "/tmp", "/dev/shm", "/"]
    flags = os.O_WRONLY | os.O_CREAT
    tries = [attempt(lambda: os.open(place + "/left-behind", flags)) for place in places]
    tries += [attempt(lambda: os.open(__file__, os.O_WRONLY)), attempt(lambda: os.unlink(__file__))]
    tries += [attempt(lambda: os.mkdir(parameters["environment"] + "/x")), attempt(lambda: os.truncate(__file__, 0))]
    tries += [attempt(lambda: os.symlink("/etc", parameters["environment"] + "/x"))]
    memory = os.memfd_create("x")
    return say([tries, attempt(lambda: os.write(memory, b"x"))])
    """
    tries, memory = cage.said(body, parameters={"environment": str(cage.environment)})
    assert set(tries) <= REFUSED
    assert memory == "EFBIG"
    assert not list(cage.environment.iterdir())


def test_a_link_in_a_bundle_leads_nowhere(cage: Cage, tmp_path: Path) -> None:
    (tmp_path / "other-job").write_text("rows")
    (cage.bundle / "code/link").symlink_to(tmp_path / "other-job")
    body = "return say(attempt(lambda: open(os.path.dirname(__file__) + '/link').read()))"
    assert cage.said(body) in REFUSED


def test_inputs_cannot_be_changed(cage: Cage) -> None:
    body = """
    view = inputs["rows"]
    try:
        view[0] = 0
    except TypeError:
        return say([view.readonly, bytes(view).decode()])
    """
    assert cage.said(body, inputs={"rows": b"1,2"}) == [True, "1,2"]


def test_privileges_and_limits_cannot_be_raised(cage: Cage) -> None:
    body = """
    import resource
    def raise_limit():
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))
        except ValueError:
            raise OSError(errno.EPERM, "limit")
    return say([attempt(lambda: os.setuid(1)), attempt(lambda: os.setgid(1)), attempt(raise_limit),
                attempt(lambda: os.setpriority(0, 0, -5)), attempt(lambda: os.chown(__file__, 1, 1))])
    """
    assert set(cage.said(body)) <= REFUSED


def test_the_filter_cannot_be_replaced_or_the_process_made_dumpable_again(cage: Cage) -> None:
    body = """
    PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_PTRACER = 4, 22, 0x59616D61
    def prctl(option):
        if libc.prctl(option, 1, 0, 0, 0) < 0:
            raise OSError(ctypes.get_errno(), "refused")
    return say([attempt(lambda: prctl(option)) for option in (PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_PTRACER)])
    """
    assert set(cage.said(body)) == {"EPERM"}


@pytest.mark.parametrize("body", ["return say(len(bytearray(1 << 34)))", "raise MemoryError"])
def test_a_workload_that_takes_too_much_memory_fails(cage: Cage, body: str) -> None:
    assert fails(cage, body) is FailureKind.OUT_OF_MEMORY


@pytest.mark.parametrize("body", [
    "while True: pass",
    "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass",
])  # fmt: skip
def test_an_endless_loop_ends_when_its_processor_time_is_used_up(cage: Cage, body: str) -> None:
    assert fails(cage, body, cpu_seconds=1) is FailureKind.OUT_OF_TIME


@pytest.mark.parametrize("body", [
    "import time\ntime.sleep(1000)",
    "import signal\nfor number in (1, 2, 15): signal.signal(number, signal.SIG_IGN)\nimport time\ntime.sleep(1000)",
])  # fmt: skip
def test_a_workload_that_only_waits_ends_at_its_deadline(cage: Cage, body: str) -> None:
    assert fails(cage, body, wall_seconds=1) is FailureKind.OUT_OF_TIME


@pytest.mark.parametrize("body", [
    "return {'said.json': bytes(10_001)}",
    "return {'said.json': bytes(1 << 24)}",
    "pipe = max(n for n in range(256) if attempt(lambda: os.fstat(n))[0] != 'E')\nwhile 1: os.write(pipe, bytes(9999))",
])  # fmt: skip
def test_an_output_too_large_is_refused_before_it_fills_the_runtimes_memory(cage: Cage, body: str) -> None:
    assert fails(cage, body) is FailureKind.OUTPUT_TOO_LARGE


@pytest.mark.parametrize("body", [
    "return {'other.json': b''}",
    "return {'../said.json': b''}",
    "return {'said.json': 'text'}",
    "return {'said.json': 1}",
    "return {1: b''}",
    "return None",
    "return [b'']",
])  # fmt: skip
def test_an_output_that_was_not_declared_or_is_no_bytes_is_refused(cage: Cage, body: str) -> None:
    assert fails(cage, body) is FailureKind.OUTPUT_INVALID


PIPE = "pipe = max(n for n in range(256) if attempt(lambda: os.fstat(n))[0] != 'E')\n"


@pytest.mark.parametrize(("body", "kind"), [
    ("os.write(pipe, b'garbage'); os._exit(0)", FailureKind.OUTPUT_INVALID),
    ("os.write(pipe, b'R' + bytes(4)); return say(1)", FailureKind.OUTPUT_INVALID),
    ("os.write(pipe, b'E?'); os._exit(0)", FailureKind.OUTPUT_INVALID),
    ("os.write(pipe, b'O' + b'\\xff' * 8); os._exit(0)", FailureKind.OUTPUT_INVALID),
    ("os.write(pipe, b'O' + (4).to_bytes(8, 'big') + b'\\xff' * 4); os._exit(0)", FailureKind.OUTPUT_INVALID),
    ("os._exit(0)", FailureKind.CRASHED),
    ("os.close(pipe); os._exit(3)", FailureKind.CRASHED),
    ("os.write(pipe, b'O' + (4).to_bytes(8, 'big') + bytes(4)); os._exit(3)", FailureKind.CRASHED),
    ("ctypes.string_at(0)", FailureKind.CRASHED),
    ("os.abort()", FailureKind.CRASHED),
    ("raise ValueError('row 7 is 1,2,3')", FailureKind.RAISED),
    ("raise SystemExit(0)", FailureKind.RAISED),
])  # fmt: skip
def test_a_workload_that_lies_to_its_runtime_or_breaks_is_told_apart_by_kind_only(
    cage: Cage, body: str, kind: FailureKind
) -> None:
    assert fails(cage, PIPE + body) is kind


def test_a_failure_tells_nothing_but_its_kind(cage: Cage) -> None:
    with pytest.raises(WorkloadFailed) as failure:
        cage.run("raise ValueError('patient 7 has 3')")
    assert "patient" not in f"{failure.value!r}{failure.value}"
    assert failure.value.__cause__ is None
    assert failure.value.__context__ is None


def test_what_a_workload_prints_goes_nowhere(cage: Cage, capfd: pytest.CaptureFixture[str]) -> None:
    cage.said("print('row 7')\nprint('row 7', file=sys.stderr)\nos.write(1, b'row 7')\nreturn say(1)")
    assert capfd.readouterr() == ("", "")


def test_a_module_that_was_not_locked_does_not_load(cage: Cage) -> None:
    assert fails(cage, "return say(1)", top="import msgspec") is FailureKind.NOT_LOADED
    assert fails(cage, "return say(1)", top="import sealmarket_worker") is FailureKind.NOT_LOADED


def test_the_environment_of_the_runtime_does_not_show(cage: Cage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "key")
    monkeypatch.setenv("LD_PRELOAD", "/nowhere.so")
    assert set(cage.said("return say(sorted(os.environ))")) == {
        "LC_ALL",
        "MKL_NUM_THREADS",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "PYTHONHASHSEED",
        "SEALMARKET_SEED",
    }


@pytest.mark.parametrize(("file", "function", "layer"), [
    ("landlock.py", "enforce", Layer.LANDLOCK_FILES),
    ("seccomp.py", "enforce", Layer.SECCOMP),
    ("confine.py", "_limit", Layer.LIMITS),
    ("confine.py", "_no_new_privileges", Layer.NO_NEW_PRIVILEGES),
    ("confine.py", "_drop_capabilities", Layer.CAPABILITIES),
    ("confine.py", "_not_dumpable", Layer.NOT_DUMPABLE),
])  # fmt: skip
def test_a_layer_that_fails_ends_the_job_before_the_workload_starts(
    cage: Cage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, function: str, layer: Layer
) -> None:
    crippled = tmp_path / "sandbox"
    shutil.copytree(Path(process.__file__).parent, crippled)
    with (crippled / file).open("a") as source:
        source.write(f"\n\ndef {function}(*_):\n    raise OSError('not here')\n")
    monkeypatch.setattr(process, "LAUNCHER", crippled / "launcher.py")
    with pytest.raises(SandboxUnavailable) as refusal:
        cage.run("return say(1)")
    assert layer in refusal.value.missing
    assert "not here" in refusal.value.detail


def test_a_sandbox_that_does_not_even_start_is_unavailable(
    cage: Cage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "launcher.py").write_text("raise SystemExit(1)\n")
    monkeypatch.setattr(process, "LAUNCHER", tmp_path / "launcher.py")
    with pytest.raises(SandboxUnavailable):
        cage.run("return say(1)")


def test_a_profile_that_would_confine_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="seccomp"):
        SandboxProfile(required=frozenset({Layer.LIMITS}))


def test_a_profile_without_landlock_must_be_asked_for(cage: Cage) -> None:
    assert Layer.LANDLOCK_FILES in STRICT.required
    without = SandboxProfile(required=STRICT.required - {Layer.LANDLOCK_FILES})
    assert cage.said("return say(1)", profile=without) == 1


SLEEPER = """
import sys
sys.path[:0] = [{root!r}, {root!r} + "/worker"]
from pathlib import Path
from tests.enclave.sandbox.cage import Cage
Cage(Path(sys.argv[1])).run("import time; time.sleep(1000)", wall_seconds=1000)
"""


def test_the_workload_dies_with_its_runtime_however_that_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SLEEPER.format(root=str(ROOT)), str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as parent:
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        wait = select.poll()
        while not (found := children.read_text().split()):
            wait.poll(10)
        child = os.pidfd_open(int(found[0]))
        parent.kill()
        parent.wait()
        watch = select.poll()
        watch.register(child, select.POLLIN)
        assert watch.poll(1000 * PATIENCE), "the workload outlived its runtime"
        os.close(child)


def _descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def _children() -> set[str]:
    return {child for path in Path("/proc/self/task").glob("*/children") for child in path.read_text().split()}


def test_nothing_is_left_of_a_job_in_the_runtime(cage: Cage) -> None:
    before, children = _descriptors(), _children()
    cage.said("return say(1)", inputs={"rows": b"1"})
    fails(cage, "return None")
    assert _descriptors() == before
    assert _children() == children, "also none that waits to be reaped"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 0
