"""What a host needs of a driver: launch enclaves, fetch endorsements, say what will be measured.

SealmarketError
└── DriverError            a TEE could not be used
    ├── WrongDevice        the device is of another kind
    └── DriverMissing      no installed distribution provides the driver
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sealmarket.attestation.registry import Measurement
from sealmarket.protocol.wire import BoundDevices
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_worker.session import EnclaveSession


class DriverError(SealmarketError):
    """A TEE could not be used."""


class WrongDevice(DriverError):
    """The device is of another kind of TEE than the configuration names."""

    def __init__(self, where: object, found: str, expected: str) -> None:
        super().__init__(
            f"the device at {where} is {found}, the configuration names {expected}",
            remedy="correct `tee` or `device` in the worker's configuration",
        )


class DriverMissing(DriverError):
    """No installed distribution provides the driver."""

    def __init__(self, name: str, installed: Sequence[str]) -> None:
        found = ", ".join(installed) or "none"
        super().__init__(
            f"no driver {name!r} is installed, found {found}",
            remedy="install the distribution that provides it (`virtual`: sealmarket-devices, for development only), "
            "or name another driver",
        )
        self.name, self.installed = name, tuple(installed)


class Driver(Protocol):
    """One TEE of this machine. Raises :class:`DriverError`."""

    @property
    def tee(self) -> Tee:
        """The kind of its evidence."""

    def check(self) -> None:
        """Look whether the TEE is there and of its kind, without launching anything."""

    def launch(self) -> EnclaveSession:
        """Start an enclave for one job. It ends when the session is closed, or this process ends."""

    def devices(self, session: EnclaveSession) -> BoundDevices | None:
        """The GPUs beside an enclave that has given its evidence; None where this machine has none."""

    def endorsements(self) -> str:
        """What a verifier needs besides the evidence. The vendor signed it; it is not trusted for who carries it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverSettings:
    """``device`` is how the driver reaches the TEE (a socket, a device file); ``image`` is the enclave's.

    ``environments`` is the host's folder of installed environments, for a TEE that does not see the host's files.
    """

    tee: Tee
    device: Path
    image: Path
    interpreter: Path
    environments: Path = Path("environments")


class DriverFactory(Protocol):
    """What an entry point of the group ``sealmarket.drivers`` names."""

    @property
    def simulated(self) -> bool:
        """Whether its evidence ends in a development root."""

    @property
    def tees(self) -> frozenset[Tee]:
        """The kinds of evidence that it can give."""

    def open(self, settings: DriverSettings) -> Driver:
        """The driver of one TEE. ``settings.tee`` is one of :attr:`tees`."""

    def expected_measurement(self, tee: Tee, image: Path, interpreter: Path) -> Measurement:
        """What the evidence of such an enclave will say, computed without a device."""
