"""A zip or tar archive -> its members, one after the other, bounded before they are read.

1. Members are regular files under plain relative names: no link, no device, no absolute path, no ``..``, backslash or
   control character, in NFC, and no two names that case folding makes one. Folders are no members.
2. Zip: stored or deflated, not encrypted. Tar: plain or gzip.
3. A member yields at most ``largest`` bytes, whatever its header says; all together at most ``MOST_BYTES``.
"""

from __future__ import annotations

import io
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

from unfit import Unfit

ZIP, GZIP = b"PK", b"\x1f\x8b"
MOST_MEMBERS = 1_000_000
MOST_BYTES = 1 << 40
_LONGEST_NAME = 1024
_BLOCK = 1 << 20
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, OSError, EOFError, ValueError, NotImplementedError)


class _Reading(io.RawIOBase):
    """A buffer as a file, without a copy of it."""

    def __init__(self, raw: memoryview) -> None:
        self._raw, self._at = raw, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._at = max(0, offset + (0, self._at, len(self._raw))[whence])
        return self._at

    def readinto(self, target: memoryview, /) -> int:  # type: ignore[override]
        part = self._raw[self._at : self._at + len(target)]
        target[: len(part)] = part
        self._at += len(part)
        return len(part)


def members(raw: memoryview, largest: int) -> Iterator[tuple[str, bytes]]:
    """Each member's name and bytes, in the archive's order.

    Raises:
        Unfit: ``not_readable`` for an archive or a name that is refused, ``member_size`` for one that is too large.
    """
    names: set[str] = set()
    total = 0
    try:
        for name, file in _zipped(raw) if bytes(raw[:2]) == ZIP else _tarred(raw):
            _require_plain(name, names)
            data = _bounded(file, largest)
            total += len(data)
            if len(names) > MOST_MEMBERS or total > MOST_BYTES:
                raise Unfit("not_readable", f"the archive has more than {MOST_MEMBERS} members or {MOST_BYTES} bytes")
            yield name, data
    except _DAMAGED as error:
        raise Unfit("not_readable", f"the archive does not read: {type(error).__name__}") from None


def _zipped(raw: memoryview) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(io.BufferedReader(_Reading(raw))) as archive:
        for entry in archive.infolist():
            if entry.is_dir():
                continue
            if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise Unfit("not_readable", "a member is encrypted, or packed otherwise than by deflate")
            if (mode := entry.external_attr >> 16) and mode & 0o170000 not in (0, 0o100000):
                raise Unfit("not_readable", "a member is a link or a device")
            # The name as it was written: the library mends names, and what is mended is refused here.
            with archive.open(entry) as file:
                yield entry.orig_filename, file


def _tarred(raw: memoryview) -> Iterator[tuple[str, IO[bytes]]]:
    file = io.BufferedReader(_Reading(raw))
    packed = bytes(raw[:2]) == GZIP
    with tarfile.open(fileobj=file, mode="r:gz") if packed else tarfile.open(fileobj=file, mode="r:") as archive:
        for entry in archive:
            archive.members = []  # it would keep every header
            if entry.isdir():
                continue
            content = archive.extractfile(entry) if entry.isreg() else None
            if content is None:
                raise Unfit("not_readable", "a member is a link or a device")
            with content:
                yield entry.name, content


def _bounded(file: IO[bytes], largest: int) -> bytes:
    blocks, size = [], 0
    while block := file.read(min(_BLOCK, largest - size + 1)):
        blocks.append(block)
        size += len(block)
        if size > largest:
            raise Unfit("member_size", f"a member has more than {largest} bytes")
    return b"".join(blocks)


def _require_plain(name: str, names: set[str]) -> None:
    plain = (
        name
        and len(name) <= _LONGEST_NAME
        and unicodedata.normalize("NFC", name) == name
        and "\\" not in name
        and not any(unicodedata.category(sign) in ("Cc", "Cf", "Cs") for sign in name)
        and not any(part in ("", ".", "..") for part in name.split("/"))
    )
    if not plain:
        raise Unfit("not_readable", "a member's name is no plain relative path")
    folded = unicodedata.normalize("NFC", name.casefold())
    if folded in names:
        raise Unfit("not_readable", "two members have one name, as some file systems see names")
    names.add(folded)
