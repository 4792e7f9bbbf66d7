"""A container goes to a store in parts, however often the connection tears off.

The store keeps what came under a token that this side draws, and says how much there is (docs/spec/container.md,
"Uploads that go on"). The token is kept beside the container until the store has all of it, so that another call goes
on where one that ended stopped. A store of an earlier release knows no such uploads, and one where others have paused
too many keeps no further one: it gets the whole at once.
"""

from __future__ import annotations

import io
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sealmarket.files import pieces, read_file
from sealmarket.service.connection import Connection
from sealmarket.service.errors import ItemNotFound, ServiceRefused, ServiceUnavailable
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.errors import MalformedDocument

IN_PARTS_FROM = 8 << 20
"""Bytes: what is smaller goes at once."""
MOST_TRIES = 8
"""In a row without progress: longer than a store takes to notice that a connection is gone."""
BYTES_A_TRY = 128 << 20
"""A store that has all of it may take one more try for each so many bytes, to hold them against the root."""
LEAST_PROGRESS = 1 << 20
FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0
_ANSWER = 64 << 10
"""Bytes that are read of an answer, which is a refusal or nothing."""

Wait = Callable[[float], None]


def upload(http: Connection, root: Bytes32, container: Path, *, wait: Wait = time.sleep) -> None:
    """Put a container into a store under its content root.

    Args:
        wait: how seconds pass between two tries.

    Raises:
        ServiceUnavailable: it answers too seldom; what it has stays for the next call.
        ServiceRefused: it does not take it.
        OSError: the file cannot be read.
    """
    with container.open("rb", buffering=0) as file:
        size = file.seek(0, io.SEEK_END)
        if size < IN_PARTS_FROM or not _Upload(http, root, file, size, _remembered(container, root), wait).run():
            file.seek(0)
            http.send("PUT", f"/v1/containers/{root}", pieces(file.fileno(), 0, size), what="container")
    _token_file(container, root).unlink(missing_ok=True)


class _Upload:
    """One container on its way."""

    def __init__(self, http: Connection, root: Bytes32, file: io.FileIO, size: int, token: Bytes32, wait: Wait) -> None:
        self._http, self._root, self._file, self._size, self._wait = http, root, file, size, wait
        self._path, self._names = f"/v1/containers/{root}/upload", {"upload-token": str(token)}
        self._there = self._tries = 0
        self._whole = False

    def run(self) -> bool:
        """Send what is missing until the store has it; false where it keeps no uploads in parts."""
        while True:
            try:
                offset = self._offset()
                if offset is None and self._whole and self._http.has(f"/v1/containers/{self._root}", what="container"):
                    return True  # it had been finished, and the answer was lost
                if (offset or 0) < self._size and not self._add(offset or 0):
                    return False
                self._whole = True
                return self._finish()
            except ServiceUnavailable as error:
                self._pause(error)

    def _offset(self) -> int | None:
        """What the store has; None for no such upload."""
        try:
            with self._http.ask("HEAD", self._path, what="upload", limit=0, headers=self._names) as answer:
                text = answer.headers.get("upload-offset", "")
        except ItemNotFound:
            return None
        if not (text.isascii() and text.isdigit()) or len(text) > 18 or int(text) > self._size:
            detail = f"it says that it has {text[:40]!r} bytes of {self._size}"
            raise ServiceRefused(self._http.service, "upload", detail, "use another store")
        if int(text) - self._there >= LEAST_PROGRESS:
            self._tries = 0
        self._there = int(text)
        return self._there

    def _add(self, offset: int) -> bool:
        headers = self._names | {"upload-offset": str(offset), "content-length": str(self._size - offset)}
        rest = pieces(self._file.fileno(), offset, self._size)
        try:
            with self._http.ask("PATCH", self._path, what="upload", limit=_ANSWER, content=rest, headers=headers):
                return True
        except ItemNotFound:
            return False

    def _finish(self) -> bool:
        """False where the store kept nothing of it: it has no room for another paused upload."""
        try:
            with self._http.ask("PUT", self._path, what="upload", limit=_ANSWER, content=b"", headers=self._names):
                return True
        except ItemNotFound:
            return False

    def _pause(self, problem: ServiceUnavailable) -> None:
        self._tries += 1
        if self._tries >= MOST_TRIES + (self._size // BYTES_A_TRY if self._whole else 0):
            raise problem
        self._wait(min(FIRST_WAIT * 2 ** min(self._tries - 1, 8), LONGEST_WAIT))


def _remembered(container: Path, root: Bytes32) -> Bytes32:
    """The token of an upload that an earlier call began, or a new one, kept where the folder can be written."""
    path = _token_file(container, root)
    with suppress(OSError, MalformedDocument, UnicodeDecodeError):
        return Bytes32.parse(read_file(path, 80).decode().strip())
    token = Bytes32(secrets.token_bytes(Bytes32.length))
    with suppress(OSError):
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(str(token))
    return token


def _token_file(container: Path, root: Bytes32) -> Path:
    return container.with_name(f".{container.name[:64]}.{root.hex()[:32]}.upload")
