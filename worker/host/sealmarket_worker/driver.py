"""Where enclaves are launched. One class per way to reach a TEE; all give the same session."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sealmarket_devices.client import VirtualDevice
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_worker.image import image_arguments
from sealmarket_worker.session import EnclaveSession, host_side


class Driver(Protocol):
    """One TEE of this machine. Raises :class:`~sealmarket_devices.client.DriverError`."""

    @property
    def tee(self) -> Tee:
        """The kind of its evidence."""

    def launch(self) -> EnclaveSession:
        """Start an enclave for one job. It ends when the session is closed, or this process ends."""

    def endorsements(self) -> str:
        """What a verifier needs besides the evidence: signed by the vendor, trusted by nobody because we carry it."""


@dataclass(frozen=True, slots=True)
class VirtualDriver:
    """A virtual device on this machine: its evidence is simulated and says so."""

    tee: Tee
    socket: Path
    image: Path
    interpreter: Path

    def launch(self) -> EnclaveSession:
        """As :meth:`Driver.launch`."""
        with VirtualDevice(self.socket) as device:
            launched = device.launch(self.image, self.interpreter, image_arguments(self.tee))
        return EnclaveSession(host_side(launched.channel))

    def endorsements(self) -> str:
        """As :meth:`Driver.endorsements`."""
        with VirtualDevice(self.socket) as device:
            return device.endorsements()
