"""Serve with a workload of kind session on this machine: no market, no key, no enclave, and no sandbox.

The workload gets the same ``session`` object as in an enclave (docs/spec/session.md, "Workload"), in a process of its
own, with its locked dependencies alone. It is **not** confined here: run what you wrote, on your own data.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from sealmarket.workloads import inside_session as wire
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.workload.manifest import Manifest, Value


class SessionFailed(SealmarketError):
    """The workload ended while it served; ``text`` is its own error."""

    def __init__(self, text: str) -> None:
        super().__init__(
            f"expected an entry point that serves until its requests end, found: {text.strip() or 'no message'}",
            remedy="mend the workload; docs/spec/session.md (Workload) says what an entry point is given",
        )
        self.text = text


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What the workload says that one request took, in units, and of its engine."""

    prompt_units: int
    output_units: int
    engine: Mapping[str, Any]


class _Done(msgspec.Struct, rename="camel"):
    prompt_units: int
    output_units: int
    engine: dict[str, Any]


class LocalSession:
    """A workload that serves, as a context manager.

    Args:
        code: the folder ``code`` of the workload.
        environment: its installed dependencies.
        inputs: a file for each input.
        parameters: complete, as ``manifest.check_parameters`` gives them.
    """

    def __init__(
        self,
        code: Path,
        environment: Path,
        manifest: Manifest,
        inputs: Mapping[str, Path],
        parameters: Mapping[str, Value],
    ) -> None:
        settings = {
            "code": str(code.resolve()),
            "environment": str(environment.resolve()),
            "entryPoint": manifest.entry_point,
            "inputs": {name: str(path.resolve()) for name, path in inputs.items()},
            "parameters": dict(parameters),
        }
        self.used: Used | None = None
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sealmarket-session-")))
            (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
            self._process = stack.enter_context(_started(folder / "settings.json", manifest))
            stack.callback(self._process.kill)
            kind, payload = self._next()
            if kind != wire.LOADED:
                raise SessionFailed(payload.decode("utf-8", "replace"))
            self._stack = stack.pop_all()

    @property
    def process_id(self) -> int:
        """Of the process that serves."""
        return self._process.pid

    def ask(self, endpoint: str, body: bytes, most_units: int) -> Iterator[bytes]:
        """Bytes of the response, as the workload sends them; :attr:`used` is there when they end.

        Raises:
            SessionFailed: the workload ended.
        """
        self.used = None
        asks = self._process.stdin
        if asks is None:
            raise ValueError("the session is closed")
        try:
            wire.write(asks, wire.REQUEST, json.dumps({"endpoint": endpoint, "mostUnits": most_units}).encode())
            wire.write(asks, wire.BODY, body)
        except BrokenPipeError:
            raise SessionFailed(self._next()[1].decode("utf-8", "replace")) from None
        while (message := self._next())[0] == wire.SENT:
            yield message[1]
        if message[0] != wire.DONE:
            raise SessionFailed(message[1].decode("utf-8", "replace"))
        try:
            done = msgspec.json.decode(message[1], type=_Done)
        except msgspec.DecodeError as error:
            raise SessionFailed(f"done() was given {error}") from None
        self.used = Used(prompt_units=done.prompt_units, output_units=done.output_units, engine=done.engine)

    def close(self) -> None:
        """End the process."""
        self._stack.close()

    def __enter__(self) -> LocalSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _next(self) -> tuple[bytes, bytes]:
        source = self._process.stdout
        return (source and wire.read(source)) or (wire.FAILED, b"the process ended")


def _started(settings: Path, manifest: Manifest) -> subprocess.Popen[bytes]:
    threads = str(manifest.limits.threads)
    return subprocess.Popen(
        [os.path.realpath(sys.executable), "-P", "-s", "-S", "-B", wire.__file__, str(settings)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={
            **{name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
            "LC_ALL": "C.UTF-8",
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "PYTHONHASHSEED": str(manifest.limits.seed),
            "SEALMARKET_SEED": str(manifest.limits.seed),
        },
    )
