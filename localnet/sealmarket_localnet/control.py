"""Starts the keeper of a folder, follows what it says, and ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from sealmarket import lifeline
from sealmarket_localnet.keeper import READY, STEP
from sealmarket_localnet.state import Folder, LocalnetRefused

START_SECONDS, END_SECONDS, KILL_SECONDS = 600.0, 60.0, 10.0
POLL_SECONDS = 0.1
_TAIL = 8
_SOCKET_BYTES = 107


def start(folder: Folder, said: Callable[[str], None], *, bound: bool = False) -> subprocess.Popen[bytes]:
    """Start the keeper and wait until the whole market serves; ``bound``: it ends with this process.

    Raises:
        LocalnetRefused: it ended before that, with the end of its log.
        KeyboardInterrupt: it was stopped, and its state is kept.
    """
    _require_room(folder)
    folder.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = [sys.executable, "-m", "sealmarket_localnet.keeper", str(folder.path)]
    with folder.keeper_log.open("wb") as log:
        process = subprocess.Popen(
            lifeline.attached(command) if bound else command,
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        _follow(folder, process, said)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    return process


def _require_room(folder: Folder) -> None:
    """The device's Unix socket lies in the folder, and a socket's path has at most 107 bytes."""
    longest = _SOCKET_BYTES - len(os.fsencode(folder.market / "nitro.sock"))
    if longest < 0:
        raise LocalnetRefused(
            folder.path, f"has a path that is {-longest} bytes too long", "name a shorter path: --folder"
        )


def stop(folder: Folder) -> bool:
    """End the keeper and everything that it keeps; False where nothing ran.

    Raises:
        LocalnetRefused: it cannot be ended.
    """
    keeper = folder.keeper()
    if keeper is None:
        return False
    os.kill(keeper, signal.SIGTERM)
    if not _ended(folder, END_SECONDS):
        os.kill(keeper, signal.SIGKILL)  # the kernel ends what it keeps with it
        if not _ended(folder, KILL_SECONDS):
            raise LocalnetRefused(folder.path, f"does not end (process {keeper})", f"look at {folder.keeper_log}")
    folder.report(None)
    return True


def _ended(folder: Folder, seconds: float) -> bool:
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while folder.keeper() is not None:
        if time.monotonic() > deadline:
            return False
        pause.wait(POLL_SECONDS)
    return True


def _follow(folder: Folder, process: subprocess.Popen[bytes], said: Callable[[str], None]) -> None:
    shown, pause, deadline = 0, threading.Event(), time.monotonic() + START_SECONDS
    while True:
        ended = process.poll() is not None
        lines = folder.keeper_log.read_text(errors="replace").splitlines()
        steps = [line.removeprefix(STEP) for line in lines if line.startswith(STEP)]
        for step in steps[shown:]:
            if step == READY:
                return
            said(step)
        shown = len(steps)
        if ended or time.monotonic() > deadline:
            tail = "\n".join(lines[-_TAIL:])
            remedy = f"read {folder.logs}; the same command tries again"
            raise LocalnetRefused(folder.path, f"did not start. Its log ends:\n{tail}", remedy)
        pause.wait(POLL_SECONDS)
