"""A workload's dependencies: every file of every locked wheel by its hash, and nothing else.

Rules (docs/spec/workload.md, "Environment"):

1. ``environment.json`` lists each wheel (file name, SHA-256) and the SHA-256 of each file that it installs.
   Of a wheel only the library trees count (the root, ``*.data/purelib``, ``*.data/platlib``); ``RECORD``,
   bytecode and ``.pth`` files are not installed.
2. A wheel is used only if ``requirements.lock`` names its hash.
3. An installed environment holds exactly the listed files with the listed hashes.
4. With ``compiled``, it also holds the bytecode of listed sources, each under its listed hash: loading then compiles
   nothing. What a tool compiles from the sources must be these bytes, or it refuses to install them.
5. :func:`take` copies while it hashes, into a directory of the verifier's own: what was checked is what is
   imported, whatever happens to the host's copy later.

:mod:`sealmarket.workloads.wheels` lists and unpacks wheels (rules 1 and 2), outside any enclave.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import sysconfig
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from sealmarket_enclave.protocol.codec import Bytes32, Shape
from sealmarket_enclave.workload.errors import (
    FileAltered,
    ForbiddenEntry,
    InterpreterMismatch,
    ListedFileMissing,
    UnlistedFile,
    WheelRefused,
)
from sealmarket_enclave.workload.tree import check_collisions, check_path, open_plain, walk

NOT_INSTALLED = (".pyc", ".pyo", ".pth")
"""Endings of files that are not installed from a wheel."""
_BLOCK = 1 << 20
_THREADS = max(2, min(8, os.cpu_count() or 1))


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


class Compiled(Shape, frozen=True, kw_only=True):
    """Bytecode of the wheels' sources. ``release`` of the interpreter compiled it; others may compile otherwise."""

    release: Annotated[str, Meta(pattern=r"\A[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\Z")]
    files: dict[str, Bytes32]


class Environment(Shape, frozen=True, kw_only=True):
    """The document ``environment.json``. Wheels are sorted by file name."""

    version: Literal["sealmarket/environment/1"] = "sealmarket/environment/1"
    interpreter: Interpreter
    wheels: tuple[Wheel, ...]
    compiled: Compiled | UnsetType = UNSET

    def files(self) -> dict[str, Bytes32]:
        """All files of the environment.

        Raises:
            WheelRefused: two wheels install one path with different content.
            ForbiddenEntry, PathCollision: a path that is not plain, bytecode of no listed source.
        """
        files: dict[str, Bytes32] = {}
        for wheel in self.wheels:
            for path, digest in wheel.files.items():
                if path.endswith(NOT_INSTALLED):
                    raise ForbiddenEntry(path, "bytecode or a path file in a wheel", "the wheel's sources and data")
                if files.setdefault(path, digest) != digest:
                    raise WheelRefused(wheel.filename, path, "another wheel installs other bytes there")
        if self.compiled is not UNSET:
            files |= self._bytecode(self.compiled, files)
        for path in files:
            check_path(path)
        check_collisions(files)
        return files

    def _bytecode(self, compiled: Compiled, sources: Mapping[str, Bytes32]) -> dict[str, Bytes32]:
        """Its files, each of a listed source, where the interpreter looks for it."""
        ending = f".{self.interpreter.abi.removesuffix(sys.abiflags)}.pyc"
        for path in compiled.files:
            folder, inside, name = f"/{path}".rpartition("/__pycache__/")
            source = f"{folder}/{name.removesuffix(ending)}.py".removeprefix("/")
            if not inside or not name.endswith(ending) or "/" in name or source not in sources:
                raise ForbiddenEntry(path, "bytecode of no listed source", "that of a file in a listed wheel")
        return compiled.files


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
