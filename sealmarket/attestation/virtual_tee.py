"""How the virtual devices place a launch's digests in each TEE's measurement, and the constants that they
report.

A client turns the digests of :func:`sealmarket.attestation.virtual_measure.measure_image` into the typed
tuple that a policy lists; the device uses the same functions for what it reports.
"""

from __future__ import annotations

import hashlib

from sealmarket.attestation.model import Bytes8, TdxMeasurement
from sealmarket.attestation.virtual_measure import LaunchMeasurement, extend_register
from sealmarket.protocol.codec import Bytes48

ZERO_REGISTER = bytes(48)

TD_ATTRIBUTES = 1 << 28
"""SEPT_VE_DISABLE and nothing else; a debug device adds bit 0."""
TD_ATTRIBUTE_DEBUG = 1
XFAM = 0x618E7
MR_SEAM = hashlib.sha384(b"Sealmarket VIRTUAL TDX module, no hardware").digest()


def initial_rtmrs(launch: LaunchMeasurement) -> tuple[bytes, bytes, bytes, bytes]:
    """The four runtime registers at launch: the interpreter in 0, the command in 1, nothing yet in 2 and
    3."""
    return (
        extend_register(ZERO_REGISTER, launch.runtime),
        extend_register(ZERO_REGISTER, launch.command),
        ZERO_REGISTER,
        ZERO_REGISTER,
    )


def tdx_measurement(launch: LaunchMeasurement) -> TdxMeasurement:
    """What a quote of the virtual TDX device says before the enclave extends a register."""
    rtmr0, rtmr1, rtmr2, rtmr3 = (Bytes48(register) for register in initial_rtmrs(launch))
    zero = Bytes48(bytes(48))
    return TdxMeasurement(
        mr_td=Bytes48(launch.image),
        rtmr0=rtmr0,
        rtmr1=rtmr1,
        rtmr2=rtmr2,
        rtmr3=rtmr3,
        mr_config_id=zero,
        mr_owner=zero,
        mr_owner_config=zero,
        td_attributes=Bytes8(TD_ATTRIBUTES.to_bytes(8, "little")),
        xfam=Bytes8(XFAM.to_bytes(8, "little")),
    )
