"""Bytecode of an environment's sources, the same bytes wherever the same release of the interpreter compiles them.

Compiling takes most of the time in which a workload loads. A bundle may list the bytecode: its digest then covers it,
as it covers the native code in wheels. Who installs an environment compiles the sources and compares; who runs it
compares hashes. The bundle's own code, which owners read, is never compiled ahead (docs/spec/workload.md,
"Environment").
"""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from sealmarket.workloads import compiler
from sealmarket.workloads.errors import NotCompiled
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.workload.environment import Compiled
from sealmarket_enclave.workload.errors import FileAltered, InterpreterMismatch, ListedFileMissing

_LEFT_OUT = frozenset({"test", "tests", "testing", "_tests"})
_TIMEOUT = 600


def is_compiled(path: str) -> bool:
    """Whether bytecode of this file is listed: a source outside of tests."""
    parts = PurePosixPath(path).parts
    return path.endswith(".py") and not _LEFT_OUT.intersection(parts[:-1])


def bytecode_of(sources: Mapping[str, bytes]) -> Compiled:
    """What a bundle lists of these sources, by this interpreter; those that do not compile have none."""
    hashes = {path: Bytes32(hashlib.sha256(data).digest()) for path, data in _compile(sources).items()}
    return Compiled(release=platform.python_version(), files=dict(sorted(hashes.items())))


def require_release(compiled: Compiled) -> None:
    """Raise :class:`InterpreterMismatch` unless this release of the interpreter compiled it."""
    if compiled.release != (found := platform.python_version()):
        raise InterpreterMismatch(f"Python {compiled.release}, which compiled its bytecode", f"Python {found}")


def install_bytecode(compiled: Compiled, target: Path) -> None:
    """Compile the installed sources whose bytecode is listed, and write it where it has the listed hash.

    Raises:
        ListedFileMissing, FileAltered: the sources give none, or another.
        NotCompiled: a source ends the compiler.
    """
    sources = {}
    for path in compiled.files:
        source = _source(path)
        sources[source] = (target / source).read_bytes()
    made = _compile(sources)
    for path, expected in compiled.files.items():
        if path not in made:
            raise ListedFileMissing(path)
        if (found := hashlib.sha256(made[path]).digest()) != expected:
            raise FileAltered(path, expected, found)
        (target / path).parent.mkdir(mode=0o700, exist_ok=True)
        (target / path).write_bytes(made[path])


def _compile(sources: Mapping[str, bytes]) -> dict[str, bytes]:
    """Bytecode by the path at which the interpreter looks for it."""
    given = b"".join(_framed(path.encode("utf-8")) + _framed(data) for path, data in sources.items())
    command = [sys.executable, "-P", "-s", "-S", "-B", compiler.__file__]
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, env={"PYTHONHASHSEED": "0"}, timeout=_TIMEOUT, check=True
        )
    except subprocess.SubprocessError as error:
        # A source may exhaust the compiler, which then ends.
        raise NotCompiled(type(error).__name__) from error
    made, at = {}, 0
    for path in sources:
        size = int.from_bytes(done.stdout[at : at + 4], "big")
        if size:
            made[_place(path)] = done.stdout[at + 4 : at + 4 + size]
        at += 4 + size
    return made


def _framed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _place(source: str) -> str:
    path = PurePosixPath(source)
    return str(path.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}.pyc")


def _source(place: str) -> str:
    path = PurePosixPath(place)
    return str(path.parent.parent / f"{path.name.removesuffix(f'.{sys.implementation.cache_tag}.pyc')}.py")
