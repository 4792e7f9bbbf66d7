"""Wheels and installed environments of this user, each in a folder that its content names."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sealmarket.workloads.fetch import fetch_wheels
from sealmarket.workloads.wheels import install
from sealmarket_enclave.protocol.hashing import sha256
from sealmarket_enclave.workload.bundle import ENVIRONMENT, LOCK, Bundle
from sealmarket_enclave.workload.errors import FileAltered, ListedFileMissing, UnlistedFile

_NAMED_BY = 16
Found = TypeVar("Found")


class WorkloadCache:
    """Under ``root``: ``wheels/LOCK-INTERPRETER`` and ``environments/ENVIRONMENT``.

    Nothing of it is trusted: each run compares every byte of an environment with its hash.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @classmethod
    def of_user(cls) -> WorkloadCache:
        """The one below ``$SEALMARKET_HOME``, else below ``~/.local/share/sealmarket``."""
        home = os.environ.get("SEALMARKET_HOME")
        return cls((Path(home) if home else Path.home() / ".local" / "share" / "sealmarket") / "workloads")

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self._root

    def wheels(self, bundle_dir: Path) -> Path:
        """The wheels of a bundle's lock, downloaded once. Raises :class:`FetchFailed`."""
        place = self._wheels(sha256((bundle_dir / LOCK).read_bytes()))
        if not place.is_dir():
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=place.parent) as name:
                fetch_wheels(bundle_dir, Path(name, "wheels"))
                Path(name, "wheels").rename(place)
        return place

    def environment(self, bundle: Bundle, bundle_dir: Path, wheels: Path | None = None) -> Path:
        """The installed dependencies of a bundle, from ``wheels`` where a folder holds them already.

        Raises:
            FetchFailed, WheelNotLocked, EnvironmentRefused: they cannot be had, or are not the locked ones.
        """
        named = sha256(bundle.files[ENVIRONMENT].data).hex()[:_NAMED_BY]
        place = self._root / "environments" / named
        if not place.is_dir():
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=place.parent) as name:
                install(bundle.environment, wheels or self.wheels(bundle_dir), Path(name, "installed"))
                Path(name, "installed").rename(place)
        return place

    def using(
        self, bundle: Bundle, bundle_dir: Path, run: Callable[[Path], Found], wheels: Path | None = None
    ) -> Found:
        """What ``run`` finds in the installed dependencies; a copy that was altered is installed anew, once.

        Raises: as :meth:`environment`, and whatever ``run`` raises.
        """
        environment = self.environment(bundle, bundle_dir, wheels)
        try:
            return run(environment)
        except (FileAltered, ListedFileMissing, UnlistedFile):
            shutil.rmtree(environment, ignore_errors=True)
            return run(self.environment(bundle, bundle_dir, wheels))

    def _wheels(self, lock: bytes) -> Path:
        return self._root / "wheels" / f"{lock.hex()[:_NAMED_BY]}-{sys.implementation.cache_tag}"
