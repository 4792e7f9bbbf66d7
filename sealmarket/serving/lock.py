"""One process on one state folder, for as long as it lives: the kernel lets go of the lock when it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sealmarket.serving.errors import StateInUse

LOCK_FILE = "lock"
_LONGEST_PID = 20


@contextmanager
def only_process(folder: Path) -> Iterator[None]:
    """Hold a state folder, which is made where it is missing. Raises :class:`StateInUse`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _lock(handle, folder)
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)


def holder_of(folder: Path) -> str | None:
    """The process id of the process that holds a state folder now, as it wrote it; None where none does."""
    try:
        handle = os.open(folder / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(handle, _LONGEST_PID, 0).decode("ascii", "replace") or "(unnamed)"
    finally:
        os.close(handle)
    return None


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(handle, _LONGEST_PID, 0).decode("ascii", "replace")
        raise StateInUse(folder, pid or "(unnamed)") from None
