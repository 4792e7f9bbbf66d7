"""The virtual TDX device: ``python -m sealmarket_devices.tdx --state DIR --socket PATH``.

MRTD is the image, RTMR0 the interpreter, RTMR1 the command; RTMR2 and RTMR3 start at zero and belong to the
enclave. Evidence is a quote v4 under a development root, see ``docs/spec/virtual-device.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sealmarket_devices import main
from sealmarket_devices.device import DeviceError
from sealmarket_devices.intel_collateral import TEE_TCB_SVN
from sealmarket_devices.intel_format import TdReport
from sealmarket_devices.intel_silicon import IntelSilicon
from sealmarket_devices.measure import LaunchMeasurement, extend_register
from sealmarket_devices.measurements import MR_SEAM, TD_ATTRIBUTE_DEBUG, TD_ATTRIBUTES, XFAM, initial_rtmrs

_EXTENDABLE = (2, 3)


class VirtualTrustDomain:
    """One trust domain: what was measured at its launch, and its runtime registers."""

    def __init__(self, silicon: IntelSilicon, measured: LaunchMeasurement, *, debug: bool) -> None:
        self._silicon = silicon
        self._mr_td = measured.image
        self._rtmrs = list(initial_rtmrs(measured))
        self._attributes = TD_ATTRIBUTES | (TD_ATTRIBUTE_DEBUG if debug else 0)

    def quote(self, report_data: bytes) -> bytes:
        """A TDX quote v4."""
        rtmr0, rtmr1, rtmr2, rtmr3 = self._rtmrs
        return self._silicon.tdx_quote(
            TdReport(
                tee_tcb_svn=TEE_TCB_SVN,
                mr_seam=MR_SEAM,
                td_attributes=self._attributes,
                xfam=XFAM,
                mr_td=self._mr_td,
                rtmrs=(rtmr0, rtmr1, rtmr2, rtmr3),
                report_data=report_data,
            )
        )

    def extend(self, index: int, digest: bytes) -> bytes:
        """RTMR[index] = SHA-384(RTMR[index] || digest), for the registers that belong to the enclave."""
        if index not in _EXTENDABLE:
            raise DeviceError(f"an enclave extends RTMR 2 or 3, found {index}")
        self._rtmrs[index] = extend_register(self._rtmrs[index], digest)
        return self._rtmrs[index]


class VirtualTdx:
    """The simulated TDX platform."""

    name = "tdx"

    def __init__(self, state: Path, clock: Callable[[], datetime]) -> None:
        self._silicon = IntelSilicon(state, "TDX", clock)

    @property
    def root(self) -> bytes:
        """The development root, DER."""
        return self._silicon.root

    def endorsements(self) -> str:
        """``QuoteCollateralV3`` as JSON."""
        return self._silicon.collateral()

    def guest(self, measured: LaunchMeasurement, *, debug: bool) -> VirtualTrustDomain:
        """A new trust domain."""
        return VirtualTrustDomain(self._silicon, measured, debug=debug)


def serve(state: Path, socket_path: Path, *, debug: bool = False) -> None:
    """Run the device until SIGTERM."""
    main.serve(VirtualTdx, state, socket_path, debug=debug)


if __name__ == "__main__":
    main.main(VirtualTdx, "TDX")
