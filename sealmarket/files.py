"""Reads files by the names that users give: never more than is expected of any of them, whatever a name stands for.

A name may be a device without end, a sparse file of terabytes, or a stream that another program writes.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

MAXIMUM_FILE = 16 << 20
"""Bytes: more than any document of the market has."""
_PIECE = 1 << 20


def read_file(path: Path, limit: int = MAXIMUM_FILE) -> bytes:
    """All of a file.

    Raises:
        OSError: it cannot be read, or has more than ``limit`` bytes (``EFBIG``).
    """
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it has more than {limit} bytes, the most that is read of such a file", str(path))
    return content


def read_text_file(path: Path, limit: int = MAXIMUM_FILE) -> str:
    """A file's text, which is UTF-8. Raises as :func:`read_file`, and UnicodeDecodeError."""
    return read_file(path, limit).decode()


def pieces(descriptor: int, start: int, stop: int) -> Iterator[bytes]:
    """The bytes of an open file from ``start`` to ``stop``, at most 1 MiB at once; fewer where the file ends before.

    Its position is left where it is. Raises OSError.
    """
    while start < stop and (piece := os.pread(descriptor, min(_PIECE, stop - start), start)):
        start += len(piece)
        yield piece
