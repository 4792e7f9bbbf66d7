"""Start a measured image as a process that nothing but its device and its host channel can reach."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
from collections.abc import Mapping, Sequence

_PR_SET_PDEATHSIG = 1
_FIRST_FREE_FD = 64
_LIBC = ctypes.CDLL(None, use_errno=True)


def spawn(command: Sequence[str], environment: Mapping[str, str], *, channel: int, quote: int, console: int) -> int:
    """Fork and execute, and return the child's process id.

    The child has its own session, dies with the caller (which must be the thread that lives as long as the
    device), leaves no core, and holds exactly five descriptors: nothing to read, ``console`` twice, the
    host's channel as 3, the quote channel as 4.
    """
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        _isolate(parent)
        _arrange(channel, quote, console)
        os.execve(command[0], list(command), dict(environment))  # noqa: S606 - no shell is wanted
    finally:
        os._exit(127)


def _isolate(parent: int) -> None:
    os.setsid()
    if _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0 or os.getppid() != parent:
        os._exit(126)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)
    os.chdir("/")
    for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())


def _arrange(channel: int, quote: int, console: int) -> None:
    # Everything moves out of the way first, since a source may sit where another must go.
    nothing = os.open(os.devnull, os.O_RDONLY)
    sources = [
        fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE_FD)
        for source in (nothing, console, console, channel, quote)
    ]
    for target, source in enumerate(sources):
        os.dup2(source, target, inheritable=True)
    os.closerange(len(sources), _last_fd() + 1)


def _last_fd() -> int:
    return max(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208
