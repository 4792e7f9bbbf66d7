"""The most memory that a child process used, read from the kernel while it runs."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_INTERVAL_SECONDS = 0.02
_FIELDS = {"VmPeak": "address_space", "VmHWM": "resident"}


@dataclass(frozen=True, slots=True)
class Peak:
    """High-water marks in bytes, 0 where the kernel does not show them. A limit counts ``address_space``."""

    address_space: int = 0
    resident: int = 0


class PeakOfChild:
    """Follows the one child that this process starts inside the block. What it used in its last instant is missed."""

    def __init__(self) -> None:
        self.peak = Peak()
        self._before = _children()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> PeakOfChild:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _follow(self) -> None:
        while True:
            for child in _children() - self._before:
                # Before it becomes the workload, the child shows its parent's marks: the later reading counts.
                if (found := _peak(child)) != Peak():
                    self.peak = found
            if self._over.wait(_INTERVAL_SECONDS):
                return


def _children() -> set[int]:
    found: set[int] = set()
    for task in Path(f"/proc/{os.getpid()}/task").iterdir():
        with suppress(OSError):
            found |= {int(number) for number in (task / "children").read_text().split()}
    return found


def _peak(process: int) -> Peak:
    marks: dict[str, int] = {}
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in _FIELDS:
                marks[_FIELDS[name]] = int(value.split()[0]) * 1024
    return Peak(**marks)
