"""What comes through a pipe, kept until its length is known: a container's header has the length, and comes first.

The pipe is read once. What came waits in a file without a name, encrypted under a key that only this process has, so
that no plaintext reaches a disk. Memory is two pieces.
"""

from __future__ import annotations

import errno
import io
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sealmarket_enclave.sealed.container import Memory, Source

PIECE = 1 << 20
_TAG = 16
Data = Path | bytes | io.RawIOBase | io.BufferedIOBase
"""What can be sealed: a file's name, bytes, or something open, which may be a pipe."""


@contextmanager
def opened(data: Data, folder: Path) -> Iterator[io.RawIOBase | io.BufferedIOBase]:
    """Data as a source whose length is known; what cannot be sought waits in ``folder``. Raises OSError."""
    if isinstance(data, bytes):
        yield Memory(data)
    elif isinstance(data, Path):
        with data.open("rb", buffering=0) as file, opened(file, folder) as found:
            yield found
    elif data.seekable():
        yield data
    else:
        with Spool(data, folder) as spool:
            yield spool


class Spool(io.RawIOBase):
    """The bytes of a source, which can be read from any place. Close it to throw them away."""

    def __init__(self, source: Source, folder: Path) -> None:
        """Read ``source`` to its end. ``folder`` needs room for all of it. Raises OSError."""
        super().__init__()
        self._cipher = AESGCM(secrets.token_bytes(32))
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - it is closed with this one
        self._plain = memoryview(bytearray(PIECE))
        self._at = self._length = 0
        self._held = -1
        try:
            self._take(source)
        except BaseException:
            self.close()
            raise

    def _take(self, source: Source) -> None:
        sealed = memoryview(bytearray(PIECE + _TAG))
        while size := _fill(source, self._plain):
            self._cipher.encrypt_into(_nonce(self._length // PIECE), self._plain[:size], b"", sealed[: size + _TAG])
            rest = sealed[: size + _TAG]
            while rest:
                rest = rest[self._file.write(rest) :]
            self._length += size
            if size < PIECE:
                return  # the end, also where more could be read behind it, as of a terminal: a nonce is used once

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """As of any file."""
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence])
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """As of any file; at most to the end of one piece."""
        index, skipped = divmod(self._at, PIECE)
        held = min(PIECE, self._length - index * PIECE)
        size = min(len(buffer), held - skipped)
        if size <= 0:
            return 0
        if index != self._held:
            self._file.seek(index * (PIECE + _TAG))
            sealed = memoryview(bytearray(held + _TAG))
            _fill(self._file, sealed)  # type: ignore[arg-type]
            self._cipher.decrypt_into(_nonce(index), sealed, b"", self._plain[:held])
            self._held = index
        memoryview(buffer)[:size] = self._plain[skipped : skipped + size]
        self._at += size
        return size

    def close(self) -> None:
        """Throw the bytes away."""
        self._file.close()
        self._plain[:] = bytes(PIECE)
        super().close()


def _fill(source: Source, view: memoryview) -> int:
    """Read until ``view`` is full or the source ends. Raises BlockingIOError for a pipe that does not wait: that it has
    nothing now is not its end."""
    done = 0
    while done < len(view):
        got = source.readinto(view[done:])
        if got is None:
            raise BlockingIOError(errno.EAGAIN, "the pipe is set not to wait for its writer; read it through `cat`")
        if not got:
            break
        done += got
    return done


def _nonce(index: int) -> bytes:
    return index.to_bytes(12, "big")
