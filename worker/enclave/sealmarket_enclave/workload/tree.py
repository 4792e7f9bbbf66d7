"""Reading a directory of untrusted origin: plain files under plain names, or nothing.

Rules (docs/spec/workload.md, "Tree"):

1. Only directories and regular files; links, devices, sockets and pipes are refused, and no link is followed.
2. Paths are relative, ``/``-separated, in NFC, without control characters, ``\\``, ``.`` or ``..``.
3. No two paths that a case-folding or normalising file system would take for one.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from sealmarket_enclave.workload.errors import ForbiddenEntry, PathCollision

MAX_PATH_BYTES, MAX_PATH_NAMES = 1024, 32
_KINDS = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)


def kind_of(mode: int) -> str:
    """What a mode is, in words."""
    return next((word for test, word in _KINDS if test(mode)), "no regular file")


def check_path(path: str) -> None:
    """Raise :class:`ForbiddenEntry` unless ``path`` is plain (rule 2)."""
    try:
        encoded = path.encode("utf-8")
    except UnicodeEncodeError:
        raise ForbiddenEntry(ascii(path), "no UTF-8", "a name in UTF-8") from None
    if not path or len(encoded) > MAX_PATH_BYTES:
        raise ForbiddenEntry(path[:80], f"{len(encoded)} bytes long", f"1 to {MAX_PATH_BYTES} bytes")
    if unicodedata.normalize("NFC", path) != path:
        raise ForbiddenEntry(path, "not in NFC", "a name in Unicode normal form C")
    if "\\" in path or any(unicodedata.category(char) in ("Cc", "Cf") for char in path):
        raise ForbiddenEntry(path, "a name with control characters or a backslash", "a plain name")
    if path.count("/") >= MAX_PATH_NAMES:
        raise ForbiddenEntry(path[:80], "a path of more names", f"a path of at most {MAX_PATH_NAMES} names")
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise ForbiddenEntry(path, "a path that is not plain", "a relative path without . or ..")


def check_collisions(paths: Iterable[str]) -> None:
    """Raise :class:`PathCollision` for two paths that some file system takes for one (rule 3), folders included."""
    places: dict[tuple[int, str], tuple[int, str]] = {}
    """By the folder's number and the folded name: a number, and the name. Linear, however deep they are."""
    files: set[int] = set()
    for path in sorted(set(paths)):
        place, parts = 0, path.split("/")
        for depth, part in enumerate(parts):
            if place in files:
                raise PathCollision("/".join(parts[:depth]), path)
            folded = (place, unicodedata.normalize("NFC", part.casefold()))
            place, name = places.setdefault(folded, (len(places) + 1, part))
            if name != part:
                raise PathCollision("/".join([*parts[:depth], name]), "/".join(parts[: depth + 1]))
        files.add(place)


def walk(root: Path) -> Iterator[tuple[str, int]]:
    """Each regular file under ``root``: its path and mode, checked by rules 1 and 2. Order is the file system's."""
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(root / folder) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                check_path(path)
                mode = entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode):
                    pending.append(path)
                elif stat.S_ISREG(mode):
                    yield path, mode
                else:
                    raise ForbiddenEntry(path, kind_of(mode), "a regular file or a directory")


def open_plain(path: Path, shown: str) -> int:
    """Open a regular file for reading without following a link at its end; returns the descriptor."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ForbiddenEntry(shown, f"not readable ({os.strerror(error.errno or 0)})", "a regular file") from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise ForbiddenEntry(shown, kind_of(mode), "a regular file")
    return descriptor
