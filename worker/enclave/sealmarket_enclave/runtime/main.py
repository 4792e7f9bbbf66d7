"""Where an enclave starts: take the two sockets, build the environment, serve one job, end."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_enclave.runtime.bundle import BundleWorkplace
from sealmarket_enclave.runtime.channel import enclave_side
from sealmarket_enclave.runtime.core import EnclaveEnvironment, JobKind, Runtime
from sealmarket_enclave.runtime.platforms.table import platform_entry
from sealmarket_enclave.runtime.sandboxed import StrictSandbox


def main(arguments: Sequence[str], kind: JobKind) -> None:
    """Run as an enclave.

    Args:
        arguments: the kind of TEE and the name of the platform; both are measured.
        kind: the kind of job that this image is for.
    """
    tee_name, platform_name = arguments
    tee, entry = Tee[tee_name.upper()], platform_entry(platform_name)
    stream, platform = entry.attach()
    # Beside the device's private copy of this image: memory, and removed with the device.
    scratch = Path(sys.argv[0]).resolve().parent.parent / "jobs"
    environment = EnclaveEnvironment(
        platform=platform,
        tee=tee,
        platform_name=entry.title(tee),
        workplace=BundleWorkplace(scratch, StrictSandbox()),
    )
    Runtime(enclave_side(stream), environment, kind).run()
