"""The pseudo files of a confidential guest and of Gramine, with the kernel's own rules and with its faults.

The rules of the reports are those of `drivers/virt/coco/guest/report.c`: a folder for each request; each write of an
option moves `generation`; `outblob` is made for what was last written, and made anew only after a write.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sealmarket_enclave.runtime.platforms.files import KernelFiles
from sealmarket_enclave.runtime.platforms.interface import PlatformLost


def refused(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@dataclass
class _Request:
    generation: int = 0
    inblob: bytes = b""


@dataclass
class TsmKernel:
    """The kernel of a guest. ``busy`` answers of EBUSY come first for a write, ``in_flight`` of them for a report.

    ``others`` times another process writes between our write and our read. ``report`` makes evidence.
    """

    provider: str = "tdx_guest"
    report: Callable[[bytes], bytes] = lambda data: b"REPORT(" + data + b")"
    busy: int = 0
    in_flight: int = 0
    others: int = 0
    absent: bool = False
    keeps_folders: bool = False
    takes: int = 64
    registers: dict[str, bytes] = field(default_factory=lambda: {f"rtmr{n}:sha384": bytes(48) for n in range(4)})
    deaf: bool = False
    """Whether a register that is extended stays as it is."""
    folders: dict[str, _Request] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)
    writes: list[bytes] = field(default_factory=list)

    def make(self, folder: Path) -> None:
        if self.absent:
            raise refused(errno.ENOENT)
        if folder.name in self.folders:
            raise refused(errno.EEXIST)
        self.folders[folder.name] = _Request()
        self.made.append(folder.name)

    def remove(self, folder: Path) -> None:
        if self.keeps_folders:
            raise refused(errno.EBUSY)
        del self.folders[folder.name]

    def read(self, path: Path, most: int) -> bytes:
        if path.name in self.registers:
            return self.registers[path.name]
        if path.parent.name not in self.folders:
            raise refused(errno.ENOENT)
        found = self._attribute(self.folders[path.parent.name], path.name)
        if len(found) > most:
            raise PlatformLost(f"{path.name} has at most {most} bytes, found more")
        return found

    def write(self, path: Path, data: bytes) -> None:
        if self.busy:
            self.busy -= 1
            raise refused(errno.EBUSY)
        if len(data) > self.takes:
            raise PlatformLost(f"{path.name} took {self.takes} of {len(data)} bytes")
        if path.name in self.registers:
            if not self.deaf:
                self.registers[path.name] = hashlib.sha384(self.registers[path.name] + data).digest()
            return
        assert path.name == "inblob", "nothing else of a request is written"
        request = self.folders[path.parent.name]
        request.inblob, request.generation = data, request.generation + 1
        self.writes.append(data)

    def _attribute(self, request: _Request, name: str) -> bytes:
        match name:
            case "provider":
                return self.provider.encode() + b"\n"
            case "generation":
                return b"%d\n" % request.generation
            case "outblob":
                if self.in_flight:
                    self.in_flight -= 1
                    raise refused(errno.EBUSY)
                if not request.inblob:
                    raise refused(errno.EINVAL)
                asked = request.inblob
                if self.others:
                    self.others -= 1
                    request.inblob, request.generation = bytes(64), request.generation + 1
                    asked = request.inblob
                return self.report(asked)
        raise refused(errno.ENOENT)


class TsmFolder(KernelFiles):
    """The same over real files: what the kernel puts into a request's folder lies there, and moves with a write."""

    def __init__(self, report: Callable[[bytes], bytes]) -> None:
        self._report = report

    def make(self, folder: Path) -> None:
        super().make(folder)
        (folder / "provider").write_bytes(b"tdx_guest\n")
        (folder / "generation").write_bytes(b"0\n")
        (folder / "inblob").touch()

    def write(self, path: Path, data: bytes) -> None:
        super().write(path, data)
        (path.parent / "generation").write_bytes(b"1\n")
        (path.parent / "outblob").write_bytes(self._report(path.read_bytes()))

    def remove(self, folder: Path) -> None:
        for path in folder.iterdir():
            path.unlink()
        super().remove(folder)
