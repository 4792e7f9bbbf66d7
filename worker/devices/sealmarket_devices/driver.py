"""The driver ``virtual``: a host reaches a virtual device on its own machine. Its evidence is simulated and says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sealmarket.attestation.registry import Measurement
from sealmarket.protocol.wire import BoundDevices, DeviceReport
from sealmarket_devices.client import VirtualDevice
from sealmarket_devices.measure import LaunchMeasurement, measure_image
from sealmarket_devices.measurements import (
    cca_measurement,
    nitro_measurement,
    sgx_measurement,
    snp_measurement,
    tdx_measurement,
)
from sealmarket_devices.wire import MachineEvidence
from sealmarket_enclave.protocol.codec import HexBytes
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_worker.drivers.interface import DriverSettings, WrongDevice
from sealmarket_worker.image import enclave_arguments
from sealmarket_worker.session import EnclaveSession, host_side

PLATFORM = "virtual"
"""The name under which an enclave finds its side of the device."""

_MEASUREMENTS: Mapping[Tee, Callable[[LaunchMeasurement], Measurement]] = {
    Tee.CCA: cca_measurement,
    Tee.NITRO: nitro_measurement,
    Tee.SGX: sgx_measurement,
    Tee.SNP: snp_measurement,
    Tee.TDX: tdx_measurement,
}


def image_arguments(tee: Tee) -> tuple[str, ...]:
    """What an enclave on a virtual device is started with."""
    return enclave_arguments(tee, PLATFORM)


def bound_devices(found: MachineEvidence) -> BoundDevices | None:
    """A machine's GPUs as an evidence package carries them; None where it has none."""
    if not found.gpus:
        return None
    reports = tuple(
        DeviceReport(tee=Tee.NVIDIA, report=HexBytes(gpu.report), chain=tuple(map(HexBytes, gpu.chain)))
        for gpu in found.gpus
    )
    return BoundDevices(
        binding=HexBytes(found.binding), devices=reports, documents=tuple(map(HexBytes, found.documents))
    )


@dataclass(frozen=True, slots=True)
class VirtualDriver:
    """One virtual device. Raises :class:`~sealmarket_worker.drivers.interface.DriverError`."""

    settings: DriverSettings

    @property
    def tee(self) -> Tee:
        """The kind of its evidence."""
        return self.settings.tee

    def check(self) -> None:
        """The device answers, and is of the kind that the configuration names."""
        with VirtualDevice(self.settings.device) as device:
            found = device.tee()
        if found is not self.tee:
            raise WrongDevice(self.settings.device, f"a virtual {found.slug}", self.tee.slug)

    def launch(self) -> EnclaveSession:
        """Start an enclave for one job."""
        with VirtualDevice(self.settings.device) as device:
            launched = device.launch(self.settings.image, self.settings.interpreter, image_arguments(self.tee))
        return EnclaveSession(host_side(launched.channel), launched.id)

    def devices(self, session: EnclaveSession) -> BoundDevices | None:
        """The virtual GPUs of the device, bound to what this enclave quoted."""
        with VirtualDevice(self.settings.device) as device:
            return bound_devices(device.machine(session.name))

    def endorsements(self) -> str:
        """The collateral under the device's development root."""
        with VirtualDevice(self.settings.device) as device:
            return device.endorsements()


class VirtualDriverFactory:
    """What the entry point ``virtual`` of the group ``sealmarket.drivers`` names."""

    simulated = True
    tees = frozenset(_MEASUREMENTS)

    def open(self, settings: DriverSettings) -> VirtualDriver:
        """The driver of one virtual device."""
        return VirtualDriver(settings)

    def expected_measurement(self, tee: Tee, image: Path, interpreter: Path) -> Measurement:
        """What the evidence of such an enclave will say, computed without a device.

        Raises:
            VirtualMeasurementError: the image or the interpreter cannot be measured.
        """
        return _MEASUREMENTS[tee](measure_image(image, interpreter, image_arguments(tee)))


VIRTUAL = VirtualDriverFactory()
