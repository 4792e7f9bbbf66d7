"""Wheels of a workload's lock: list what they install, and unpack them. Nothing of a wheel runs.

Rules 1 and 2 of :mod:`sealmarket_enclave.workload.environment`. An enclave reads no wheel: it copies the installed
files and compares each with the list.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

from msgspec import UNSET

from sealmarket.workloads.bytecode import bytecode_of, install_bytecode, is_compiled, require_release
from sealmarket.workloads.errors import WheelNotLocked
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.workload.environment import NOT_INSTALLED, Environment, Interpreter, Wheel
from sealmarket_enclave.workload.errors import (
    FileAltered,
    ForbiddenEntry,
    ListedFileMissing,
    UnlistedFile,
    WheelRefused,
)
from sealmarket_enclave.workload.tree import check_path

_MAX_MEMBER_BYTES = 1 << 30
_LOCKED_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def build(lock: bytes, wheels: Iterable[Path], *, compiled: bool = False) -> Environment:
    """List what locked wheels install, for the running interpreter; with ``compiled``, their bytecode too.

    Raises:
        WheelNotLocked: a wheel whose hash the lock does not name.
        WheelRefused: a wheel with a path that leads out of the environment.
    """
    locked = {bytes.fromhex(digest) for digest in _LOCKED_HASH.findall(lock.decode("utf-8"))}
    listed = []
    sources: dict[str, bytes] = {}
    for path in sorted(wheels, key=lambda wheel: wheel.name):
        digest = _hash_file(path)
        if digest not in locked:
            raise WheelNotLocked(path.name, digest)
        with zipfile.ZipFile(path) as archive:
            files = {}
            for target, member in _members(path.name, archive):
                data = archive.read(member)
                files[target] = Bytes32(hashlib.sha256(data).digest())
                if compiled and is_compiled(target):
                    sources[target] = data
        listed.append(Wheel(filename=path.name, sha256=digest, files=files))
    environment = Environment(
        interpreter=Interpreter.current(), wheels=tuple(listed), compiled=bytecode_of(sources) if compiled else UNSET
    )
    environment.files()
    return environment


def install(environment: Environment, wheel_dir: Path, target: Path) -> None:
    """Unpack the listed wheels into a new directory. Nothing of a wheel runs.

    Raises:
        WheelNotLocked: a wheel is missing or is not the listed one.
        FileAltered, UnlistedFile, ListedFileMissing: its content is not what the document lists.
        InterpreterMismatch: another release compiled the bytecode.
    """
    environment.files()
    if environment.compiled is not UNSET:
        require_release(environment.compiled)
    target.mkdir(mode=0o700)
    for wheel in environment.wheels:
        path = wheel_dir / wheel.filename
        if "/" in wheel.filename or not path.is_file():
            raise WheelNotLocked(wheel.filename, b"")
        if (digest := _hash_file(path)) != wheel.sha256:
            raise WheelNotLocked(wheel.filename, digest)
        with zipfile.ZipFile(path) as archive:
            _unpack(wheel, archive, target)
    if environment.compiled is not UNSET:
        install_bytecode(environment.compiled, target)


def _members(filename: str, archive: zipfile.ZipFile) -> list[tuple[str, zipfile.ZipInfo]]:
    """Where each library file of a wheel goes (rule 1)."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        if member.is_dir():
            continue
        parts = member.filename.split("/")
        if parts[0].endswith(".data"):
            if len(parts) < 3 or parts[1] not in ("purelib", "platlib"):
                continue
            parts = parts[2:]
        if parts[0].endswith(".dist-info") and parts[1:] == ["RECORD"]:
            continue
        if parts[-1].endswith(NOT_INSTALLED):
            continue
        target = "/".join(parts)
        try:
            check_path(target)
        except ForbiddenEntry as error:
            raise WheelRefused(filename, member.filename, error.got) from error
        if member.external_attr >> 28 == 0xA:
            raise WheelRefused(filename, member.filename, "a link")
        if target in members:
            raise WheelRefused(filename, member.filename, "a second file of that name")
        if member.file_size > _MAX_MEMBER_BYTES:
            raise WheelRefused(filename, member.filename, f"{member.file_size} bytes long")
        members[target] = member
    return list(members.items())


def _unpack(wheel: Wheel, archive: zipfile.ZipFile, target: Path) -> None:
    members = dict(_members(wheel.filename, archive))
    if unlisted := members.keys() - wheel.files.keys():
        raise UnlistedFile(min(unlisted), f"in {wheel.filename}")
    for path, expected in wheel.files.items():
        if path not in members:
            raise ListedFileMissing(path)
        data = archive.read(members[path])
        if (found := hashlib.sha256(data).digest()) != expected:
            raise FileAltered(path, expected, found)
        place = target / path
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.write_bytes(data)


def _hash_file(path: Path) -> Bytes32:
    with path.open("rb", buffering=0) as source:
        return Bytes32(hashlib.file_digest(source, "sha256").digest())
