"""A folder of files that can be fetched again: what was used longest ago leaves when they are too many bytes."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path

REST_SECONDS = 120.0
"""A file that was asked for in that time stays: a reader by its path has it open by then."""


class Cache:
    """Which files there are, by their paths. ``clock`` gives seconds. Threads may share it."""

    def __init__(self, files: Iterable[Path], most_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most_bytes, clock
        self._lock = threading.Lock()
        now = clock() - REST_SECONDS
        self._held = OrderedDict((path, (path.stat().st_size, now)) for path in files)
        self._bytes = sum(size for size, _ in self._held.values())

    def use(self, path: Path) -> None:
        """A file was asked for, or came."""
        with self._lock:
            self._drop(path)
            size = path.stat().st_size
            self._held[path] = size, self._clock()
            self._bytes += size
            self._make_room()

    def forget(self, path: Path) -> None:
        """A file is gone."""
        with self._lock:
            self._drop(path)

    def _drop(self, path: Path) -> None:
        size, _ = self._held.pop(path, (0, 0.0))
        self._bytes -= size

    def _make_room(self) -> None:
        while self._bytes > self._most:
            path, (_, used) = next(iter(self._held.items()))
            if used + REST_SECONDS > self._clock():
                return
            self._drop(path)
            path.unlink(missing_ok=True)
