"""The platform `gramine`: an SGX enclave under the library OS Gramine, with DCAP attestation.

Gramine offers three pseudo files (docs "Attestation and Secret Provisioning", `/dev/attestation`). For each quote:

1. `attestation_type` is `dcap`. `none` is a Gramine without SGX or without attestation in its manifest: refused.
2. 64 bytes are written to `user_report_data` in one call, and are read back.
3. `quote` is read to its end. It holds the 64 bytes.

SGX has no runtime registers. The host listens on the loopback and the enclave connects: Gramine passes no descriptor
in. The port stands in an environment variable that the manifest passes through. It is the host's choice, as is all
that the channel carries.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Mapping
from pathlib import Path

from sealmarket_enclave.runtime.platforms.files import Files, KernelFiles
from sealmarket_enclave.runtime.platforms.interface import PlatformLost, PlatformRefused

CHANNEL_VARIABLE = "SEALMARKET_CHANNEL"
REPORT_DATA_SIZE = 64
MAX_QUOTE = 1 << 14
FOLDER = Path("/dev/attestation")
_MAX_TYPE, _MAX_PORT = 16, 5


class GraminePlatform:
    """`/dev/attestation`, as a :class:`~sealmarket_enclave.runtime.platforms.interface.Platform`."""

    def __init__(self, *, files: Files | None = None, folder: Path = FOLDER) -> None:
        self._files, self._folder = files or KernelFiles(), folder
        self._turn = threading.Lock()

    def quote(self, report_data: bytes) -> bytes:
        """A DCAP quote over 64 bytes of report data."""
        if len(report_data) != REPORT_DATA_SIZE:
            raise PlatformRefused(f"report data takes {REPORT_DATA_SIZE} bytes, found {len(report_data)}")
        with self._turn:
            try:
                return self._quoted(report_data)
            except OSError as error:
                raise PlatformLost(f"Gramine gives no quote: {error.strerror or error}") from error

    def extend(self, index: int, digest: bytes) -> bytes:
        """SGX has no runtime registers. Raises :class:`PlatformRefused`."""
        raise PlatformRefused(f"an SGX enclave has no runtime register, asked for {index} and {len(digest)} bytes")

    def _quoted(self, report_data: bytes) -> bytes:
        found = self._files.read(self._folder / "attestation_type", _MAX_TYPE).decode("ascii", "replace").strip("\n")
        if found != "dcap":
            raise PlatformRefused(f"attestation of type dcap, found {found!r}")
        place = self._folder / "user_report_data"
        self._files.write(place, report_data)
        if self._files.read(place, REPORT_DATA_SIZE) != report_data:
            raise PlatformLost("user_report_data does not hold what was written")
        quote = self._files.read(self._folder / "quote", MAX_QUOTE)
        if report_data not in quote:
            raise PlatformLost("the quote does not hold the report data that it was asked for")
        return quote


def attach(environment: Mapping[str, str] = os.environ) -> tuple[socket.socket, GraminePlatform]:
    """Connect to the host; returns the connection and the platform. Call it first.

    Raises:
        PlatformLost: no host listens, or none is named.
    """
    port = environment.get(CHANNEL_VARIABLE, "")
    if not (port.isascii() and port.isdigit() and len(port) <= _MAX_PORT and 0 < int(port) < 1 << 16):
        raise PlatformLost(f"{CHANNEL_VARIABLE} is a port, found {port[:20]!r}; the driver `gramine` starts this")
    try:
        return socket.create_connection(("127.0.0.1", int(port))), GraminePlatform()
    except OSError as error:
        raise PlatformLost(f"no host listens at port {port}: {error.strerror or error}") from error
