"""The layout of SGX quotes v3 and TDX quotes v4 and v5 (Intel DCAP quote generation library, appendix A).

All integers are little-endian; ECDSA values are raw 64-byte ``r||s`` and ``x||y``, big-endian. Every length
is checked against the bytes present: a quote is read to its last byte or refused. Nothing here is proven.
"""

from __future__ import annotations

from struct import Struct
from typing import Any

import msgspec

from sealmarket.attestation.core.errors import refuse
from sealmarket.attestation.core.model import Bytes4, Bytes8, Bytes16
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.intel.measurement import SgxMeasurement, TdxMeasurement
from sealmarket_enclave.protocol.codec import Bytes32, Bytes48, Bytes64
from sealmarket_enclave.protocol.numbers import Tee

HEADER_SIZE = 48
SGX_BODY_SIZE = 384
TD_BODY_SIZES = {2: 584, 3: 648}
"""TD report body sizes by the body type of a v5 quote: TDX 1.0 and 1.5."""
QE_VENDOR_INTEL = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
ECDSA_P256 = 2
PCK_CHAIN_PEM = 5
QE_REPORT_CERTIFICATION = 6

TRANSPORT_SIZES = frozenset({5006, 8000})
"""Sizes of the fixed, zero-filled buffers in which genuine platforms return quotes."""

_HEADER = Struct("<HHI2s2s16s20s")
_DESCRIPTOR = Struct("<HI")
_SGX_BODY = Struct("<16s4s12x16s16s32s32x32s32x64sHHH42x16s64s")


class SgxBody(msgspec.Struct, frozen=True, kw_only=True):
    """An SGX REPORT body (Intel SDM vol. 3D, 38.15)."""

    cpu_svn: bytes
    measurement: SgxMeasurement
    family_id: bytes
    extended_product_id: bytes
    report_data: bytes

    @property
    def flags(self) -> int:
        """ATTRIBUTES.FLAGS as a number."""
        return int.from_bytes(self.measurement.attributes[:8], "little")

    def claims(self) -> dict[str, Any]:
        """The body's fields in hex and numbers."""
        m = self.measurement
        return {
            "mr_enclave": m.mr_enclave.hex(),
            "mr_signer": m.mr_signer.hex(),
            "isv_prod_id": m.isv_prod_id,
            "isv_svn": m.isv_svn,
            "attributes": m.attributes.hex(),
            "misc_select": m.misc_select.hex(),
            "config_id": m.config_id.hex(),
            "config_svn": m.config_svn,
            "cpu_svn": self.cpu_svn.hex(),
            "isv_ext_prod_id": self.extended_product_id.hex(),
            "isv_family_id": self.family_id.hex(),
        }


class TdBody(msgspec.Struct, frozen=True, kw_only=True):
    """A TD report body 1.0, or 1.5 with its two further fields (TDX module ABI)."""

    tee_tcb_svn: bytes
    mr_seam: bytes
    mr_signer_seam: bytes
    seam_attributes: bytes
    measurement: TdxMeasurement
    report_data: bytes
    tee_tcb_svn2: bytes | None = None
    mr_service_td: bytes | None = None

    @property
    def attributes(self) -> int:
        """TD ATTRIBUTES as a number."""
        return int.from_bytes(self.measurement.td_attributes, "little")

    def claims(self) -> dict[str, Any]:
        """The body's fields in hex."""
        m = self.measurement
        names = ("mr_td", "rtmr0", "rtmr1", "rtmr2", "rtmr3", "mr_config_id", "mr_owner", "mr_owner_config")
        out = {name: getattr(m, name).hex() for name in (*names, "td_attributes", "xfam")}
        for name in (
            "tee_tcb_svn",
            "mr_seam",
            "mr_signer_seam",
            "seam_attributes",
            "tee_tcb_svn2",
            "mr_service_td",
        ):
            value = getattr(self, name)
            if value is not None:
                out[name] = value.hex()
        return out


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a quote.

    ``signed`` is header, descriptor and body: what the attestation key signed. ``padding`` counts zero
    bytes behind the quote's own end. ``certification`` is the inner certification data,
    ``certification_type`` its type.
    """

    version: int
    tee: Tee
    signed: bytes
    body: SgxBody | TdBody
    signature: bytes
    attestation_key: bytes
    qe_report: bytes
    qe_signature: bytes
    qe_auth: bytes
    certification_type: int
    certification: bytes
    padding: int
    length: int

    @property
    def without_report_data(self) -> tuple[bytes, bytes]:
        """What is signed, before and behind the 64 bytes of report data (a TD 1.5 body goes on behind them)."""
        goes_on = isinstance(self.body, TdBody) and self.body.mr_service_td is not None
        end = len(self.signed) - (TD_BODY_SIZES[3] - TD_BODY_SIZES[2] if goes_on else 0)
        return self.signed[: end - 64], self.signed[end:]


class _Reader:
    """Takes fields off the front; a short read is a refusal that names the field."""

    def __init__(self, data: bytes, offset: int = 0, end: int | None = None) -> None:
        self.data = data
        self.offset = offset
        self.end = len(data) if end is None else end

    def take(self, size: int, field: str) -> bytes:
        start, stop = self.offset, self.offset + size
        if stop > self.end:
            refuse(Reason.TRUNCATED, f"{size} bytes of {field} at offset {start}", f"{self.end - start} bytes")
        self.offset = stop
        return self.data[start:stop]

    def number(self, size: int, field: str) -> int:
        return int.from_bytes(self.take(size, field), "little")


def read_quote(raw: bytes) -> Quote:
    """Read a quote.

    Raises:
        EvidenceRefused: truncated, not of the layout, of an unsupported version or key type, or followed by
            anything but zeros.
    """
    reader = _Reader(raw)
    version, key_type, tee_type, _, _, vendor, _ = _HEADER.unpack(reader.take(HEADER_SIZE, "header"))
    tee = _tee_of(version, tee_type)
    if key_type != ECDSA_P256:
        refuse(Reason.UNSUPPORTED_FORMAT, "attestation key type 2 (ECDSA P-256)", key_type)
    if vendor != QE_VENDOR_INTEL:
        refuse(Reason.UNSUPPORTED_FORMAT, f"QE vendor {QE_VENDOR_INTEL.hex()}", vendor.hex())
    body = _read_body(reader, version)
    signed = raw[: reader.offset]

    size = reader.number(4, "signature data length")
    end = reader.offset + size
    if end > len(raw):
        refuse(Reason.TRUNCATED, f"{size} bytes of signature data", f"{len(raw) - reader.offset} bytes")
    auth = _Reader(raw, reader.offset, end)
    signature, key = auth.take(64, "quote signature"), auth.take(64, "attestation key")
    if version >= 4:
        _read_outer_certification(auth)
    qe_report, qe_signature = auth.take(SGX_BODY_SIZE, "QE report"), auth.take(64, "QE report signature")
    qe_auth = auth.take(auth.number(2, "QE authentication length"), "QE authentication data")
    kind = auth.number(2, "PCK certification type")
    certification = auth.take(auth.number(4, "PCK certification size"), "PCK certification data")
    if auth.offset != end:
        refuse(Reason.MALFORMED, "certification data to the end of the signature data", f"{end - auth.offset} left")
    return Quote(
        version=version,
        tee=tee,
        signed=signed,
        body=body,
        signature=signature,
        attestation_key=key,
        qe_report=qe_report,
        qe_signature=qe_signature,
        qe_auth=qe_auth,
        certification_type=kind,
        certification=certification,
        padding=_padding(raw, end),
        length=end,
    )


def _read_outer_certification(auth: _Reader) -> None:
    """The envelope that quotes v4 and v5 put around the QE's certification: type 6, to the very end."""
    kind, size = auth.number(2, "certification type"), auth.number(4, "certification size")
    if kind != QE_REPORT_CERTIFICATION:
        refuse(Reason.UNSUPPORTED_FORMAT, "certification data type 6", kind)
    if auth.offset + size != auth.end:
        refuse(Reason.MALFORMED, f"{auth.end - auth.offset} bytes of certification data", size)


def _tee_of(version: int, tee_type: int) -> Tee:
    if version == 3:
        if tee_type != 0:
            refuse(Reason.UNSUPPORTED_FORMAT, "reserved zeros in an SGX quote v3", f"{tee_type:#x}")
        return Tee.SGX
    if version in (4, 5) and tee_type == 0x81:
        return Tee.TDX
    return refuse(Reason.UNSUPPORTED_FORMAT, "SGX quote v3, TDX quote v4 or v5", f"v{version}, TEE {tee_type:#x}")


def _padding(raw: bytes, end: int) -> int:
    """Zeros behind the end, counted; anything else there is unsigned and could carry a second spelling."""
    if raw.count(0, end) != len(raw) - end:
        refuse(Reason.TRAILING_BYTES, f"a quote of {end} bytes", f"{len(raw) - end} more bytes, not zero")
    return len(raw) - end


def _read_body(reader: _Reader, version: int) -> SgxBody | TdBody:
    if version == 3:
        return read_sgx_body(reader.take(SGX_BODY_SIZE, "SGX report body"))
    if version == 4:
        return _read_td_body(reader.take(TD_BODY_SIZES[2], "TD report body"))
    kind, size = _DESCRIPTOR.unpack(reader.take(_DESCRIPTOR.size, "body descriptor"))
    if kind not in TD_BODY_SIZES:
        refuse(Reason.UNSUPPORTED_FORMAT, "body type 2 (TD 1.0) or 3 (TD 1.5)", kind)
    if size != TD_BODY_SIZES[kind]:
        refuse(Reason.MALFORMED, f"{TD_BODY_SIZES[kind]} bytes for body type {kind}", size)
    return _read_td_body(reader.take(size, "TD report body"))


def read_sgx_body(b: bytes) -> SgxBody:
    """The 384 bytes of an SGX REPORT body."""
    (
        cpu_svn,
        misc_select,
        extended_product_id,
        attributes,
        mr_enclave,
        mr_signer,
        config_id,
        isv_prod_id,
        isv_svn,
        config_svn,
        family_id,
        report_data,
    ) = _SGX_BODY.unpack(b)
    return SgxBody(
        cpu_svn=cpu_svn,
        measurement=SgxMeasurement(
            mr_enclave=Bytes32(mr_enclave),
            mr_signer=Bytes32(mr_signer),
            isv_prod_id=isv_prod_id,
            isv_svn=isv_svn,
            misc_select=Bytes4(misc_select),
            attributes=Bytes16(attributes),
            config_id=Bytes64(config_id),
            config_svn=config_svn,
        ),
        extended_product_id=extended_product_id,
        family_id=family_id,
        report_data=report_data,
    )


def _read_td_body(b: bytes) -> TdBody:
    return TdBody(
        tee_tcb_svn=b[0:16],
        mr_seam=b[16:64],
        mr_signer_seam=b[64:112],
        seam_attributes=b[112:120],
        measurement=TdxMeasurement(
            td_attributes=Bytes8(b[120:128]),
            xfam=Bytes8(b[128:136]),
            mr_td=Bytes48(b[136:184]),
            mr_config_id=Bytes48(b[184:232]),
            mr_owner=Bytes48(b[232:280]),
            mr_owner_config=Bytes48(b[280:328]),
            rtmr0=Bytes48(b[328:376]),
            rtmr1=Bytes48(b[376:424]),
            rtmr2=Bytes48(b[424:472]),
            rtmr3=Bytes48(b[472:520]),
        ),
        report_data=b[520:584],
        tee_tcb_svn2=b[584:600] or None,
        mr_service_td=b[600:648] or None,
    )
