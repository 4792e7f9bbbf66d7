"""A child process that ends when the process that started it ends, whatever ended that one.

A process group lets a parent stop its children, but a parent that is killed with SIGKILL stops none of them. So the
child holds a line to its parent. There are two ways to attach it:

- a Python program calls `bind_to_parent(parent)` first thing in its `main`;
- any other program is started as `attached([program, argument, …])`: the command line of a small shim that
  attaches the line and then becomes the program, so that the process id is the program's own.

On Linux the kernel keeps the line (`PR_SET_PDEATHSIG`). Three things about it are easy to miss:

1. It is sent when the *thread* that created the child ends. Start children from a thread that lives as long
   as the process (`sealmarket_localnet.processes` keeps one for that).
2. It is not inherited. A child that starts children of its own attaches each of them again.
3. A parent that died before the line was attached sends nothing: hence the look at `getppid()` afterwards.

Elsewhere the shim stays beside the program, watches the parent, and kills the program when it is gone.

A program starts with SIGINT and SIGTERM in their default state, so that these end it: what is started in the
background (``nohup``, ``&`` in a script) ignores SIGINT, and a child inherits that.

Standard library only: the shim runs as `python -I -S lifeline.py`, without any installed package.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1
WATCH_SECONDS = 0.2
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT)
EXIT_PARENT_GONE = 113
"""The shim's exit status when its parent was gone before the program could start."""


class ParentGone(RuntimeError):
    """The process that started this one has ended before the lifeline was attached."""

    def __init__(self, expected: int, got: int) -> None:
        self.expected, self.got, self.remedy = expected, got, "Start this from a living process."
        super().__init__(f"The parent process {expected} has ended: the parent is now {got}. {self.remedy}")


def attached(command: Sequence[str], *, parent: int | None = None) -> list[str]:
    """The command line that runs `command` and ends with process `parent` (default: the calling process).

    The process that starts it must be `parent` itself, from a thread that lives as long as the process.
    """
    expected = os.getpid() if parent is None else parent
    return [sys.executable, "-I", "-S", os.path.abspath(__file__), str(expected), *command]  # noqa: PTH100


def bind_to_parent(parent: int) -> None:
    """End the calling process (SIGKILL) as soon as process `parent`, which started it, ends.

    Raises ParentGone when `parent` is not, or no longer, the parent.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"prctl(PR_SET_PDEATHSIG): {os.strerror(number)}")
    else:
        threading.Thread(target=_die_with, args=(parent,), name="lifeline", daemon=True).start()
    if os.getppid() != parent:
        raise ParentGone(parent, os.getppid())


def _die_with(parent: int) -> None:
    gone = threading.Event()
    while os.getppid() == parent:
        gone.wait(WATCH_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def _become(parent: int, command: Sequence[str]) -> None:
    """Attach the line and turn into the program: the kernel keeps the line across `exec`."""
    bind_to_parent(parent)
    _heed_signals()
    os.execvp(command[0], list(command))  # noqa: S606 - a list, never a shell


def _heed_signals() -> None:
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING_SIGNALS)


def _stay_beside(parent: int, command: Sequence[str]) -> int:
    """Run the program as a child, kill it when `parent` ends; its exit status as a shell gives it."""
    _heed_signals()
    child = subprocess.Popen(list(command))
    for number in ENDING_SIGNALS:
        signal.signal(number, lambda received, _frame: child.send_signal(received))
    while os.getppid() == parent:
        try:
            status = child.wait(WATCH_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return status if status >= 0 else 128 - status
    child.kill()
    child.wait()
    return EXIT_PARENT_GONE


def _main(arguments: Sequence[str]) -> int:
    parent, command = int(arguments[0]), arguments[1:]
    try:
        if sys.platform != "linux":
            return _stay_beside(parent, command)
        _become(parent, command)
    except ParentGone:
        return EXIT_PARENT_GONE
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
