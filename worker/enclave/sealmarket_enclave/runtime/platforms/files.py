"""Pseudo files of a kernel or a library OS: each read and write is a request, and may be refused or cut short."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from sealmarket_enclave.runtime.platforms.interface import PlatformLost

_PIECE = 1 << 16


class Files(Protocol):
    """What a platform asks of its files. Every call raises ``OSError`` as the kernel answers it."""

    def make(self, folder: Path) -> None:
        """Make a folder that is not there."""

    def remove(self, folder: Path) -> None:
        """Remove a folder; what the kernel put into it goes with it."""

    def read(self, path: Path, most: int) -> bytes:
        """A file to its end. Raises :class:`PlatformLost` for one of more than ``most`` bytes."""

    def write(self, path: Path, data: bytes) -> None:
        """All of it in one call. Raises :class:`PlatformLost` where less was taken."""


class KernelFiles:
    """The real ones. No link is followed."""

    def make(self, folder: Path) -> None:
        """As :meth:`Files.make`."""
        folder.mkdir()

    def remove(self, folder: Path) -> None:
        """As :meth:`Files.remove`."""
        folder.rmdir()

    def read(self, path: Path, most: int) -> bytes:
        """As :meth:`Files.read`: a read may give less than there is, so it goes on until one gives nothing."""
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            found = bytearray()
            while piece := os.read(handle, _PIECE):
                found += piece
                if len(found) > most:
                    raise PlatformLost(f"{path.name} has at most {most} bytes, found more")
        finally:
            os.close(handle)
        return bytes(found)

    def write(self, path: Path, data: bytes) -> None:
        """As :meth:`Files.write`: a second call would be another request, so what was cut short is a failure."""
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            taken = os.write(handle, data)
        finally:
            os.close(handle)
        if taken != len(data):
            raise PlatformLost(f"{path.name} took {taken} of {len(data)} bytes")
