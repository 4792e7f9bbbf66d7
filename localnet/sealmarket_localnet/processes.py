"""Start programs on this machine, know when they are ready, and leave none of them behind.

    with Supervisor(logs=folder) as programs:
        chain = chains.anvil(programs)                  # Chain(process, url)
        api = programs.start("backend", [...], ready=says(r"running on (http://\\S+)"))
        api.answer[1]                                  # what the readiness condition found

Each program has its own process group, its own log file, no standard input, and a lifeline to this process
(`sealmarket.lifeline`): leaving the block stops the groups (SIGTERM, then SIGKILL), newest first, and when
this process is killed with SIGKILL the kernel ends them. A program's own children attach lifelines likewise.

Errors:

    ProcessError
    ├── ProgramMissing
    ├── DiedEarly
    ├── DiedMeanwhile
    └── NotReadyInTime
"""

from __future__ import annotations

import contextlib
import os
import queue
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sealmarket import lifeline

LOOPBACK = "127.0.0.1"
POLL_SECONDS = 0.02
TAIL_LINES = 20
DEFAULT_READY_SECONDS = 120.0
"""Ample for a busy machine: a program that ends before it is ready is found out at once."""
DEFAULT_GRACE_SECONDS = 5.0

Answer = Any
Ready = Callable[["Process"], Answer]
"""A readiness condition: true once the program serves, else false; asked again and again."""


class ProcessError(RuntimeError):
    """A program could not be started, ended early or was not ready in time."""

    remedy = "Read the log named above."


class ProgramMissing(ProcessError):
    """The program to start does not exist."""

    remedy = "Run `scripts/setup`."

    def __init__(self, name: str, path: str) -> None:
        super().__init__(f"{name}: there is no program {path}. {self.remedy}")
        self.name, self.path = name, path


class DiedEarly(ProcessError):
    """A program ended before it was ready; quotes the end of its log."""

    def __init__(self, name: str, status: int, log: Path, tail: str) -> None:
        super().__init__(f"{name} ended with status {status} before it was ready. Its log {log} ends:\n{tail}")
        self.name, self.status, self.log, self.tail = name, status, log, tail


class DiedMeanwhile(ProcessError):
    """A program ended while it was needed; quotes the end of its log."""

    def __init__(self, name: str, status: int, log: Path, tail: str) -> None:
        super().__init__(f"{name} ended with status {status} while it was needed. Its log {log} ends:\n{tail}")
        self.name, self.status, self.log, self.tail = name, status, log, tail


class NotReadyInTime(ProcessError):
    """A program runs, but its readiness condition did not hold in time; quotes the end of its log."""

    def __init__(self, name: str, seconds: float, log: Path, tail: str) -> None:
        super().__init__(f"{name} was not ready after {seconds:g} s. Its log {log} ends:\n{tail}")
        self.name, self.seconds, self.log, self.tail = name, seconds, log, tail


class Process:
    """One running program. Made by `Supervisor.start` only."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.name, self.log, self.pid = name, log, popen.pid
        self.answer: Answer = None
        """What the readiness condition returned: the match of `says`, for one."""
        self._popen = popen
        self._stopping = threading.Lock()

    @property
    def status(self) -> int | None:
        """The exit status (negative: a signal), or None while it runs."""
        return self._popen.poll() if self._reaped else self._peek()

    def tail(self, lines: int = TAIL_LINES) -> str:
        """The last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait_until(self, ready: Ready, timeout: float = DEFAULT_READY_SECONDS) -> Answer:
        """Wait for a condition and return its answer; raises DiedEarly or NotReadyInTime."""
        deadline = time.monotonic() + timeout
        pause = threading.Event()
        while True:
            status = self.status
            answer = ready(self)
            if answer:
                return answer
            if status is not None:
                raise DiedEarly(self.name, status, self.log, self.tail())
            if time.monotonic() > deadline:
                raise NotReadyInTime(self.name, timeout, self.log, self.tail())
            pause.wait(POLL_SECONDS)

    def wait(self, timeout: float) -> int:
        """Wait for the program to end by itself; its exit status. Raises NotReadyInTime."""
        self.wait_until(lambda process: process.status is not None, timeout)
        status = self.status
        assert status is not None
        return status

    def kill(self) -> None:
        """SIGKILL to the whole group, for tests of what a crash leaves behind; waits until it is gone."""
        self.stop(grace=0)

    def stop(self, grace: float = DEFAULT_GRACE_SECONDS) -> int:
        """End the whole group: SIGTERM, then SIGKILL after `grace` seconds; the leader's exit status."""
        with self._stopping:
            if self._reaped:
                return self._popen.returncode
            if self._peek() is None and grace > 0:
                os.killpg(self.pid, signal.SIGTERM)
                deadline, pause = time.monotonic() + grace, threading.Event()
                while self._peek() is None and time.monotonic() < deadline:
                    pause.wait(POLL_SECONDS)
            # The leader is not reaped yet, so the group's id cannot have passed to another process.
            os.killpg(self.pid, signal.SIGKILL)
            return self._popen.wait()

    @property
    def _reaped(self) -> bool:
        return self._popen.returncode is not None

    def _peek(self) -> int | None:
        """The status of a program that has ended, without reaping it."""
        info = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if info is None:
            return None
        return info.si_status if info.si_code == os.CLD_EXITED else -info.si_status


class Supervisor:
    """A set of programs that end with the block, and with this process."""

    def __init__(self, logs: Path) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self.logs = logs
        self.processes: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(
        self,
        name: str,
        command: Sequence[str | os.PathLike[str]],
        *,
        ready: Ready | None = None,
        timeout: float = DEFAULT_READY_SECONDS,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Process:
        """Start a program and wait until it is ready.

        `env` replaces the environment. Raises ProgramMissing, DiedEarly or NotReadyInTime; a program that did
        not become ready is stopped before the error is raised.
        """
        arguments = [os.fspath(argument) for argument in command]
        if shutil.which(arguments[0], path=(env or os.environ).get("PATH")) is None:
            raise ProgramMissing(name, arguments[0])
        log = self.logs / f"{name}.log"
        log.write_bytes(b"")
        process = Process(name, _spawn(arguments, log, env, cwd), log)
        self.processes.append(process)
        if ready is not None:
            try:
                process.answer = process.wait_until(ready, timeout)
                if process.status is not None:
                    # Another program answered: one that held this address before.
                    raise DiedEarly(name, process.status, log, process.tail())
            except BaseException:
                process.stop()
                raise
        return process

    def require_running(self) -> None:
        """Raise :class:`DiedMeanwhile` for a program that has ended by itself."""
        for process in self.processes:
            status = process.status
            if status is not None:
                raise DiedMeanwhile(process.name, status, process.log, process.tail())

    def stop(self) -> None:
        """Stop every program, the newest first; all of them, also when one resists."""
        while self.processes:
            self.processes.pop().stop()


# --- starting from a thread that lives as long as the process -----------------------------------------------

_requests: queue.SimpleQueue[tuple[Callable[[], subprocess.Popen[bytes]], queue.SimpleQueue[Any]]] = queue.SimpleQueue()
_starter_lock = threading.Lock()
_starter: threading.Thread | None = None


def _spawn(
    command: Sequence[str], log: Path, env: Mapping[str, str] | None, cwd: Path | None
) -> subprocess.Popen[bytes]:
    """Start a program from the starter thread: the kernel ends a child with the thread that made it."""

    def start() -> subprocess.Popen[bytes]:
        with log.open("ab") as sink:
            return subprocess.Popen(
                lifeline.attached(command),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=None if env is None else dict(env),
                cwd=cwd,
                process_group=0,
            )

    _ensure_starter()
    reply: queue.SimpleQueue[Any] = queue.SimpleQueue()
    _requests.put((start, reply))
    started = reply.get()
    if isinstance(started, BaseException):
        raise started
    assert isinstance(started, subprocess.Popen)
    return started


def _ensure_starter() -> None:
    global _starter
    with _starter_lock:
        if _starter is None or not _starter.is_alive():
            # A daemon: it ends with the process, never before.
            _starter = threading.Thread(target=_serve_starts, name="process-starter", daemon=True)
            _starter.start()


def _serve_starts() -> None:
    while True:
        start, reply = _requests.get()
        try:
            reply.put(start())
        except OSError as error:
            reply.put(error)


# --- readiness ----------------------------------------------------------------------------------------------


def says(pattern: str) -> Ready:
    """Ready when the log has a match of the regular expression; the answer is the match."""
    expression = re.compile(pattern)
    return lambda process: expression.search(process.log.read_text(errors="replace"))


def answers(url: str, status: int = 200) -> Ready:
    """Ready when a GET of the address gives this HTTP status."""

    def ask(_process: Process) -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - our own loopback address
                return int(response.status) == status
        except urllib.error.HTTPError as error:
            return error.code == status
        except (urllib.error.URLError, OSError):
            return False

    return ask


def free_port() -> int:
    """A port of 127.0.0.1 that was free just now, for programs that cannot choose one by themselves.

    Prefer `--port 0` and `says`: between this answer and its use, another program may take the port.
    """
    while True:
        # Below what kernels give to connections on their own, which would take it at any moment.
        port = random.randrange(15_000, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex((LOOPBACK, port)) == 0:
                continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port
