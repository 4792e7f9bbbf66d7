"""What a bundle lists of its dependencies, held against the wheels: for owners, who read the sources and not these.

An enclave takes what ``environment.json`` lists. That the listed files are those of the locked wheels, and the listed
bytecode that of their sources, only someone with the wheels can say. Nothing of a wheel runs.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from msgspec import UNSET

from sealmarket.workloads.cache import WorkloadCache
from sealmarket.workloads.wheels import install
from sealmarket_enclave.workload.bundle import Bundle


def described(bundle: Bundle) -> str:
    """How many wheels, files and files of bytecode a bundle lists, in words; empty where it lists none."""
    environment = bundle.environment
    if not environment.wheels:
        return ""
    files = sum(len(wheel.files) for wheel in environment.wheels)
    bytecode = 0 if environment.compiled is UNSET else len(environment.compiled.files)
    return f"{files} files of {len(environment.wheels)} wheels" + (f", {bytecode} of bytecode" if bytecode else "")


def compare(bundle: Bundle, cache: WorkloadCache, wheels: Path | None = None) -> None:
    """Return if every listed file is of the wheels in ``wheels``, or of those that the lock names, and no other.

    Raises:
        FetchFailed, LockRefused: the wheels cannot be had.
        WheelNotLocked, FileAltered, UnlistedFile, ListedFileMissing: the document lists something else.
        InterpreterMismatch: this is not the release of Python whose bytecode it lists.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "bundle")
        bundle.write(folder)
        bundle.environment.interpreter.require_current()
        install(bundle.environment, wheels or cache.wheels(folder), Path(name, "installed"))
