"""Start a sandboxed process: its settings, its memory files, its control group. Both kinds of workload start so."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sealmarket_enclave.sandbox import cgroup, launcher
from sealmarket_enclave.sandbox.model import Layer, SandboxProfile, SandboxUnavailable
from sealmarket_enclave.workload.bundle import CODE
from sealmarket_enclave.workload.manifest import Limits, Value

LAUNCHER = Path(launcher.__file__)
READY_SECONDS = 30
READY_BYTES = 1 << 16
SPARE_THREADS = 64
"""Beyond those declared: libraries keep pools that wait. All run on the declared number of processors."""
_F_ADD_SEALS = 1033
_ALL_SEALS = 0x1 | 0x2 | 0x4 | 0x8

Input = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Launch:
    """What a sandboxed process is started with. ``service``: it answers requests, and is not run once."""

    bundle_dir: Path
    environment_dir: Path
    entry_point: str
    limits: Limits
    parameters: Mapping[str, Value]
    profile: SandboxProfile
    service: bool = False


@dataclass(frozen=True, slots=True)
class Started:
    """A started process: the pipe that it writes to, the pipe that it reads from, and its control group."""

    process: subprocess.Popen[bytes]
    output: int
    go: int
    group: cgroup.Group | None

    @property
    def threads(self) -> int:
        """How many threads it has; 0 once it ended."""
        try:
            # The kernel counts a folder for each, beside the two names that every folder has.
            return Path(f"/proc/{self.process.pid}/task").stat().st_nlink - 2
        except OSError:
            return 0


def start(stack: ExitStack, launch: Launch, inputs: Mapping[str, int]) -> Started:
    """Start it with these inputs, as descriptors that it can only read. ``stack`` closes what belongs to it."""
    mine, theirs = os.pipe2(os.O_CLOEXEC)
    stack.callback(os.close, mine)
    waits, go = os.pipe2(os.O_CLOEXEC)
    stack.callback(os.close, go)
    settings_file = memory_file(stack)
    fill(settings_file, json.dumps(_settings(launch, inputs, theirs, waits)).encode())
    try:
        process = _start([settings_file, theirs, waits, *inputs.values()], settings_file, launch.limits)
    finally:
        os.close(theirs)
        os.close(waits)
    return Started(process, mine, go, _grouped(stack, process.pid, launch.limits))


def layers(said: bytes, group: cgroup.Group | None, profile: SandboxProfile) -> tuple[Layer, ...]:
    """The layers in force, from a process's first message, which the launcher sends before any workload code runs.

    Raises:
        SandboxUnavailable: a required one is not.
    """
    message = json.loads(said)
    held = {*message["layers"], *([Layer.CGROUP_MEMORY] if group else [])}
    found = tuple(layer for layer in Layer if layer.value in held)
    if missing := profile.required - set(found):
        raise SandboxUnavailable(missing, "; ".join(message["failed"]))
    return found


def _settings(launch: Launch, inputs: Mapping[str, int], output: int, go: int) -> dict[str, object]:
    return {
        "parent": os.getpid(),
        "output": output,
        "go": go,
        "code": str((launch.bundle_dir / CODE).resolve()),
        "environment": str(launch.environment_dir.resolve()),
        "entry_point": launch.entry_point,
        "inputs": list(inputs.items()),
        "parameters": dict(launch.parameters),
        "limits": {
            "memory_bytes": launch.limits.memory_bytes,
            "cpu_seconds": launch.limits.cpu_seconds,
            "threads": launch.limits.threads,
        },
        "required": sorted(launch.profile.required),
        "service": launch.service,
    }


def _grouped(stack: ExitStack, process: int, limits: Limits) -> cgroup.Group | None:
    """The control group of a child that has done nothing yet; None where this machine lets the runtime make none."""
    group = cgroup.make(limits.memory_bytes, limits.threads + SPARE_THREADS)
    if group is None:
        return None
    stack.callback(group.close)
    try:
        group.add(process)
    except OSError:
        return None
    return group


def _start(descriptors: list[int], settings_file: int, limits: Limits) -> subprocess.Popen[bytes]:
    interpreter = os.path.realpath(sys.executable)
    threads = str(limits.threads)
    return subprocess.Popen(
        [interpreter, "-P", "-s", "-S", "-B", str(LAUNCHER), str(settings_file)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={
            # Where the runtime's own interpreter finds its shared library, if it has one.
            **{name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
            "LC_ALL": "C.UTF-8",
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "PYTHONHASHSEED": str(limits.seed),
            "SEALMARKET_SEED": str(limits.seed),
        },
        close_fds=True,
        pass_fds=descriptors,
        start_new_session=True,
    )


def memory_file(stack: ExitStack) -> int:
    """An empty memory file."""
    descriptor = os.memfd_create("input", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    stack.callback(os.close, descriptor)
    return descriptor


def read_only(stack: ExitStack, descriptor: int) -> int:
    """The same file, opened so that the holder of this descriptor can only read."""
    opened = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, opened)
    return opened


def fill(descriptor: int, data: Input) -> None:
    """Write a memory file and seal it against any change (rule 2)."""
    view = memoryview(data).cast("B")
    while len(view):
        view = view[os.write(descriptor, view) :]
    fcntl.fcntl(descriptor, _F_ADD_SEALS, _ALL_SEALS)
    os.lseek(descriptor, 0, os.SEEK_SET)
