"""The runtime's side of the sandbox: start the child, give it the inputs, take the outputs, trust none of its messages.

Rules (docs/spec/workload.md, "Sandbox"):

1. The child inherits its input descriptors, its settings and one pipe; nothing else, and no environment
   variable but those set here. What it prints goes to the null device.
2. Inputs travel in memory files sealed against any change, never by path. The child holds them from its
   start, empty and read-only; they are filled and sealed when it has loaded its modules, or later. A child that
   opens one again for writing can write nothing (its file size limit is 0); one that maps it for writing keeps
   it from being sealed, which ends it.
3. The first message says which layers are in force, and is sent before workload code runs. Without every
   required layer the child ends there.
4. The second says that the workload has loaded its modules. Until then it gets no data; what comes in its place is
   all that this workload ever says.
5. After that the child is the workload: what comes is bounded while it is read, parsed strictly, and held
   against the declared names and sizes. Of a failure only a :class:`FailureKind` leaves.
6. The child is dead when :class:`StartedWorkload` is closed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sealmarket_enclave.sandbox import launcher, process
from sealmarket_enclave.sandbox.model import (
    STRICT,
    FailureKind,
    Layer,
    Outputs,
    SandboxProfile,
    SandboxUnavailable,
    WorkloadFailed,
)
from sealmarket_enclave.sealed.errors import InvalidOutputs
from sealmarket_enclave.sealed.outputs import decode_outputs
from sealmarket_enclave.workload.manifest import Limits, Manifest, Value

_TAMPERED = (errno.EBUSY, errno.EPERM)
_GRACE_SECONDS = 1.0
_FRAMING_BYTES = 1 << 16
_LOOK_SECONDS = 0.2
_PROBE_LIMITS = Limits(cpu_seconds=10, wall_seconds=10, memory_bytes=1 << 30)
_KINDS = {
    launcher.RAISED: FailureKind.RAISED,
    launcher.NOT_LOADED: FailureKind.NOT_LOADED,
    launcher.OUT_OF_MEMORY: FailureKind.OUT_OF_MEMORY,
    launcher.OUTPUT_INVALID: FailureKind.OUTPUT_INVALID,
}


class StartedWorkload:
    """A workload in its sandbox, loading its modules, before there is any input: usable as a context manager.

    Loading takes as long as training sometimes, and needs no data: it happens while the enclave waits for keys.
    The thread that makes it must live until it is closed, since the child ends with it.

    Args:
        bundle_dir: a checked bundle in a folder that only the runtime can write to (``Bundle.write``).
        environment_dir: its checked dependencies, likewise (``environment.take``).
        input_names: as ``manifest.input_names`` gives them.
        parameters: complete, as ``manifest.check_parameters`` gives them.
    """

    def __init__(
        self,
        bundle_dir: Path,
        environment_dir: Path,
        manifest: Manifest,
        input_names: Iterable[str],
        parameters: Mapping[str, Value],
        profile: SandboxProfile = STRICT,
    ) -> None:
        self._manifest, self._profile = manifest, profile
        with ExitStack() as stack:
            self._child = stack.enter_context(
                _child(
                    bundle_dir,
                    environment_dir,
                    manifest.entry_point,
                    manifest.limits,
                    tuple(input_names),
                    parameters,
                    profile,
                )
            )
            self._stack = stack.pop_all()
        self._layers: tuple[Layer, ...] | None = None
        self._loaded = False

    def loaded(self) -> None:
        """Wait until it has loaded its modules, or ended without, or taken as long as it may run.

        Need not be called; what went wrong is for :meth:`run` to say. A workload may say that it has loaded when it
        has not, and gains nothing by it.

        Raises:
            SandboxUnavailable: a required layer cannot be put in force here; no workload code has run.
        """
        if self._layers is None:
            self._layers = self._child.ready(self._profile)
            self._loaded = self._child.loaded()

    def run(self, inputs: Mapping[str, process.Input], most: int | None = None) -> Outputs:
        """Hand over the plaintext and wait for the outputs. Once only.

        ``most``: bytes of all outputs that are read, if fewer than the manifest allows; None for no such bound.

        Raises:
            SandboxUnavailable: a required layer cannot be put in force here; no workload code has run.
            WorkloadFailed: the workload's own fault, with nothing but its kind.
        """
        self.loaded()
        child, layers = self._child, self._layers or ()
        try:
            child.begin(inputs if self._loaded else None)
        except OSError as error:
            # It has mapped or sealed its input, which cannot be filled then, and gets no data; else memory is wanting.
            why = FailureKind.FORBIDDEN_CALL if error.errno in _TAMPERED else FailureKind.OUT_OF_MEMORY
            raise WorkloadFailed(why, layers, child.end(grace=0)) from None
        declared = sum(output.max_bytes for output in self._manifest.outputs)
        # What it returns was in its memory; what its code writes to the pipe by itself need not have been.
        declared = min(declared, self._manifest.limits.memory_bytes)
        bound = (declared if most is None else min(declared, most)) + _FRAMING_BYTES
        message, failure = child.message(bound)
        kind, files = (failure, {}) if failure else _outcome(message, self._manifest, loaded=self._loaded)
        cpu_seconds = child.end(grace=0 if failure else _GRACE_SECONDS)
        if kind is None and child.status != 0:
            kind = FailureKind.CRASHED
        if kind is not None:
            raise WorkloadFailed(child.explained(kind), layers, cpu_seconds)
        return Outputs(files=files, layers=layers, cpu_seconds=cpu_seconds)

    def close(self) -> None:
        """End the child, whatever it does."""
        self._stack.close()

    def __enter__(self) -> StartedWorkload:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def probe(profile: SandboxProfile = STRICT) -> tuple[Layer, ...]:
    """The layers that this machine can put in force. Raises :class:`SandboxUnavailable` for a required one."""
    nowhere = process.LAUNCHER.parent
    with _child(nowhere, nowhere, "", _PROBE_LIMITS, (), {}, profile) as child:
        return child.ready(profile)


class _Child:
    """A running sandbox."""

    def __init__(
        self,
        started: process.Started,
        inputs: dict[str, int],
        limits: Limits,
    ) -> None:
        self._started, self._process, self._pipe = started, started.process, started.output
        self._limits, self._group = limits, started.group
        self._go, self._inputs = started.go, inputs
        self._left = float(limits.wall_seconds)
        self._deadline = time.monotonic() + self._left
        self._buffer = bytearray()
        self._late = self._crowded = False
        self._cpu = 0.0
        self.status: int | None = None

    def ready(self, profile: SandboxProfile) -> tuple[Layer, ...]:
        """The layers in force (rule 3)."""
        deadline = time.monotonic() + process.READY_SECONDS
        self._read_until(5, 5, deadline)
        size = int.from_bytes(self._buffer[1:5], "big")
        if self._buffer[:1] != b"R" or size > process.READY_BYTES:
            raise SandboxUnavailable(profile.required, "the sandbox did not start")
        self._read_until(5 + size, 5 + size, deadline)
        if len(self._buffer) < 5 + size:
            raise SandboxUnavailable(profile.required, "the sandbox did not start")
        layers = process.layers(bytes(self._buffer[5 : 5 + size]), self._group, profile)
        del self._buffer[: 5 + size]
        return layers

    def loaded(self) -> bool:
        """Whether it says that it waits for its inputs (rule 4). What it says instead stays to be read."""
        started = time.monotonic()
        self._read_until(1, 1, started + self._left)
        # The settle window runs: time spent here is not available for computing.
        self._left = max(0.0, self._left - (time.monotonic() - started))
        if self._buffer[:1] != launcher.LOADED:
            return False
        del self._buffer[:1]
        return True

    def begin(self, inputs: Mapping[str, process.Input] | None) -> None:
        """Fill the input files, close them to any change, and let the workload go for what is left of its time.

        None for a workload that did not load: it gets nothing, and ends.
        """
        self._deadline = time.monotonic() + self._left
        if inputs is None:
            return
        if inputs.keys() != self._inputs.keys():
            raise ValueError(f"expected inputs {sorted(self._inputs)}, found {sorted(inputs)}")
        for name, data in inputs.items():
            process.fill(self._inputs[name], data)
        self._deadline = time.monotonic() + self._left
        with contextlib.suppress(BrokenPipeError):  # it ended already, and says how
            os.write(self._go, b"g")

    def message(self, bound: int) -> tuple[bytes, FailureKind | None]:
        """Everything that comes until the pipe closes, or why not (rule 5)."""
        if not self._late and not self._crowded:
            self._read_until(bound + 1, 1 << 20, self._deadline)
        if self._crowded:
            return b"", FailureKind.TOO_MANY_THREADS
        if self._late:
            return b"", FailureKind.OUT_OF_TIME
        if len(self._buffer) > bound:
            return b"", FailureKind.OUTPUT_TOO_LARGE
        return bytes(self._buffer), None

    def end(self, *, grace: float) -> float:
        """Kill what is left, take its status, and return the CPU seconds that it used.

        A child whose pipe closed by itself is about to end, and has ``grace`` seconds for it: its own status is
        wanted, not that of our kill.
        """
        if self.status is None and (self._late or self._crowded or not self._ended_within(grace)):
            os.kill(self._process.pid, signal.SIGKILL)
            _, status, usage = os.wait4(self._process.pid, 0)
            self._note(status, usage.ru_utime + usage.ru_stime)
        return self._cpu

    def explained(self, kind: FailureKind) -> FailureKind:
        """A kind made more exact by the signal that ended the child."""
        if self._crowded:
            return FailureKind.TOO_MANY_THREADS
        if self._late:
            return FailureKind.OUT_OF_TIME
        if self._group is not None and self._group.killed():
            return FailureKind.OUT_OF_MEMORY
        if self.status == -signal.SIGSYS:
            return FailureKind.FORBIDDEN_CALL
        spent = self._cpu >= self._limits.cpu_seconds
        if self.status == -signal.SIGXCPU or (self.status == -signal.SIGKILL and spent):
            return FailureKind.OUT_OF_TIME
        if self.status is not None and self.status < 0 and kind is not FailureKind.OUTPUT_TOO_LARGE:
            return FailureKind.CRASHED
        return kind

    def _ended_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
            if pid:
                self._note(status, usage.ru_utime + usage.ru_stime)
                return True
            select.select([], [], [], 0.001)
        return False

    def _note(self, status: int, cpu: float) -> None:
        self.status = os.waitstatus_to_exitcode(status)
        self._process.returncode = self.status
        self._cpu = cpu

    def _read_until(self, enough: int, block: int, deadline: float) -> None:
        poller = select.poll()
        poller.register(self._pipe, select.POLLIN)
        while len(self._buffer) < enough:
            left = deadline - time.monotonic()
            if left <= 0:
                self._late = True
                return
            if not poller.poll(min(left, _LOOK_SECONDS) * 1000):
                self._crowded = self._started.threads > self._limits.threads + process.SPARE_THREADS
                if self._crowded:
                    return
                continue
            data = os.read(self._pipe, min(block, enough - len(self._buffer)))
            if not data:
                return
            self._buffer += data


@contextmanager
def _child(
    bundle_dir: Path,
    environment_dir: Path,
    entry_point: str,
    limits: Limits,
    input_names: tuple[str, ...],
    parameters: Mapping[str, Value],
    profile: SandboxProfile,
) -> Iterator[_Child]:
    with ExitStack() as stack:
        files = {name: process.memory_file(stack) for name in input_names}
        readable = {name: process.read_only(stack, descriptor) for name, descriptor in files.items()}
        launch = process.Launch(bundle_dir, environment_dir, entry_point, limits, parameters, profile)
        started = process.start(stack, launch, readable)
        child = _Child(started, files, limits)
        stack.callback(child.end, grace=0)
        yield child


def _outcome(message: bytes, manifest: Manifest, *, loaded: bool) -> tuple[FailureKind | None, dict[str, bytes]]:
    """What the workload's message means (rule 5)."""
    if message[:1] == b"E" and len(message) == 2:
        return _KINDS.get(message[1:], FailureKind.OUTPUT_INVALID), {}
    if not message:
        return FailureKind.CRASHED, {}
    if not loaded or message[:1] != b"O" or int.from_bytes(message[1:9], "big") != len(message) - 9:
        return FailureKind.OUTPUT_INVALID, {}
    try:
        files = decode_outputs(memoryview(message)[9:])
    except InvalidOutputs:
        return FailureKind.OUTPUT_INVALID, {}
    largest = {output.name: output.max_bytes for output in manifest.outputs}
    if files.keys() - largest.keys():
        return FailureKind.OUTPUT_INVALID, {}
    if any(len(data) > largest[name] for name, data in files.items()):
        return FailureKind.OUTPUT_TOO_LARGE, {}
    return None, files
