"""Where the virtual devices place a launch's digests in each TEE's measurement, and the constants that they report.

A client turns the digests of :func:`sealmarket_devices.measure.measure_image` into the typed tuple that a policy
lists; the device uses the same functions for what it reports.
"""

from __future__ import annotations

import hashlib

from sealmarket.attestation.amd.measurement import SnpMeasurement
from sealmarket.attestation.arm.measurement import CcaMeasurement, RealmHash
from sealmarket.attestation.core.model import Bytes4, Bytes8, Bytes16
from sealmarket.attestation.intel.measurement import SgxMeasurement, TdxMeasurement
from sealmarket.attestation.nitro.measurement import NitroMeasurement
from sealmarket_devices.measure import LaunchMeasurement, VirtualMeasurementError, extend_register
from sealmarket_enclave.protocol.codec import Bytes32, Bytes48, Bytes64, HexBytes

ZERO_REGISTER = bytes(48)

TD_ATTRIBUTES = 1 << 28
"""SEPT_VE_DISABLE and nothing else; a debug device adds bit 0."""
TD_ATTRIBUTE_DEBUG = 1
XFAM = 0x618E7
MR_SEAM = hashlib.sha384(b"Sealmarket VIRTUAL TDX module, no hardware").digest()


SGX_FLAGS = 0x05
"""INIT and MODE64BIT; a debug device adds bit 1."""
SGX_FLAG_DEBUG = 0x02
SGX_XFRM = 0xE7
SGX_MR_SIGNER = hashlib.sha256(b"Sealmarket VIRTUAL enclave signer, no hardware").digest()

SNP_POLICY = 0x3_0000
"""SMT allowed and the bit that must be one; a debug device adds bit 19."""
SNP_POLICY_DEBUG = 1 << 19

CCA_ZERO_REGISTER = bytes(64)
CCA_PERSONALIZATION = bytes(64)


def launch_digest(launch: LaunchMeasurement) -> bytes:
    """All three digests as one, SHA-384, for TEEs that have one measurement."""
    return hashlib.sha384(b"sealmarket virtual launch v1" + launch.image + launch.runtime + launch.command).digest()


def realm_initial_measurement(launch: LaunchMeasurement) -> bytes:
    """All three digests as one, SHA-512: what the virtual CCA device reports as RIM."""
    return hashlib.sha512(b"sealmarket virtual launch v1" + launch.image + launch.runtime + launch.command).digest()


def extend_realm_register(register: bytes, digest: bytes) -> bytes:
    """An extensible measurement of a realm after one extension: SHA-512 over the old value and the digest."""
    if len(register) != 64 or len(digest) != 48:
        raise VirtualMeasurementError(
            f"a register of 64 and a digest of 48 bytes, found {len(register)}, {len(digest)}"
        )
    return hashlib.sha512(register + digest).digest()


def mr_enclave(launch: LaunchMeasurement) -> bytes:
    """All three digests as one, SHA-256: what the virtual SGX device reports as MRENCLAVE."""
    return hashlib.sha256(b"sealmarket virtual launch v1" + launch.image + launch.runtime + launch.command).digest()


def initial_rtmrs(launch: LaunchMeasurement) -> tuple[bytes, bytes, bytes, bytes]:
    """The four runtime registers at launch: the interpreter in 0, the command in 1, nothing yet in 2 and 3."""
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


def sgx_measurement(launch: LaunchMeasurement) -> SgxMeasurement:
    """What a quote of the virtual SGX device says."""
    return SgxMeasurement(
        mr_enclave=Bytes32(mr_enclave(launch)),
        mr_signer=Bytes32(SGX_MR_SIGNER),
        isv_prod_id=0,
        isv_svn=0,
        misc_select=Bytes4(bytes(4)),
        attributes=Bytes16(SGX_FLAGS.to_bytes(8, "little") + SGX_XFRM.to_bytes(8, "little")),
        config_id=Bytes64(bytes(64)),
        config_svn=0,
    )


def snp_measurement(launch: LaunchMeasurement) -> SnpMeasurement:
    """What a report of the virtual SEV-SNP device says."""
    return SnpMeasurement(
        launch_digest=Bytes48(launch_digest(launch)),
        policy=Bytes8(SNP_POLICY.to_bytes(8, "little")),
        host_data=Bytes32(bytes(32)),
        vmpl=0,
    )


def cca_measurement(launch: LaunchMeasurement) -> CcaMeasurement:
    """What a token of the virtual CCA device says before the enclave extends a register."""
    zero = HexBytes(CCA_ZERO_REGISTER)
    return CcaMeasurement(
        hash_algorithm=RealmHash.SHA_512,
        rim=HexBytes(realm_initial_measurement(launch)),
        rem0=zero,
        rem1=zero,
        rem2=zero,
        rem3=zero,
        personalization=Bytes64(CCA_PERSONALIZATION),
    )


def nitro_measurement(launch: LaunchMeasurement) -> NitroMeasurement:
    """What a document of the virtual Nitro device says; the image is not signed, so PCR8 is zero."""
    pcr0, pcr1, pcr2 = (Bytes48(digest) for digest in (launch.image, launch.runtime, launch.command))
    return NitroMeasurement(pcr0=pcr0, pcr1=pcr1, pcr2=pcr2, pcr8=Bytes48(bytes(48)))
