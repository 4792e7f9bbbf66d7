"""What the entry point of a service is given: ``serve(session)``, with requests over a pipe (docs/spec/session.md).

Once the process waits for its first request it writes ``L``. From then on it reads from its request pipe

    u32 length || JSON {"endpoint", "most_units"} || u32 length || body

and writes to its output pipe, for one request at a time,

    S || u32 length || bytes of the response        as often as it likes, never empty
    D || u32 length || JSON {"prompt_units", "output_units", "engine"}        once, at the end

or ``E || kind`` when it ends. Everything that it writes may be forged by the workload.

Standard library only: this module runs inside the sandboxed process, beside the workload.
"""

from __future__ import annotations

import importlib
import json
import mmap
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

LOADED, SEND, DONE, ENDED = b"L", b"S", b"D", b"E"
RAISED, OUT_OF_MEMORY, NOT_LOADED = b"r", b"m", b"l"
MOST_SENT = 1 << 16
"""Bytes of one part of a response."""

Value = str | int | float | bool


class Request:
    """One request of the account that this process serves."""

    def __init__(self, write: Callable[[bytes, bytes], None], meta: Mapping[str, Any], body: bytes) -> None:
        self._write, self._over = write, False
        self.endpoint: str = meta["endpoint"]
        self.most_units: int = meta["most_units"]
        self.body = body

    @property
    def over(self) -> bool:
        """Whether it was ended."""
        return self._over

    def send(self, data: bytes) -> None:
        """The next bytes of the response. Raises :class:`RuntimeError` once the request is over."""
        if self._over:
            raise RuntimeError("this request is over: call send before done")
        view = memoryview(data)
        while view:
            self._write(SEND, bytes(view[:MOST_SENT]))
            view = view[MOST_SENT:]

    def done(self, prompt_units: int, output_units: int, engine: Mapping[str, Value] | None = None) -> None:
        """End the request. Units count up to ``most_units``; ``engine`` says what the answer was made with.

        Raises:
            RuntimeError: the request is over.
        """
        if self._over:
            raise RuntimeError("this request is over: call done once")
        self._over = True
        payload = {"prompt_units": int(prompt_units), "output_units": int(output_units), "engine": dict(engine or {})}
        self._write(DONE, json.dumps(payload).encode())


class Inputs(Mapping[str, memoryview]):
    """The inputs as read-only memory, each mapped when it is first used: a library may map it by its path instead."""

    def __init__(self, descriptors: Mapping[str, int]) -> None:
        self._descriptors = descriptors
        self._mapped: dict[str, memoryview] = {}

    def __getitem__(self, name: str) -> memoryview:
        if name not in self._mapped:
            self._mapped[name] = _mapped(self._descriptors[name])
        return self._mapped[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._descriptors)

    def __len__(self) -> int:
        return len(self._descriptors)


class Session:
    """The inputs of a service as read-only memory, its parameters, and the requests of one account."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._output, self._requests = settings["output"], settings["go"]
        self._descriptors: dict[str, int] = dict(settings["inputs"])
        self.inputs: Mapping[str, memoryview] = Inputs(self._descriptors)
        self.parameters: Mapping[str, Value] = settings["parameters"]
        self._waiting = False

    @property
    def waiting(self) -> bool:
        """Whether it ever waited for a request."""
        return self._waiting

    def path(self, name: str) -> str:
        """A path under which a library can open and map an input. Raises :class:`KeyError` for an unknown one."""
        return f"/proc/self/fd/{self._descriptors[name]}"

    def requests(self) -> Iterator[Request]:
        """The requests, one at a time. Each must be over before the next; the runtime ends the process otherwise."""
        if not self._waiting:
            self._waiting = True
            self._raw(LOADED)
        while True:
            meta = json.loads(self._part())
            request = Request(self._write, meta, self._part())
            yield request
            if not request.over:
                request.done(0, 0)

    def _part(self) -> bytes:
        return self._exactly(int.from_bytes(self._exactly(4)))

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = os.read(self._requests, min(1 << 20, size - len(data)))
            if not part:
                os._exit(0)
            data += part
        return bytes(data)

    def _write(self, kind: bytes, payload: bytes) -> None:
        self._raw(kind + len(payload).to_bytes(4) + payload)

    def _raw(self, message: bytes) -> None:
        view = memoryview(message)
        while view:
            view = view[os.write(self._output, view) :]


def run(settings: dict[str, Any]) -> bytes:
    """Serve until the entry point returns or raises. The last message."""
    session: Session | None = None
    try:
        sys.argv = ["workload"]
        sys.path[:0] = [settings["code"], settings["environment"]]
        module, _, function = settings["entry_point"].partition(":")
        entry = getattr(importlib.import_module(module), function)
        session = Session(settings)
        entry(session)
    except MemoryError:
        return ENDED + OUT_OF_MEMORY
    except BaseException:  # noqa: BLE001 - only the kind leaves; the message may hold data
        return ENDED + (RAISED if session is not None and session.waiting else NOT_LOADED)
    return ENDED + RAISED


def _mapped(descriptor: int) -> memoryview:
    """An input as read-only memory; its descriptor stays open for :meth:`Session.path`. An empty file has no map."""
    size = os.fstat(descriptor).st_size
    return memoryview(mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) if size else b"")
