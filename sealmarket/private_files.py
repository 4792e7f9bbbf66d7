"""Files that hold secrets: read only where no other user can read them, and made so."""

from __future__ import annotations

import os
import secrets
import stat
import unicodedata
from pathlib import Path

from sealmarket_enclave.protocol.errors import SealmarketError

MODE = 0o600
_ANY_OTHER = 0o077
MAXIMUM_BYTES = 1 << 16


class NotPrivate(SealmarketError):
    """A file that is no regular file, or that others may read."""

    def __init__(self, path: Path, found: str, remedy: str) -> None:
        super().__init__(f"{path} is {found}, expected a regular file of mode {MODE:04o}", remedy=remedy)
        self.found = found


class PassphraseRefused(SealmarketError):
    """A file that holds no passphrase."""

    def __init__(self, path: Path, found: str) -> None:
        super().__init__(
            f"{path} holds no passphrase: {found}", remedy="write the passphrase into its first line, in UTF-8"
        )


def read_private(path: Path) -> bytes:
    """At most :data:`MAXIMUM_BYTES` of a file. A link is followed, since mounted secrets are links: the file counts.

    Raises:
        NotPrivate: a device, a pipe, or a file that others may read.
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotPrivate(path, "no regular file", "name the file that holds the secret")
        if (mode := stat.S_IMODE(status.st_mode)) & _others(path):
            remedy = f"run `chmod 600 {path}`, or mount it with mode 0400; consider who may have read it"
            raise NotPrivate(path, f"of mode {mode:04o}", remedy)
        return file.read(MAXIMUM_BYTES)


def _others(path: Path) -> int:
    """The permissions that make a file no secret.

    A credential of systemd is shown to its service by an access list, whose mask looks like a right of the group.
    """
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return _ANY_OTHER & ~stat.S_IRGRP if folder and path.absolute().parent == Path(folder) else _ANY_OTHER


def write_private(path: Path, raw: bytes) -> None:
    """A new file, on disk when this returns, so that it survives a crash right after. Where the disk does not take all
    of it there is none.

    Raises:
        FileExistsError: it is never overwritten.
        OSError: the disk is full.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, MODE)
            file.write(raw)
            file.flush()
            os.fsync(descriptor)
        _keep_name(path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _keep_name(path: Path) -> None:
    """Have the folder's entry for a file on disk."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def replace_private(path: Path, raw: bytes) -> None:
    """A file in place of an earlier one, at once: a reader sees the old one or the new one, whole."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    write_private(fresh, raw)
    try:
        fresh.replace(path)
    except BaseException:
        fresh.unlink()
        raise
    _keep_name(path)


def remove(path: Path) -> None:
    """Remove a file, for good when this returns; nothing where there is none."""
    path.unlink(missing_ok=True)
    _keep_name(path)


def read_passphrase_file(path: Path) -> str:
    """The first line of a file, which ends at a line feed and at nothing else, in Unicode's form NFC.

    Raises:
        PassphraseRefused: no line, or no UTF-8.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        line = file.read(MAXIMUM_BYTES).partition(b"\n")[0].removesuffix(b"\r")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PassphraseRefused(path, f"byte {error.start} is no UTF-8") from error
    if not text:
        raise PassphraseRefused(path, "its first line is empty")
    return normalised(text)


def normalised(passphrase: str) -> str:
    """The one form of a passphrase, however a keyboard composes its characters."""
    return unicodedata.normalize("NFC", passphrase)


def passphrase_forms(passphrase: str) -> tuple[str, ...]:
    """The forms in which a passphrase may open a file: this software's, and as it was typed, for other software's."""
    return tuple(dict.fromkeys((normalised(passphrase), passphrase)))
