"""The virtual SGX device: ``python -m sealmarket_devices.sgx --state DIR --socket PATH``.

MRENCLAVE covers image, interpreter and command; there are no runtime registers. Evidence is a quote v3 under a
development root, see ``docs/spec/virtual-device.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sealmarket_devices import main
from sealmarket_devices.device import DeviceError
from sealmarket_devices.intel_collateral import COMPONENT_SVNS
from sealmarket_devices.intel_format import SgxReport
from sealmarket_devices.intel_silicon import IntelSilicon
from sealmarket_devices.measure import LaunchMeasurement
from sealmarket_devices.measurements import SGX_FLAG_DEBUG, SGX_FLAGS, SGX_MR_SIGNER, SGX_XFRM, mr_enclave


class VirtualEnclave:
    """One enclave: what was measured at its launch."""

    def __init__(self, silicon: IntelSilicon, measured: LaunchMeasurement, *, debug: bool) -> None:
        self._silicon = silicon
        self._mr_enclave = mr_enclave(measured)
        self._flags = SGX_FLAGS | (SGX_FLAG_DEBUG if debug else 0)

    def quote(self, report_data: bytes) -> bytes:
        """An SGX quote v3."""
        return self._silicon.sgx_quote(
            SgxReport(
                cpu_svn=COMPONENT_SVNS,
                flags=self._flags,
                xfrm=SGX_XFRM,
                mr_enclave=self._mr_enclave,
                mr_signer=SGX_MR_SIGNER,
                report_data=report_data,
            )
        )

    def extend(self, index: int, digest: bytes) -> bytes:
        """SGX has no runtime registers."""
        raise DeviceError(f"SGX has no runtime register, asked for {index} with {len(digest)} bytes")


class VirtualSgx:
    """The simulated SGX platform."""

    name = "sgx"

    def __init__(self, state: Path, clock: Callable[[], datetime]) -> None:
        self._silicon = IntelSilicon(state, "SGX", clock)

    @property
    def root(self) -> bytes:
        """The development root, DER."""
        return self._silicon.root

    def endorsements(self) -> str:
        """``QuoteCollateralV3`` as JSON."""
        return self._silicon.collateral()

    def guest(self, measured: LaunchMeasurement, *, debug: bool) -> VirtualEnclave:
        """A new enclave."""
        return VirtualEnclave(self._silicon, measured, debug=debug)


def serve(state: Path, socket_path: Path, *, debug: bool = False) -> None:
    """Run the device until SIGTERM."""
    main.serve(VirtualSgx, state, socket_path, debug=debug)


if __name__ == "__main__":
    main.main(VirtualSgx, "SGX")
