"""A control group for one sandbox, where this machine lets the runtime make one: a bound on resident memory and tasks.

Address space is bounded everywhere (``RLIMIT_AS``), for each process. The group also counts what the kernel holds for
the workload, page tables and memory files among it. The runtime makes the group beside or below its own: version 2 with
the memory controller delegated, or version 1. Where it may make none, the layer is absent, and the receipt says so.

Source: Linux ``Documentation/admin-guide/cgroup-v2.rst`` and ``cgroup-v1/memory.rst``.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MOUNT, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_PROCESSES = "cgroup.procs"


@dataclass(frozen=True, slots=True)
class _Version:
    """The files of one version: the bound that must hold, others that are set where they exist, kills for memory."""

    memory: str
    others: tuple[tuple[str, str], ...]
    events: str


_VERSIONS = {
    2: _Version("memory.max", (("memory.swap.max", "0"), ("memory.oom.group", "1")), "memory.events"),
    1: _Version("memory.limit_in_bytes", (("memory.swappiness", "0"),), "memory.oom_control"),
}


class Group:
    """A group with a bound. ``folder`` is removed by :meth:`close`, when no process is in it any more."""

    def __init__(self, folder: Path, version: int) -> None:
        self._folder, self._version = folder, _VERSIONS[version]

    def add(self, process: int) -> None:
        """Move a process into the group. Raises ``OSError``."""
        (self._folder / _PROCESSES).write_text(str(process), encoding="ascii")

    def killed(self) -> bool:
        """Whether the kernel ended a process of the group for want of memory."""
        with contextlib.suppress(OSError):
            lines = (self._folder / self._version.events).read_text(encoding="ascii").splitlines()
            return any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in lines)
        return False

    def close(self) -> None:
        """Remove the group. Best effort: an empty group holds nothing."""
        with contextlib.suppress(OSError):
            self._folder.rmdir()


def make(memory_bytes: int, tasks: int, *, mount: Path = MOUNT, own: Path = OWN) -> Group | None:
    """A new group of at most so many bytes and tasks, or None where this machine lets the runtime make none."""
    for parent, version in _parents(mount, own):
        folder = parent / f"sealmarket-{os.getpid()}-{secrets.token_hex(4)}"
        try:
            folder.mkdir()
        except OSError:
            continue
        files = _VERSIONS[version]
        try:
            _write(folder / files.memory, str(memory_bytes))
        except OSError:
            folder.rmdir()
            continue
        for name, value in (*files.others, ("pids.max", str(tasks))):
            with contextlib.suppress(OSError):
                _write(folder / name, value)
        return Group(folder, version)
    return None


def _parents(mount: Path, own: Path) -> Iterator[tuple[Path, int]]:
    """Where a group may be made, by the groups that the runtime is in: beside its own, then below it."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        name = path.lstrip("/")
        if number == "0" and not controllers:
            here = mount / name
            yield from ((place, 2) for place in (here.parent, here) if name or place == here)
        elif "memory" in controllers.split(","):
            yield mount / "memory" / name, 1


def _write(path: Path, value: str) -> None:
    """Write to a file that the kernel made; one that is absent is not made."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode("ascii"))
    finally:
        os.close(descriptor)
