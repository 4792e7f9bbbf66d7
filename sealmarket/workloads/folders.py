"""Read a bundle from its author's folder. An enclave reads the archive instead.

What differs between machines that hold one and the same tree is made alike here (docs/spec/workload.md, "Reading a
folder"): text has line ends of one byte, and no file is executable, since a sandbox starts no program.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from sealmarket.workloads.errors import NotLocked
from sealmarket_enclave.workload.bundle import (
    CODE,
    ENVIRONMENT,
    MANIFEST,
    MAX_BYTES,
    Bundle,
    BundleFile,
    bundle_of,
    check_files,
    require_room,
)
from sealmarket_enclave.workload.tree import open_plain, walk

_TEXT = (".py", ".toml", ".lock", ".in", ".txt", ".md", ".json", ".cfg", ".ini")


def read_files(directory: Path) -> dict[str, BundleFile]:
    """Read a bundle's directory into memory.

    Raises:
        ForbiddenEntry, PathCollision: a link, a special file, a path trick, bytecode or a native library.
        BundleTooLarge: more than 4,096 files or 64 MiB.
    """
    files: dict[str, BundleFile] = {}
    total = 0
    for path, _ in walk(directory):
        require_room(len(files) + 1, total)
        with os.fdopen(open_plain(directory / path, path), "rb") as source:
            data = source.read(MAX_BYTES - total + 1)
        total += len(data)
        require_room(len(files) + 1, total)
        files[path] = BundleFile(executable=False, data=_alike(path, data))
    check_files(files)
    return files


def read_bundle(directory: Path) -> Bundle:
    """Read and check a whole, locked bundle.

    Raises:
        NotLocked: it has no ``environment.json`` yet.
        BundleError: naming what is wrong with it.
        MalformedDocument: an ``environment.json`` that is not canonical.
    """
    files = read_files(directory)
    if MANIFEST in files and ENVIRONMENT not in files:
        raise NotLocked(directory)
    return bundle_of(files)


def code_sha256(files: Mapping[str, BundleFile]) -> str:
    """What code can say of itself: SHA-256 over the sorted lines ``path``, two blanks, hex SHA-256 of its own files."""
    lines = [
        f"{path.removeprefix(f'{CODE}/')}  {hashlib.sha256(file.data).hexdigest()}\n"
        for path, file in files.items()
        if path.startswith(f"{CODE}/")
    ]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def _alike(path: str, data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n") if path.endswith(_TEXT) else data
