"""What differs between two workloads, in a bounded time, whatever their authors wrote."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from sealmarket_enclave.workload.bundle import Bundle, BundleFile

MOST_FILES = 64
MOST_LINES = 1_000
MOST_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class FileDifference:
    """One file that differs. ``lines`` as in a unified diff, None where the files are compared by their bytes alone."""

    path: str
    how: str
    lines: tuple[str, ...] | None = None


def differences(earlier: Bundle, later: Bundle) -> Iterator[FileDifference]:
    """Each file that was added, removed or changed, by path; the lines of the first :data:`MOST_FILES` changed ones."""
    compared = 0
    for path in sorted(earlier.files.keys() | later.files.keys()):
        old, new = earlier.files.get(path), later.files.get(path)
        if old is None or new is None:
            yield FileDifference(path, "removed" if new is None else "added")
        elif old != new:
            compared += 1
            yield FileDifference(path, _how(old, new), _lines(old, new) if compared <= MOST_FILES else None)


def _how(old: BundleFile, new: BundleFile) -> str:
    if old.data == new.data:
        return "executable now" if new.executable else "not executable any more"
    return "changed"


def _lines(old: BundleFile, new: BundleFile) -> tuple[str, ...] | None:
    before, after = _text(old.data), _text(new.data)
    if before is None or after is None:
        return None
    return tuple(difflib.unified_diff(before, after, "earlier", "this", lineterm="", n=3))


def _text(data: bytes) -> list[str] | None:
    if len(data) > MOST_BYTES or b"\0" in data:
        return None
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        return None
    return lines if len(lines) <= MOST_LINES else None
