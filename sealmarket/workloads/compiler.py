"""Compiles sources to bytecode: stdin to stdout, in a process of its own, so that only its input decides.

Run as ``python -P -s -S -B compiler.py`` with nothing but ``PYTHONHASHSEED=0`` in the environment. Each item of the
input is ``u32(length) || path || u32(length) || source``. For each, in order, ``u32(length) || file`` comes out, empty
for a source that does not compile. Standard library only.

A file is that of PEP 552 with an unchecked hash, which the importer takes without a look at the source. The code is
marshalled by version 2 of the format, the last without references: those depend on what else a process holds.
"""

from __future__ import annotations

import importlib.util
import marshal
import sys
import warnings
from typing import BinaryIO

MARSHAL = 2
UNCHECKED = (1).to_bytes(4, "little")


def compiled(path: str, source: bytes) -> bytes:
    """The compiled file of a source, or nothing where it does not compile."""
    try:
        code = compile(source, path, "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return b""
    return (
        importlib.util.MAGIC_NUMBER
        + UNCHECKED
        + bytes(importlib.util.source_hash(source))
        + marshal.dumps(code, MARSHAL)
    )


def main() -> None:
    """Compile what comes."""
    warnings.simplefilter("ignore")
    while (path := _read(sys.stdin.buffer)) is not None:
        source = _read(sys.stdin.buffer) or b""
        file = compiled(path.decode("utf-8"), source)
        sys.stdout.buffer.write(len(file).to_bytes(4, "big") + file)
    sys.stdout.buffer.flush()


def _read(stream: BinaryIO) -> bytes | None:
    size = stream.read(4)
    return stream.read(int.from_bytes(size, "big")) if size else None


if __name__ == "__main__":
    main()
