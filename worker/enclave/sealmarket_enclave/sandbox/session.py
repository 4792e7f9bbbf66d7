"""The runtime's side of a service: one sandboxed process for one account, and inputs that all of them share.

Rules (docs/spec/session.md, "Workload"):

1. An input is one memory file that is filled, and sealed against any change, before a process starts. Each process gets
   a descriptor of its own that can only read: no offset is shared. The file keeps no time of its last access, by which
   two processes could signal; where the kernel cannot leave that out, each process gets a copy.
2. A process says that it waits for requests, within ``wall_seconds`` of its start. It is given one request at a time.
3. What it writes is bounded while it is read. Bytes without a request, a part or an end of another form, and a part
   that is empty or beyond its bound are :attr:`Event.BROKEN`: it is to be ended, and nothing of it counts.
4. Reading and writing never wait, so that a process that neither reads nor writes holds up no other.
5. A process that was closed is neither read nor written to: its descriptors may be another's by then.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import struct
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Annotated

import msgspec

from sealmarket_enclave.sandbox import process, serving
from sealmarket_enclave.sandbox.model import SandboxUnavailable

_SET_FLAGS, _NO_ACCESS_TIME = 0x40086602, 0x80
_READ_BYTES = 1 << 17
_MOST_DONE = 1 << 14
_HEAD = 5


Units = Annotated[int, msgspec.Meta(ge=0, le=(1 << 53) - 1)]


class Event(Enum):
    """What happened to a process."""

    WAITING = auto()
    SENT = auto()
    DONE = auto()
    BROKEN = auto()


class Done(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a workload says at the end of a request."""

    prompt_units: Units
    output_units: Units
    engine: Annotated[dict[str, str | int | float | bool], msgspec.Meta(max_length=64)]


@dataclass(frozen=True, slots=True)
class Happened:
    """An event, with the bytes that were sent or what was said at the end."""

    event: Event
    data: bytes = field(default=b"", repr=False)
    done: Done | None = None


class SharedInputs:
    """The inputs of a service (rule 1). They are in memory until :meth:`close`."""

    def __init__(self, inputs: Mapping[str, process.Input]) -> None:
        self._stack = ExitStack()
        self._files: dict[str, int] = {}
        self.shared = True
        try:
            for name, data in inputs.items():
                self._files[name] = process.memory_file(self._stack)
                self.shared = _without_access_time(self._files[name]) and self.shared
                process.fill(self._files[name], data)
        except BaseException:
            self.close()
            raise

    def readable(self, stack: ExitStack) -> dict[str, int]:
        """A descriptor of each input for one process."""
        return {name: process.read_only(stack, self._for_one(stack, file)) for name, file in self._files.items()}

    def close(self) -> None:
        """Give the memory back, once no process has it."""
        self._stack.close()

    def _for_one(self, stack: ExitStack, file: int) -> int:
        if self.shared:
            return file
        copy = process.memory_file(stack)
        process.fill(copy, os.pread(file, os.fstat(file).st_size, 0))
        return copy


class SessionProcess:
    """One process of a service. The thread that makes it must live until it is closed: the child ends with it."""

    def __init__(self, launch: process.Launch, inputs: SharedInputs) -> None:
        self._profile, self._most_threads = launch.profile, launch.limits.threads + process.SPARE_THREADS
        with ExitStack() as stack:
            with ExitStack() as passed:
                self._started = process.start(stack, launch, inputs.readable(passed))
            stack.callback(self._kill)
            for descriptor in (self._started.output, self._started.go):
                os.set_blocking(descriptor, False)
            self._stack = stack.pop_all()
        self._buffer, self._pending = bytearray(), bytearray()
        self._ready = self._loaded = self._busy = self._broken = False
        self.layers: tuple[str, ...] = ()

    @property
    def output(self) -> int:
        """The descriptor to wait on for :meth:`read`."""
        return self._started.output

    @property
    def input(self) -> int | None:
        """The descriptor to wait on for :meth:`write`; None when nothing is to be written."""
        return self._started.go if self._pending else None

    @property
    def loaded(self) -> bool:
        """Whether it waits, or waited, for requests."""
        return self._loaded

    @property
    def crowded(self) -> bool:
        """Whether it has more threads than it may."""
        return self._started.threads > self._most_threads

    def give(self, endpoint: str, most_units: int, body: bytes) -> None:
        """Give it a request. Only while it waits."""
        assert self._loaded
        assert not self._busy
        self._busy = True
        meta = json.dumps({"endpoint": endpoint, "most_units": most_units}).encode()
        self._pending += len(meta).to_bytes(4) + meta + len(body).to_bytes(4) + body
        self.write()

    def write(self) -> None:
        """Write what the pipe takes now."""
        try:
            while self._pending:
                del self._pending[: os.write(self._started.go, self._pending)]
        except BlockingIOError:
            return
        except BrokenPipeError:
            # It ended, which reading shows, or it reads no more, which ends with its time.
            self._pending.clear()

    def read(self) -> Iterator[Happened]:
        """What it wrote since. Nothing comes after a :attr:`Event.BROKEN`.

        Raises:
            SandboxUnavailable: a required layer is not in force; no workload code has run.
        """
        if self._broken:
            return
        ended = False
        try:
            data = os.read(self._started.output, _READ_BYTES)
            ended = not data
            self._buffer += data
        except BlockingIOError:
            return
        while not self._broken and (happened := self._next()) is not None:
            self._broken = happened.event is Event.BROKEN
            yield happened
        if ended and not self._broken:
            self._broken = True
            yield Happened(Event.BROKEN)

    def close(self) -> None:
        """End it, whatever it does (rule 5)."""
        self._broken = True
        self._pending.clear()
        self._stack.close()

    def _next(self) -> Happened | None:
        """The next whole message; None while there is none."""
        if not self._ready:
            return self._first()
        if not self._buffer:
            return None
        if not self._loaded:
            if self._buffer[:1] != serving.LOADED:
                return Happened(Event.BROKEN)
            del self._buffer[:1]
            self._loaded = True
            return Happened(Event.WAITING)
        kind = bytes(self._buffer[:1])
        most = {serving.SEND: serving.MOST_SENT, serving.DONE: _MOST_DONE}.get(kind)
        if most is None or not self._busy:
            return Happened(Event.BROKEN)
        if len(self._buffer) < _HEAD:
            return None
        size = int.from_bytes(self._buffer[1:_HEAD])
        if not 0 < size <= most:  # an empty part would count against no bound
            return Happened(Event.BROKEN)
        if len(self._buffer) < _HEAD + size:
            return None
        payload = bytes(self._buffer[_HEAD : _HEAD + size])
        del self._buffer[: _HEAD + size]
        return Happened(Event.SENT, payload) if kind == serving.SEND else self._end(payload)

    def _end(self, payload: bytes) -> Happened:
        try:
            done = msgspec.json.decode(payload, type=Done)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return Happened(Event.BROKEN)
        self._busy = False
        return Happened(Event.DONE, done=done)

    def _first(self) -> Happened | None:
        """The launcher's own message."""
        if len(self._buffer) < _HEAD:
            return None
        size = int.from_bytes(self._buffer[1:_HEAD])
        if self._buffer[:1] != b"R" or size > process.READY_BYTES:
            raise SandboxUnavailable(self._profile.required, "the sandbox did not start")
        if len(self._buffer) < _HEAD + size:
            return None
        found = process.layers(bytes(self._buffer[_HEAD : _HEAD + size]), self._started.group, self._profile)
        self.layers = tuple(layer.value for layer in found)
        del self._buffer[: _HEAD + size]
        self._ready = True
        return self._next()

    def _kill(self) -> None:
        if self._started.process.returncode is None:
            os.kill(self._started.process.pid, signal.SIGKILL)
            self._started.process.wait()


def _without_access_time(descriptor: int) -> bool:
    """Have a memory file keep no time of its last access; whether this kernel can (Linux 6.0, ``FS_IOC_SETFLAGS``)."""
    try:
        fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("=L", _NO_ACCESS_TIME))
    except OSError:
        return False
    return True
