"""Where an enclave image starts: take the two sockets, build the surroundings, serve one job, end."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_enclave.runtime.bundle import BundleWorkplace
from sealmarket_enclave.runtime.channel import enclave_side
from sealmarket_enclave.runtime.core import Runtime, Surroundings
from sealmarket_enclave.runtime.platform import attach
from sealmarket_enclave.runtime.sandboxed import StrictSandbox


def main(arguments: Sequence[str]) -> None:
    """Run as an enclave of a virtual device. ``arguments`` is the kind of TEE, which is measured with the image."""
    stream, platform = attach()
    tee = Tee[arguments[0].upper()]
    # Beside the device's private copy of this image: memory, and gone with the device.
    scratch = Path(sys.argv[0]).resolve().parent.parent / "jobs"
    around = Surroundings(
        platform=platform,
        tee=tee,
        platform_name=f"virtual {tee.name} device (simulated)",
        workplace=BundleWorkplace(scratch, StrictSandbox()),
    )
    Runtime(enclave_side(stream), around).run()
