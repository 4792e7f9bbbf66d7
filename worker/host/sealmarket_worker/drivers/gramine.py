"""The driver `gramine`: each enclave is an SGX enclave under the library OS Gramine.

`device` of the worker's configuration is the folder with the signed manifest, `sealmarket.manifest.sgx`, and its
signature, `sealmarket.sig`; `deploy/gramine` has the manifest's template. The host listens on the loopback, and the
enclave connects to it.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

from sealmarket.attestation.registry import Measurement
from sealmarket.files import read_text_file
from sealmarket.protocol.wire import BoundDevices
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_enclave.runtime.platforms.gramine import CHANNEL_VARIABLE
from sealmarket_worker.drivers.interface import DriverError, DriverSettings
from sealmarket_worker.drivers.program import Program
from sealmarket_worker.drivers.sigstruct import read_sigstruct
from sealmarket_worker.machine import Machine
from sealmarket_worker.session import EnclaveSession, host_side

LOADER = "gramine-sgx"
NAME = "sealmarket"
SIGNATURE = f"{NAME}.sig"
MANIFEST = f"{NAME}.manifest.sgx"
COLLATERAL = "collateral.json"
START_SECONDS = 300.0
"""Gramine measures and loads the interpreter and all libraries into the enclave first."""
_POLL_SECONDS = 0.2


class GramineSession(EnclaveSession):
    """A session that ends its enclave's process."""

    def __init__(self, stream: socket.socket, program: Program) -> None:
        super().__init__(host_side(stream))
        self._program = program

    def close(self) -> None:
        """End the enclave and its process."""
        super().close()
        self._program.end()


@dataclass(frozen=True, slots=True)
class GramineDriver:
    """Launches SGX enclaves of one signed manifest. Raises :class:`DriverError`."""

    settings: DriverSettings
    machine: Machine = field(default_factory=Machine)

    @property
    def tee(self) -> Tee:
        """The kind of its evidence."""
        return Tee.SGX

    def check(self) -> None:
        """The machine has SGX, the manifest is signed, and the loader is installed."""
        if (lack := next(self.machine.lacks(Tee.SGX), None)) is not None:
            raise DriverError(f"this machine launches no SGX enclave: {lack.found}", remedy=lack.remedy)
        for name in (MANIFEST, SIGNATURE):
            if not (self.settings.device / name).is_file():
                raise DriverError(f"no {name} in {self.settings.device}", remedy="build it, see deploy/gramine")
        if shutil.which(LOADER) is None:
            raise DriverError(f"no program {LOADER} here", remedy="install Gramine, 1.7 or later")
        read_sigstruct(self.settings.device / SIGNATURE)
        self.endorsements()

    def launch(self) -> EnclaveSession:
        """Start an enclave, and wait until it connects."""
        with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
            environment = {**os.environ, CHANNEL_VARIABLE: str(listener.getsockname()[1])}
            program = Program([LOADER, NAME], folder=self.settings.device, environment=environment)
            try:
                return GramineSession(_accepted(listener, program), program)
            except BaseException:
                program.end()
                raise

    def devices(self, session: EnclaveSession) -> BoundDevices | None:  # noqa: ARG002 - a driver's signature
        """None: an SGX enclave binds no GPU."""
        return None

    def endorsements(self) -> str:
        """The collateral that the operator keeps beside the manifest, as it is now."""
        path = self.settings.device / COLLATERAL
        try:
            return read_text_file(path)
        except (OSError, UnicodeDecodeError) as error:
            remedy = f"fetch it with `sealmarket collateral fetch`, and put it there as {COLLATERAL}"
            raise DriverError(f"no collateral for this machine's quotes at {path}: {error}", remedy=remedy) from error


class GramineDriverFactory:
    """What the entry point `gramine` of the group `sealmarket.drivers` names."""

    simulated = False
    tees = frozenset({Tee.SGX})

    def open(self, settings: DriverSettings) -> GramineDriver:
        """The driver of one signed manifest."""
        return GramineDriver(settings)

    def expected_measurement(self, tee: Tee, image: Path, interpreter: Path) -> Measurement:  # noqa: ARG002 - the same
        """What the quotes of such an enclave will say: its signature structure, in the folder ``image``."""
        return read_sigstruct(image / SIGNATURE)


GRAMINE = GramineDriverFactory()


def _accepted(listener: socket.socket, program: Program, seconds: float = START_SECONDS) -> socket.socket:
    """The enclave's connection. Another process of this machine that connects first is a host's own affair.

    Raises:
        ProgramEnded: the enclave ended, or has not connected in time.
    """
    listener.settimeout(_POLL_SECONDS)
    until = time.monotonic() + seconds
    while True:
        try:
            stream, _ = listener.accept()
        except TimeoutError:
            if not program.runs:
                raise program.ended() from None
            if time.monotonic() > until:
                raise program.ended(f"has not connected within {seconds:g} s") from None
        else:
            stream.settimeout(None)
            return stream
