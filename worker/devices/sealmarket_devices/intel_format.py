"""The bytes of Intel SGX and TDX evidence: reports, quotes, and the SGX extension of a PCK certificate.

Encoding only. Layouts are those of the Intel SGX ECDSA Quote Library Reference (quote v3) and the Intel TDX
DCAP Quoting Library API (quote v4): integers are little-endian, ECDSA values are raw 64-byte big-endian ``r
|| s``.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from sealmarket_devices import der

INTEL_QE_VENDOR_ID = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
SGX_EXTENSION_OID = "1.2.840.113741.1.13.1"

_CERT_TYPE_PEM_CHAIN = 5
_CERT_TYPE_QE_REPORT = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class SgxReport:
    """An SGX report body, 384 bytes."""

    cpu_svn: bytes = bytes(16)
    misc_select: int = 0
    isv_ext_prod_id: bytes = bytes(16)
    flags: int = 0x05
    xfrm: int = 0x03
    mr_enclave: bytes = bytes(32)
    mr_signer: bytes = bytes(32)
    config_id: bytes = bytes(64)
    isv_prod_id: int = 0
    isv_svn: int = 0
    config_svn: int = 0
    isv_family_id: bytes = bytes(16)
    report_data: bytes = bytes(64)

    def pack(self) -> bytes:
        """The 384 bytes as they are signed."""
        return b"".join(
            (
                self.cpu_svn,
                struct.pack("<I", self.misc_select),
                bytes(12),
                self.isv_ext_prod_id,
                struct.pack("<QQ", self.flags, self.xfrm),
                self.mr_enclave,
                bytes(32),
                self.mr_signer,
                bytes(32),
                self.config_id,
                struct.pack("<HHH", self.isv_prod_id, self.isv_svn, self.config_svn),
                bytes(42),
                self.isv_family_id,
                self.report_data,
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TdReport:
    """A TD report body 1.0, 584 bytes."""

    tee_tcb_svn: bytes = bytes(16)
    mr_seam: bytes = bytes(48)
    mr_signer_seam: bytes = bytes(48)
    seam_attributes: bytes = bytes(8)
    td_attributes: int = 1 << 28
    xfam: int = 0x618E7
    mr_td: bytes = bytes(48)
    mr_config_id: bytes = bytes(48)
    mr_owner: bytes = bytes(48)
    mr_owner_config: bytes = bytes(48)
    rtmrs: tuple[bytes, bytes, bytes, bytes] = field(default=(bytes(48),) * 4)
    report_data: bytes = bytes(64)

    def pack(self) -> bytes:
        """The 584 bytes as they are signed."""
        return b"".join(
            (
                self.tee_tcb_svn,
                self.mr_seam,
                self.mr_signer_seam,
                self.seam_attributes,
                struct.pack("<QQ", self.td_attributes, self.xfam),
                self.mr_td,
                self.mr_config_id,
                self.mr_owner,
                self.mr_owner_config,
                *self.rtmrs,
                self.report_data,
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PckExtension:
    """What the SGX extension of a PCK certificate says about a platform (Intel PCK certificate profile 1.5)."""

    ppid: bytes
    component_svns: bytes
    pce_svn: int
    pce_id: bytes
    fmspc: bytes
    sgx_type: int = 1
    platform_instance_id: bytes = bytes(16)

    def encode(self) -> bytes:
        """DER of the extension's value."""
        tcb = [_entry(f"2.{i + 1}", der.integer(svn)) for i, svn in enumerate(self.component_svns)]
        tcb += [_entry("2.17", der.integer(self.pce_svn)), _entry("2.18", der.octets(self.component_svns))]
        flags = [_entry(f"7.{i}", der.boolean(False)) for i in (1, 2, 3)]
        return der.sequence(
            _entry("1", der.octets(self.ppid)),
            _entry("2", der.sequence(*tcb)),
            _entry("3", der.octets(self.pce_id)),
            _entry("4", der.octets(self.fmspc)),
            _entry("5", der.enumerated(self.sgx_type)),
            _entry("6", der.octets(self.platform_instance_id)),
            _entry("7", der.sequence(*flags)),
        )


def quote_header(
    version: int, tee_type: int, *, key_type: int = 2, reserved: int = 0, user_data: bytes = bytes(20)
) -> bytes:
    """The 48-byte header. ``reserved`` holds QE SVN and PCE SVN in version 3 and is zero later."""
    return struct.pack("<HHII", version, key_type, tee_type, reserved) + INTEL_QE_VENDOR_ID + user_data


def qe_report_data(attestation_key: bytes, qe_auth: bytes) -> bytes:
    """What binds the attestation key to the quoting enclave: SHA-256(key || auth), padded to 64 bytes."""
    return hashlib.sha256(attestation_key + qe_auth).digest() + bytes(32)


def qe_certification(qe_report: bytes, qe_signature: bytes, qe_auth: bytes, pck_chain_pem: bytes) -> bytes:
    """QE report, its signature by the PCK, the QE's authentication data, and the PCK chain (type 5)."""
    return b"".join(
        (
            qe_report,
            qe_signature,
            struct.pack("<H", len(qe_auth)),
            qe_auth,
            certification_data(_CERT_TYPE_PEM_CHAIN, pck_chain_pem),
        )
    )


def certification_data(kind: int, content: bytes) -> bytes:
    """Certification data: type u16, size u32, content."""
    return struct.pack("<HI", kind, len(content)) + content


def quote_v3(signed: bytes, signature: bytes, attestation_key: bytes, certification: bytes) -> bytes:
    """A whole SGX quote: what was signed (432 bytes), then the authentication data with its length."""
    auth = signature + attestation_key + certification
    return signed + struct.pack("<I", len(auth)) + auth


def quote_v4(signed: bytes, signature: bytes, attestation_key: bytes, certification: bytes) -> bytes:
    """A whole TDX quote, version 4 or 5: the QE certification is nested in certification data of type 6."""
    return quote_v3(signed, signature, attestation_key, certification_data(_CERT_TYPE_QE_REPORT, certification))


def sign_raw(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """ECDSA P-256 SHA-256 as 64 bytes, ``r || s`` big-endian."""
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def public_raw(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The public key as 64 bytes, ``x || y`` big-endian."""
    numbers = key.public_key().public_numbers()
    return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def _entry(suffix: str, value: bytes) -> bytes:
    return der.sequence(der.oid(f"{SGX_EXTENSION_OID}.{suffix}"), value)
