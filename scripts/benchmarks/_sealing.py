"""One sealing or opening in a fresh process: `python _sealing.py WHAT BYTES THREADS FOLDER`; prints one JSON object.

`WHAT` is `seal_memory`, `open_memory`, `seal_file` or `open_file`. `wall_s` and `cpu_s` are seconds of that work alone,
`peak_mib` the most memory that the whole process held.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.sealed.container import ContainerReader, Memory, Sealed, seal

KEY, ASSET = bytes(range(32)), Bytes32(b"\x11" * 32)
_PIECE = 1 << 20


def main(what: str, size: int, threads: int | None, folder: Path) -> dict[str, float]:
    """Do it once."""
    work = {"seal_memory": seal_memory, "open_memory": open_memory, "seal_file": seal_file, "open_file": open_file}
    once = work[what](size, threads, folder)
    wall, cpu = time.perf_counter(), time.process_time()
    once()
    seconds = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    return seconds | {"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def seal_memory(size: int, threads: int | None, _folder: Path) -> Callable[[], None]:
    """From memory to memory."""
    plain, room = memoryview(bytearray(b"\x01") * size), memoryview(bytearray(b"\x01") * (size + (1 << 20)))
    return lambda: _sealed(Memory(plain), Memory(room), size, threads)  # type: ignore[return-value]


def open_memory(size: int, threads: int | None, _folder: Path) -> Callable[[], None]:
    """From memory to memory, in one pass, which checks the root behind it."""
    plain, room = memoryview(bytearray(b"\x01") * size), memoryview(bytearray(size + (1 << 20)))
    made = _sealed(Memory(plain), Memory(room), size, threads)
    source = Memory(room[: made.container_length])
    reader = ContainerReader(source, made.content_root, threads=threads)
    return lambda: reader.open_into(KEY, Memory(plain))


def seal_file(size: int, threads: int | None, folder: Path) -> Callable[[], None]:
    """From a file that was just written to a new file."""
    plain, target = _plain_file(size, folder), folder / "sealed"

    def once() -> None:
        with plain.open("rb", buffering=0) as source, target.open("xb", buffering=0) as sink:
            _sealed(source, sink, size, threads)

    return once


def open_file(size: int, threads: int | None, folder: Path) -> Callable[[], None]:
    """From a container that was just written to a new file."""
    sealed, target, plain = folder / "sealed", folder / "opened", _plain_file(size, folder)
    with plain.open("rb", buffering=0) as source, sealed.open("xb", buffering=0) as sink:
        made = _sealed(source, sink, size, threads)
        os.fsync(sink.fileno())
    plain.unlink()

    def once() -> None:
        with sealed.open("rb", buffering=0) as source, target.open("xb", buffering=0) as sink:
            ContainerReader(source, made.content_root, threads=threads).open_into(KEY, sink)

    return once


def _sealed(source: object, sink: object, size: int, threads: int | None) -> Sealed:
    return seal(source, sink, KEY, asset_id=ASSET, asset_version=1, length=size, threads=threads)  # type: ignore[arg-type]


def _plain_file(size: int, folder: Path) -> Path:
    path, piece = folder / "plain", os.urandom(_PIECE)
    with path.open("xb", buffering=0) as file:
        for _ in range(size // _PIECE):
            file.write(piece)
        os.fsync(file.fileno())  # or writing it back would fall into what is timed
    return path


if __name__ == "__main__":
    what, size, threads, folder = sys.argv[1:]
    print(json.dumps(main(what, int(size), int(threads) or None, Path(folder))))
