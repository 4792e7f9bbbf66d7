"""Drive the virtual TDX device, and turn what it measured into the tuple that a policy lists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sealmarket.attestation.intel.measurement import TdxMeasurement
from sealmarket_devices.client import VirtualDevice
from sealmarket_devices.measure import measure_image
from sealmarket_devices.measurements import tdx_measurement

VirtualTdxDevice = VirtualDevice
"""The control connection is the same for every virtual device; the evidence differs."""


def expected_measurement(image: Path, interpreter: Path, arguments: Sequence[str] = ()) -> TdxMeasurement:
    """What the quote of such a launch will say, computed without a device."""
    return tdx_measurement(measure_image(image, interpreter, arguments))
