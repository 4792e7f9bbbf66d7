"""Reproduce what a virtual device will report for an enclave image, without a device: for owners who write a policy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sealmarket.attestation.amd.measurement import SnpMeasurement
from sealmarket.attestation.intel.measurement import SgxMeasurement, TdxMeasurement
from sealmarket_devices.measure import LaunchMeasurement, measure_image
from sealmarket_devices.measurements import sgx_measurement, snp_measurement, tdx_measurement
from sealmarket_enclave.protocol.codec import to_builtins
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_worker.errors import ConfigInvalid
from sealmarket_worker.image import base_interpreter, image_arguments

Measurement = SgxMeasurement | SnpMeasurement | TdxMeasurement

_PLACED: dict[Tee, Callable[[LaunchMeasurement], Measurement]] = {
    Tee.SGX: sgx_measurement,
    Tee.SNP: snp_measurement,
    Tee.TDX: tdx_measurement,
}


def expected_measurement(tee: str, image: Path, interpreter: Path | None = None) -> Measurement:
    """The typed tuple that a policy lists.

    Raises:
        ConfigInvalid: no virtual device of that kind.
        VirtualMeasurementError: the image or interpreter cannot be measured.
    """
    kind = Tee.__members__.get(tee.upper())
    if kind is None or kind not in _PLACED:
        raise ConfigInvalid("--tee", f"{tee!r} has no virtual device", "choose sgx, snp or tdx")
    launch = measure_image(image, interpreter or base_interpreter(), tuple(image_arguments(kind)))
    return _PLACED[kind](launch)


def measurement_document(measurement: Measurement) -> dict[str, Any]:
    """For JSON: the tuple as policies spell it, and its digest as allow-lists hold it. Says that it is simulated."""
    return {"measurement": to_builtins(measurement), "digest": str(measurement.digest()), "grade": "simulated"}
