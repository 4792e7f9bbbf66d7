"""Preparing a bundle: download its locked wheels, and write ``environment.json``. Never runs inside an
enclave.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from sealmarket.workloads.errors import FetchFailed
from sealmarket.workloads.folders import read_bundle, read_files
from sealmarket.workloads.resolve import find_uv, pins
from sealmarket.workloads.wheels import build
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.workload.bundle import ENVIRONMENT, LOCK, MANIFEST, require_entry_point
from sealmarket_enclave.workload.environment import Environment
from sealmarket_enclave.workload.errors import BundleFileMissing
from sealmarket_enclave.workload.manifest import parse_manifest


def fetch_wheels(bundle_dir: Path, wheel_dir: Path, *, timeout: float = 600) -> None:
    """Download the wheels of a bundle's lock for the running interpreter. Only wheels, only with the locked
    hashes. Nothing of the bundle or of a wheel runs.

    Raises:
        LockRefused: the lock asks for something else than pinned packages; nothing was fetched.
        FetchFailed: no network, no wheel for this interpreter, a hash that differs, or no pip here.
    """
    lock = bundle_dir / LOCK
    if not lock.is_file():
        raise BundleFileMissing(LOCK)
    pinned = list(pins(lock.read_text(encoding="utf-8", errors="replace")))
    wheel_dir.mkdir(parents=True, exist_ok=True)
    if not pinned:
        return
    with tempfile.TemporaryDirectory() as empty:
        # pip obeys options and addresses in such a file, and files in the working folder count: none is the author's.
        spelled = Path(empty, "pins.txt")
        spelled.write_text("".join(f"{pin}\n" for pin in pinned), encoding="utf-8")
        _download(spelled, wheel_dir.resolve(), timeout)


def _download(lock: Path, wheel_dir: Path, timeout: float) -> None:
    command = [*_pip(), "download", "--quiet", "--disable-pip-version-check"]
    command += ["--require-hashes", "--only-binary=:all:", "--no-deps", "-d", str(wheel_dir), "-r", str(lock)]
    try:
        done = subprocess.run(command, cwd=lock.parent, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise FetchFailed(f"nothing within {timeout:.0f} seconds") from None
    if done.returncode:
        raise FetchFailed(done.stderr.strip()[-500:])


def _pip() -> list[str]:
    """This interpreter's pip, or one that uv runs for it."""
    if find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    if uv := find_uv():
        return [uv, "tool", "run", "--python", sys.executable, "pip"]
    raise FetchFailed("neither pip nor uv is here")


def lock_environment(bundle_dir: Path, wheel_dir: Path, *, compiled: bool = False) -> Bytes32:
    """Write ``environment.json`` from downloaded wheels; returns the bundle's digest. ``compiled``: with bytecode.

    Raises:
        WheelNotLocked, WheelRefused: a wheel that the lock does not name, or that is not sound.
        BundleError: something else in the bundle is wrong.
    """
    files = read_files(bundle_dir)
    for needed in (MANIFEST, LOCK):
        if needed not in files:
            raise BundleFileMissing(needed)
    require_entry_point(parse_manifest(files[MANIFEST].data), files)
    environment: Environment = build(files[LOCK].data, wheel_dir.glob("*.whl"), compiled=compiled)
    (bundle_dir / ENVIRONMENT).write_bytes(environment.canonical())
    return read_bundle(bundle_dir).digest
