"""A measurement as JSON, for owners who write a policy."""

from __future__ import annotations

from typing import Any

from sealmarket.attestation.registry import Measurement
from sealmarket_enclave.protocol.codec import to_builtins
from sealmarket_worker.drivers.interface import DriverFactory


def measurement_document(measurement: Measurement, driver: DriverFactory) -> dict[str, Any]:
    """The tuple as policies spell it, its digest as allow-lists hold it, and the grade of the driver's evidence."""
    grade = "simulated" if driver.simulated else "hardware"
    return {"measurement": to_builtins(measurement), "digest": str(measurement.digest()), "grade": grade}
