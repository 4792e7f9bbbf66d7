"""A workload's dependencies: every file of every locked wheel by its hash, and nothing else.

Rules (docs/spec/workload.md, "Environment"):

1. ``environment.json`` lists each wheel (file name, SHA-256) and the SHA-256 of each file that it installs.
   Of a wheel only the library trees count (the root, ``*.data/purelib``, ``*.data/platlib``); ``RECORD``,
   bytecode and ``.pth`` files are not installed.
2. A wheel is used only if ``requirements.lock`` names its hash.
3. An installed environment holds exactly the listed files with the listed hashes.
4. :func:`take` copies while it hashes, into a directory of the verifier's own: what was checked is what is
   imported, whatever happens to the host's copy later. :func:`verify` alone leaves that gap open to whoever
   can write there.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from sealmarket_enclave.protocol.codec import Bytes32, Shape
from sealmarket_enclave.workload.errors import (
    FileAltered,
    ForbiddenEntry,
    InterpreterMismatch,
    ListedFileMissing,
    UnlistedFile,
    WheelNotLocked,
    WheelRefused,
)
from sealmarket_enclave.workload.tree import check_collisions, check_path, open_plain, walk

_BLOCK = 1 << 20
_MAX_MEMBER_BYTES = 1 << 30
_THREADS = max(2, min(8, os.cpu_count() or 1))
_LOCKED_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


class Interpreter(Shape, frozen=True, kw_only=True):
    """The interpreter that the wheels are for."""

    implementation: str
    version: str
    abi: str
    platform: str

    @classmethod
    def current(cls) -> Interpreter:
        """The one that runs this."""
        return cls(
            implementation=platform.python_implementation().lower(),
            version=f"{sys.version_info.major}.{sys.version_info.minor}",
            abi=f"{sys.implementation.cache_tag}{sys.abiflags}",
            platform=sysconfig.get_platform(),
        )

    def require_current(self) -> None:
        """Raise :class:`InterpreterMismatch` unless the running interpreter is this one."""
        if self != (current := Interpreter.current()):
            raise InterpreterMismatch(self, current)

    def __str__(self) -> str:
        return f"{self.implementation} {self.version} ({self.abi}, {self.platform})"


class Wheel(Shape, frozen=True, kw_only=True):
    """One wheel, and what it installs: path to SHA-256."""

    filename: str
    sha256: Bytes32
    files: dict[str, Bytes32]


class Environment(Shape, frozen=True, kw_only=True):
    """The document ``environment.json``. Wheels are sorted by file name."""

    version: Literal["sealmarket/environment/1"] = "sealmarket/environment/1"
    interpreter: Interpreter
    wheels: tuple[Wheel, ...]

    def files(self) -> dict[str, Bytes32]:
        """All files of the environment.

        Raises:
            WheelRefused: two wheels install one path with different content.
            ForbiddenEntry, PathCollision: a path that is not plain.
        """
        files: dict[str, Bytes32] = {}
        for wheel in self.wheels:
            for path, digest in wheel.files.items():
                if files.setdefault(path, digest) != digest:
                    raise WheelRefused(wheel.filename, path, "another wheel installs other bytes there")
        for path in files:
            check_path(path)
        check_collisions(files)
        return files


def build(lock: bytes, wheels: Iterable[Path]) -> Environment:
    """List what locked wheels install, for the running interpreter.

    Raises:
        WheelNotLocked: a wheel whose hash the lock does not name.
        WheelRefused: a wheel with a path that leads out of the environment.
    """
    locked = {bytes.fromhex(digest) for digest in _LOCKED_HASH.findall(lock.decode("utf-8"))}
    listed = []
    for path in sorted(wheels, key=lambda wheel: wheel.name):
        digest = _hash_file(path)
        if digest not in locked:
            raise WheelNotLocked(path.name, digest)
        with zipfile.ZipFile(path) as archive:
            files = {
                target: Bytes32(hashlib.sha256(archive.read(member)).digest())
                for target, member in _members(path.name, archive)
            }
        listed.append(Wheel(filename=path.name, sha256=digest, files=files))
    environment = Environment(interpreter=Interpreter.current(), wheels=tuple(listed))
    environment.files()
    return environment


def install(environment: Environment, wheel_dir: Path, target: Path) -> None:
    """Unpack the listed wheels into a new directory. Nothing of a wheel runs, and nothing is compiled.

    Raises:
        WheelNotLocked: a wheel is missing or is not the listed one.
        FileAltered, UnlistedFile, ListedFileMissing: its content is not what the document lists.
    """
    environment.files()
    target.mkdir(mode=0o700)
    for wheel in environment.wheels:
        path = wheel_dir / wheel.filename
        if "/" in wheel.filename or not path.is_file():
            raise WheelNotLocked(wheel.filename, b"")
        if (digest := _hash_file(path)) != wheel.sha256:
            raise WheelNotLocked(wheel.filename, digest)
        with zipfile.ZipFile(path) as archive:
            _unpack(wheel, archive, target)


def verify(directory: Path, environment: Environment) -> None:
    """Check that a directory holds exactly the environment (rule 3).

    Raises:
        UnlistedFile, ListedFileMissing, FileAltered: naming the file.
    """

    def check(path: str, expected: Bytes32) -> None:
        with os.fdopen(open_plain(directory / path, path), "rb", buffering=0) as source:
            found = hashlib.file_digest(source, "sha256").digest()
        if found != expected:
            raise FileAltered(path, expected, found)

    _for_each_listed(directory, environment, check)


def take(source: Path, environment: Environment, target: Path) -> None:
    """Copy an environment into a new private directory, checking each byte on its way (rule 4).

    Raises:
        UnlistedFile, ListedFileMissing, FileAltered: naming the file; the target is then incomplete and of no
            use.
    """
    target.mkdir(mode=0o700)
    for folder in sorted({str(Path(path).parent) for path in environment.files()}):
        (target / folder).mkdir(mode=0o700, parents=True, exist_ok=True)

    def copy(path: str, expected: Bytes32) -> None:
        hasher = hashlib.sha256()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with (
            os.fdopen(open_plain(source / path, path), "rb", buffering=0) as reader,
            os.fdopen(os.open(target / path, flags, 0o400), "wb", buffering=0) as writer,
        ):
            while block := reader.read(_BLOCK):
                hasher.update(block)
                writer.write(block)
        if hasher.digest() != expected:
            raise FileAltered(path, expected, hasher.digest())

    _for_each_listed(source, environment, copy)


def _for_each_listed(directory: Path, environment: Environment, action: Callable[[str, Bytes32], None]) -> None:
    listed = environment.files()
    try:
        found = {path for path, _ in walk(directory)}
    except ForbiddenEntry as error:
        raise UnlistedFile(error.path, error.got) from error
    if unlisted := found - listed.keys():
        raise UnlistedFile(min(unlisted))
    if missing := listed.keys() - found:
        raise ListedFileMissing(min(missing))
    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(action, listed.keys(), listed.values(), chunksize=64):
            pass


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
        if parts[-1].endswith((".pyc", ".pyo", ".pth")):
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
