"""The platforms `tdx-guest`, `snp-guest` and `cca-guest`: the enclave is a confidential guest with Linux in it.

Evidence comes from the kernel's TSM reports (Linux 6.7, Documentation/ABI/testing/configfs-tsm-report). For each:

1. A folder of its own is made, under a name that no other process knows: it holds this request's state in the kernel.
2. `provider` names the kind of TEE that this platform is for.
3. `generation` is read, 64 bytes are written to `inblob` in one call, `outblob` is read to its end, and `generation` is
   one more than it was. Another number says that another process wrote between: begun anew, in another folder.
4. What comes holds the 64 bytes. An older report is never taken for the one that was asked for.
5. The folder is removed, whatever happened.

A kernel that is busy (EBUSY: an earlier request is still with the host) is asked again, with growing pauses, and left
after about 25 seconds. `auxblob` holds certificates that the host could give itself, and is not read.

A runtime register of a TD is extended by the kernel (Linux 6.16, Documentation/ABI/testing/sysfs-devices-virtual-misc-
tdx_guest), and read before and after. SEV-SNP has none; for a realm of CCA, Linux has no interface yet.

The host reaches the enclave by vsock. The first connection from the host counts, and there is no second.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_enclave.runtime.platforms.files import Files, KernelFiles
from sealmarket_enclave.runtime.platforms.interface import PlatformLost, PlatformRefused
from sealmarket_enclave.runtime.platforms.process import close_to_others

CHANNEL_PORT = 4050
"""Where an enclave listens on its vsock."""
REPORT_DATA_SIZE = 64
DIGEST_SIZE = 48
MAX_EVIDENCE = 1 << 16
"""The kernel's own limit for one report is 32 KiB or more; evidence of these TEEs takes 16 KiB at most."""
REPORTS = Path("/sys/kernel/config/tsm/report")
REGISTERS = Path("/sys/devices/virtual/misc/tdx_guest/measurements")
PROVIDERS: Mapping[Tee, str] = {Tee.TDX: "tdx_guest", Tee.SNP: "sev_guest", Tee.CCA: "arm_cca_guest"}
EXTENDABLE = (2, 3)

_LATER = frozenset({errno.EBUSY, errno.EAGAIN, errno.EINTR, errno.ETIMEDOUT})
_PAUSES = tuple(0.1 * 2**turn for turn in range(8))
_ATTEMPTS = 4
_MAX_NAME, _MAX_NUMBER = 64, 20


class _Moved(Exception):
    """Another process wrote into the request's folder."""


class GuestPlatform:
    """The TSM reports of one guest, as a :class:`~sealmarket_enclave.runtime.platforms.interface.Platform`."""

    def __init__(
        self,
        tee: Tee,
        *,
        files: Files | None = None,
        reports: Path = REPORTS,
        registers: Path = REGISTERS,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._tee, self._files, self._pause = tee, files or KernelFiles(), pause
        self._reports, self._registers = reports, registers
        self._turn = threading.Lock()

    def quote(self, report_data: bytes) -> bytes:
        """Evidence over 64 bytes of report data."""
        if len(report_data) != REPORT_DATA_SIZE:
            raise PlatformRefused(f"report data takes {REPORT_DATA_SIZE} bytes, found {len(report_data)}")
        with self._turn:
            for _ in range(_ATTEMPTS):
                try:
                    return self._report(report_data)
                except _Moved:
                    continue
                except OSError as error:
                    raise PlatformLost(f"the kernel gives no report: {error.strerror or error}") from error
        raise PlatformLost(f"another process wrote into the request's folder, {_ATTEMPTS} times")

    def extend(self, index: int, digest: bytes) -> bytes:
        """Extend register 2 or 3 of a TD: SHA-384 over the old value and the digest."""
        if self._tee is not Tee.TDX:
            raise PlatformRefused(f"a guest of {self._tee.slug} has no register that Linux extends")
        if index not in EXTENDABLE or len(digest) != DIGEST_SIZE:
            raise PlatformRefused(f"a register 2 or 3 and {DIGEST_SIZE} bytes, found {index} and {len(digest)}")
        path = self._registers / f"rtmr{index}:sha384"
        try:
            before = self._files.read(path, DIGEST_SIZE)
            self._busy_waiting(lambda: self._files.write(path, digest))
            after = self._files.read(path, DIGEST_SIZE)
        except OSError as error:
            raise PlatformLost(f"no register is extended (Linux 6.16 does): {error.strerror or error}") from error
        if after != hashlib.sha384(before + digest).digest():
            raise PlatformLost(f"register {index} does not hold what it was extended by")
        return after

    def _report(self, report_data: bytes) -> bytes:
        folder = self._reports / f"sealmarket-{secrets.token_hex(16)}"
        self._files.make(folder)
        try:
            return self._asked(folder, report_data)
        finally:
            # A folder that stays costs the kernel some memory until the guest ends, and the evidence nothing.
            with contextlib.suppress(OSError):
                self._files.remove(folder)

    def _asked(self, folder: Path, report_data: bytes) -> bytes:
        expected = PROVIDERS[self._tee]
        if (provider := self._text(folder / "provider", _MAX_NAME)) != expected:
            raise PlatformRefused(f"reports of {expected}, found those of {provider!r}")
        before = self._number(folder / "generation")
        self._busy_waiting(lambda: self._files.write(folder / "inblob", report_data))
        evidence = self._busy_waiting(lambda: self._files.read(folder / "outblob", MAX_EVIDENCE))
        if self._number(folder / "generation") != before + 1:
            raise _Moved
        if report_data not in evidence:
            raise PlatformLost("the report does not hold the report data that it was asked for")
        return evidence

    def _busy_waiting(self, step: Callable[[], bytes | None]) -> bytes:
        for pause in _PAUSES:
            try:
                return step() or b""
            except OSError as error:
                if error.errno not in _LATER:
                    raise
            self._pause(pause)
        return step() or b""

    def _number(self, path: Path) -> int:
        text = self._text(path, _MAX_NUMBER)
        if not (text.isascii() and text.isdigit()):
            raise PlatformLost(f"{path.name} is no number")
        return int(text)

    def _text(self, path: Path, most: int) -> str:
        return self._files.read(path, most).decode("ascii", "replace").strip("\n")


def attach(tee: Tee) -> tuple[socket.socket, GuestPlatform]:
    """Wait for the host's connection; returns it and the platform. Call it first.

    Raises:
        PlatformLost: this kernel has no vsock, or another guest connected.
    """
    close_to_others()
    try:
        with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as listener:
            listener.bind((socket.VMADDR_CID_ANY, CHANNEL_PORT))
            listener.listen(1)
            stream, (context, _) = listener.accept()
    except OSError as error:
        raise PlatformLost(f"no vsock to the host: {error.strerror or error}") from error
    if context != socket.VMADDR_CID_HOST:
        stream.close()
        raise PlatformLost(f"a connection from the host, found one from context {context}")
    return stream, GuestPlatform(tee)
