"""Installed environments of workloads and steps: made once, kept for later jobs, removed by least recent use.

A job holds those that it needs until its enclave has made its own copy, and what is held is never removed. Nor is what
the host has promised. Anything else can be installed again from the wheels.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

from sealmarket.workloads.wheels import install
from sealmarket_enclave.workload.environment import Environment
from sealmarket_enclave.workload.errors import WorkloadError
from sealmarket_worker.errors import InputMissing

KEPT_ENVIRONMENTS = 32
"""How many are kept by default. One with a library for training takes some gigabytes."""
UNFINISHED = ("environments/.installing-*", "environments/.removing-*")
"""What a killed worker leaves, as patterns below its state folder."""
_Listing = frozenset[tuple[str, int, int]]
_ENVIRONMENT = "the workload's environment"


def name_of(environment: Environment) -> str:
    """The folder of an environment: SHA-256 of its file, in hex."""
    return hashlib.sha256(environment.canonical()).hexdigest()


class Environments:
    """Those in ``folder``, installed from ``wheels``. Several threads may use it; another process only adds to it.

    ``most`` are kept beside those held; None: all. ``promised`` names those that are never removed.
    """

    def __init__(self, folder: Path, wheels: Path, most: int | None = None, promised: Collection[str] = ()) -> None:
        self._folder, self._wheels, self._most, self._promised = folder, wheels, most, frozenset(promised)
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()
        self._lacking: dict[str, tuple[_Listing, str]] = {}
        """Environments that could not be installed: of which wheels, and why. Wheels that did not change stay so."""

    def hold(self, environment: Environment) -> Path:
        """The installed wheels, held until :meth:`release`; the enclave checks every byte of its own copy.

        Raises:
            InputMissing: this host cannot provide it.
        """
        name = name_of(environment)
        target = self._folder / name
        with self._lock:
            if target.exists():
                _used(target)
            else:
                self._install(environment, target)
            self._held[name] += 1
            self._make_room()
        return target

    def release(self, held: Iterable[Path]) -> None:
        """Give up what :meth:`hold` returned, once for each call of it."""
        with self._lock:
            self._held.subtract(path.name for path in held)

    def _install(self, environment: Environment, target: Path) -> None:
        found = _listing(self._wheels)
        if (before := self._lacking.get(target.name)) is not None and before[0] == found:
            raise InputMissing(_ENVIRONMENT, before[1])
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=".installing-", dir=self._folder))
        try:
            environment.interpreter.require_current()
            install(environment, self._wheels, building / target.name)
            os.rename(building / target.name, target)  # noqa: PTH104 - atomic on one file system
            _used(target)
        except WorkloadError as error:
            self._lacking[target.name] = (found, error.message)
            raise InputMissing(_ENVIRONMENT, error.message) from error
        finally:
            shutil.rmtree(building, ignore_errors=True)

    def _make_room(self) -> None:
        """Remove the least recently used ones beyond ``most``, as far as none of them is held or promised."""
        if self._most is None:
            return
        kept = [path for path in self._folder.iterdir() if not path.name.startswith(".")]
        loose = [path for path in kept if not self._held[path.name] and path.name not in self._promised]
        loose.sort(key=lambda path: path.stat().st_mtime_ns)
        for path in loose[: max(0, len(kept) - self._most)]:
            removed = Path(tempfile.mkdtemp(prefix=".removing-", dir=self._folder))
            os.rename(path, removed / path.name)  # noqa: PTH104 - at once, so that none is found half removed
            shutil.rmtree(removed, ignore_errors=True)


def _used(folder: Path) -> None:
    """Note a use by the clock's full resolution: the kernel's own time of a change stands still for milliseconds."""
    now = time.time_ns()
    os.utime(folder, ns=(now, now))


def _listing(folder: Path) -> _Listing:
    """Name, size and time of change of each file in a folder; empty where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return frozenset((entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in entries)
    except OSError:
        return frozenset()
