"""Read a bundle from its author's folder. An enclave reads the archive instead."""

from __future__ import annotations

import os
from pathlib import Path

from sealmarket_enclave.workload.bundle import MAX_BYTES, Bundle, BundleFile, bundle_of, check_files, require_room
from sealmarket_enclave.workload.tree import open_plain, walk


def read_files(directory: Path) -> dict[str, BundleFile]:
    """Read a bundle's directory into memory.

    Raises:
        ForbiddenEntry, PathCollision: a link, a special file, a path trick, bytecode or a native library.
        BundleTooLarge: more than 4,096 files or 64 MiB.
    """
    files: dict[str, BundleFile] = {}
    total = 0
    for path, mode in walk(directory):
        require_room(len(files) + 1, total)
        with os.fdopen(open_plain(directory / path, path), "rb") as source:
            data = source.read(MAX_BYTES - total + 1)
        total += len(data)
        require_room(len(files) + 1, total)
        files[path] = BundleFile(bool(mode & 0o100), data)
    check_files(files)
    return files


def read_bundle(directory: Path) -> Bundle:
    """Read and check a whole, locked bundle.

    Raises:
        BundleError: naming what is wrong with it.
        MalformedDocument: an ``environment.json`` that is not canonical.
    """
    return bundle_of(read_files(directory))
