"""A program that a driver starts for one enclave: it ends with the host, and the end of what it said is kept."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from sealmarket.lifeline import attached
from sealmarket_worker.drivers.interface import DriverError

_KEPT = 4096
_GRACE_SECONDS = 10


class ProgramEnded(DriverError):
    """The program of an enclave ended before the enclave answered, or it does not answer in time."""

    def __init__(self, name: str, how: str, said: str) -> None:
        super().__init__(
            f"{name} {how}; it said: {said[-500:].strip() or 'nothing'}",
            remedy="run its command by hand; `sealmarket worker doctor` says what this machine lacks",
        )


class Program:
    """One running program. Its output is read by a thread, so that it never waits for a reader or fills a disk."""

    def __init__(self, command: Sequence[str], *, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        """Start it in ``folder``. Raises :class:`DriverError` where it cannot be started."""
        self.name = Path(command[0]).name
        try:
            self._process = subprocess.Popen(
                attached(command),
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise DriverError(f"{self.name} cannot be started: {error}", remedy="correct its command") from error
        self._said = bytearray()
        self._reader = threading.Thread(target=self._read, name=f"output of {self.name}", daemon=True)
        self._reader.start()

    @property
    def runs(self) -> bool:
        """Whether it has not ended by itself."""
        return self._process.poll() is None

    def ended(self, how: str = "") -> ProgramEnded:
        """The error that says how it ended, or ``how``, with the end of what it said."""
        if not how:
            how = f"ended with status {self._process.wait()}"
            self._reader.join(1)
        return ProgramEnded(self.name, how, bytes(self._said).decode("utf-8", "replace"))

    def end(self) -> None:
        """End it: by SIGTERM, and after ten seconds by SIGKILL."""
        self._process.terminate()
        try:
            self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(1)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            while piece := os.read(output.fileno(), _KEPT):
                self._said += piece
                del self._said[:-_KEPT]
