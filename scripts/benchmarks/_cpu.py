"""Processor time of an enclave by the stages of its job, read from outside: `/proc`, ten times a second.

An enclave is the process that a virtual device launches; what it starts itself are sandboxes. The times of a
process that has ended are in those of the one that waited for it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sealmarket_devices.measure import ENTRY_POINT

PERIOD_SECONDS = 0.1
_DEVICES = b"sealmarket_devices"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Stat:
    """One line of `/proc/PID/stat`; times in seconds, of the process and of its children that have ended."""

    parent: int
    own: float
    ended: float

    @classmethod
    def parse(cls, line: str) -> Stat:
        """The name of a program may hold anything; what follows the last parenthesis are numbers."""
        fields = line[line.rindex(")") + 2 :].split()
        user, system, ended_user, ended_system = map(int, fields[11:15])
        return cls(int(fields[1]), (user + system) / _TICKS, (ended_user + ended_system) / _TICKS)


@dataclass(frozen=True, slots=True)
class Sample:
    """Processor seconds of an enclave at a Unix time: of its runtime, and of the runtime with all its sandboxes."""

    at: float
    own: float
    tree: float


def sampled(processes: Mapping[int, Stat], runtime: int, at: float) -> Sample:
    """The times of one runtime and of what is below it."""
    below, tree = {runtime}, 0.0
    grown = True
    while grown:
        more = {pid for pid, stat in processes.items() if stat.parent in below} - below
        below |= more
        grown = bool(more)
    for pid in below:
        tree += processes[pid].own + processes[pid].ended
    return Sample(at, processes[runtime].own, tree)


@dataclass
class Enclaves:
    """The samples of every enclave that was seen, by its process."""

    samples: dict[int, list[Sample]] = field(default_factory=dict)

    def during(self, begin: float, end: float) -> Sample:
        """What an enclave used between two times: the one that was seen at the first. Raises LookupError."""
        for found in self.samples.values():
            if found[0].at <= begin <= found[-1].at:
                first, last = _at(found, begin), _at(found, end)
                return Sample(end, last.own - first.own, last.tree - first.tree)
        raise LookupError("no enclave was seen at that time")


@contextmanager
def watched() -> Iterator[Enclaves]:
    """Watch the enclaves of this process's own devices until the block ends."""
    found, over = Enclaves(), threading.Event()
    watcher = threading.Thread(target=_watch, args=(found, over), daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()


def _watch(found: Enclaves, over: threading.Event) -> None:
    while not over.wait(PERIOD_SECONDS):
        at, processes = time.time(), dict(_processes())
        for pid in processes:
            if _is_enclave(pid, processes):
                found.samples.setdefault(pid, []).append(sampled(processes, pid, at))


def _is_enclave(pid: int, processes: Mapping[int, Stat]) -> bool:
    """Whether a device below this process launched it: other markets run on the same machine."""
    device = processes[pid].parent
    mine = device
    while mine in processes and mine != os.getpid():
        mine = processes[mine].parent
    if mine != os.getpid():
        return False
    return any(_DEVICES in word for word in _command(device)) and any(map(_is_image, _command(pid)))


def _is_image(word: bytes) -> bool:
    return word.endswith(b"/" + ENTRY_POINT.encode())


def _processes() -> Iterator[tuple[int, Stat]]:
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                yield int(path.name), Stat.parse((path / "stat").read_text())
            except (OSError, ValueError):
                continue  # it has ended


def _command(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def _at(samples: list[Sample], at: float) -> Sample:
    """The last sample before a time: processor time only grows, and a tenth of a second is little beside a stage."""
    return [one for one in samples if one.at <= at][-1]
