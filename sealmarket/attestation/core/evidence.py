"""What comes in: evidence as bytes of some TEE, and the vendor endorsements that go with it.

:func:`parse` takes a file's bytes as raw evidence, hex, base64, or the JSON that common agents emit (Azure's
guests, dstack, Trustee), and says which TEE they belong to. It judges nothing: what it returns is as
untrusted as the file. Certificates that travel inside a bundle are kept apart and count only if they end in
a pinned root.
"""

from __future__ import annotations

import base64
import binascii
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning

from sealmarket.attestation.collateral.documents import IntelCollateral
from sealmarket.attestation.core.errors import CollateralError, NotEvidence
from sealmarket.attestation.core.model import Tee
from sealmarket.attestation.core.unreadable import NOT_JSON, NOT_X509
from sealmarket_enclave.protocol.codec import parse_json

MAXIMUM_BYTES = 8 << 20
"""A whole evidence file; the longest genuine ones are event logs of 256 KiB in JSON."""

_HEX = re.compile(rb"\s*(?:0[xX])?((?:[0-9a-fA-F]{2}\s*)+)")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_\-\s]+=*\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Untrusted evidence of one TEE.

    ``raw`` is the device's own bytes; ``event_log`` a CCEL or dstack log that claims to explain registers;
    ``runtime_data`` what a paravisor hashed into the report data; ``certificates`` DER that came along;
    ``source`` how the file was written.
    """

    tee: Tee
    raw: bytes
    event_log: bytes | None = None
    runtime_data: bytes | None = None
    certificates: tuple[bytes, ...] = ()
    source: str = "raw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endorsements:
    """What the vendor signed about the platform: Intel collateral, certificates and CRLs in any order."""

    collateral: IntelCollateral | None = None
    certificates: tuple[x509.Certificate, ...] = ()
    crls: tuple[x509.CertificateRevocationList, ...] = ()

    @classmethod
    def read(cls, files: Iterable[bytes], collateral: IntelCollateral | None = None) -> Endorsements:
        """Sort files that hold DER or PEM certificates, chains and CRLs.

        Raises:
            CollateralError: a file holds neither.
        """
        certificates: list[x509.Certificate] = []
        crls: list[x509.CertificateRevocationList] = []
        for raw in files:
            found, lists = _read_endorsement(raw)
            certificates += found
            crls += lists
        return cls(collateral=collateral, certificates=tuple(certificates), crls=tuple(crls))

    def with_files(self, files: Iterable[bytes]) -> Endorsements:
        """These endorsements and what further files hold. Raises :class:`CollateralError`."""
        more = Endorsements.read(files)
        return Endorsements(
            collateral=self.collateral,
            certificates=(*self.certificates, *more.certificates),
            crls=(*self.crls, *more.crls),
        )


_PEM = re.compile(rb"-----BEGIN (CERTIFICATE|X509 CRL)-----.+?-----END \1-----", re.DOTALL)


def _read_endorsement(raw: bytes) -> tuple[list[x509.Certificate], list[x509.CertificateRevocationList]]:
    with warnings.catch_warnings():
        # AMD gives every VCEK the serial number 0, which the parser warns about.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        return _read_blocks(raw, list(_PEM.finditer(raw)))


def _read_blocks(
    raw: bytes, blocks: list[re.Match[bytes]]
) -> tuple[list[x509.Certificate], list[x509.CertificateRevocationList]]:
    try:
        if blocks:
            certificates = [x509.load_pem_x509_certificate(b[0]) for b in blocks if b[1] == b"CERTIFICATE"]
            return certificates, [x509.load_pem_x509_crl(b[0]) for b in blocks if b[1] == b"X509 CRL"]
    except NOT_X509 as error:
        raise CollateralError(f"an endorsement's PEM cannot be read: {error}") from error
    try:
        return [x509.load_der_x509_certificate(raw)], []
    except NOT_X509:
        pass  # not a certificate: a CRL is the other thing that DER may hold, tried next
    try:
        return [], [x509.load_der_x509_crl(raw)]
    except NOT_X509 as error:
        raise CollateralError(
            f"an endorsement of {len(raw)} bytes is neither certificate nor CRL: {error}",
            remedy="pass DER or PEM certificates, chains or CRLs",
        ) from error


def parse(data: bytes, tee: Tee | None = None) -> Evidence:
    """Recognise a file's bytes as evidence.

    Args:
        data: raw evidence, hex, base64, or an agent's JSON.
        tee: what it must be, or None to take what it says.

    Raises:
        NotEvidence: nothing supported starts like this, or it is of another TEE than asked for.
    """
    if len(data) > MAXIMUM_BYTES:
        raise NotEvidence(f"evidence is at most {MAXIMUM_BYTES} bytes, found {len(data)}")
    evidence = _recognise(data)
    if tee is not None and evidence.tee is not tee:
        raise NotEvidence(f"expected {tee.value} evidence, found {evidence.tee.value}")
    return evidence


def _recognise(data: bytes) -> Evidence:
    if (raw := _recognise_raw(data)) is not None:
        return raw
    if data.lstrip()[:1] == b"{":
        return _recognise_json(data)
    for name, decoder in (("hex", _from_hex), ("base64", _from_base64)):
        inner = decoder(data)
        if inner is None:
            continue
        if (raw := _recognise_raw(inner)) is not None:
            return replace(raw, source=name)
        if inner.lstrip()[:1] == b"{":
            return replace(_recognise_json(inner), source=name)
    raise NotEvidence(
        f"{len(data)} bytes that start with {data[:8].hex()} are not evidence of any supported TEE",
        remedy="pass an SGX or TDX quote, an SEV-SNP report, or the JSON of an agent that holds one",
    )


def _recognise_raw(data: bytes) -> Evidence | None:
    if data[:4] == b"HCLA":
        return _from_hcl(data)
    if len(data) >= 8 and data[0] in (3, 4, 5) and data[1] == 0 and data[2] in (2, 3) and data[3] == 0:
        tee_type = int.from_bytes(data[4:8], "little")
        if tee_type == 0x81:
            return Evidence(tee=Tee.TDX, raw=data)
        if tee_type == 0 or data[0] == 3:
            return Evidence(tee=Tee.SGX, raw=data)
    version, algorithm = int.from_bytes(data[:4], "little"), int.from_bytes(data[0x34:0x38], "little")
    if len(data) >= 0x38 and 2 <= version <= 15 and algorithm == 1:
        return Evidence(tee=Tee.SNP, raw=data)
    return None


def _from_hex(data: bytes) -> bytes | None:
    match = _HEX.fullmatch(data)
    return bytes.fromhex(b"".join(match[1].split()).decode()) if match else None


def _from_base64(data: bytes) -> bytes | None:
    if not _BASE64.fullmatch(data):
        return None
    text = b"".join(data.split()).replace(b"-", b"+").replace(b"_", b"/").rstrip(b"=")
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return None


# Azure's paravisor report: a 32-byte header, 1184 bytes of hardware report, then the runtime data that the
# report data commits to.
_HCL_HEADER, _HCL_REPORT, _HCL_DATA = 32, 1184, 1236


def _from_hcl(data: bytes) -> Evidence:
    if len(data) < _HCL_DATA:
        raise NotEvidence(f"an HCL report has at least {_HCL_DATA} bytes, found {len(data)}")
    report_type = int.from_bytes(data[1224:1228], "little")
    length = int.from_bytes(data[1232:1236], "little")
    runtime = data[_HCL_DATA : _HCL_DATA + length]
    if len(runtime) != length:
        raise NotEvidence(f"the HCL report's runtime data has {length} bytes, found {len(runtime)}")
    report = data[_HCL_HEADER : _HCL_HEADER + _HCL_REPORT]
    if report_type == 2:
        return Evidence(tee=Tee.SNP, raw=report, runtime_data=runtime, source="azure")
    if report_type == 4:
        raise NotEvidence(
            "this HCL report holds a TDREPORT, which only its own machine can check",
            remedy="send the agent's whole evidence, with the td_quote made from it",
        )
    raise NotEvidence(f"an HCL report holds type 2 (SNP) or 4 (TDX), found {report_type}")


Json = Mapping[str, Any]
_READERS: list[Callable[[Json], Evidence | None]] = []


def _recognise_json(data: bytes) -> Evidence:
    try:
        document = parse_json(data)
    except NOT_JSON as error:
        raise NotEvidence(f"evidence starts like JSON but is not: {error}") from error
    if isinstance(document, dict):
        for reader in _READERS:
            if (evidence := reader(document)) is not None:
                return evidence
    fields = sorted(map(str, document))[:8] if isinstance(document, dict) else []
    raise NotEvidence(
        f"no agent writes JSON with the fields {fields}",
        remedy="pass the JSON of Azure's agent, dstack or Trustee, or the raw evidence in it",
    )


def _blob(value: object, name: str) -> bytes:
    """Bytes as agents write them: a list of numbers, hex, or base64 of either alphabet."""
    if isinstance(value, list):
        try:
            return bytes(value)
        except (TypeError, ValueError) as error:
            raise NotEvidence(f"{name} is not a list of bytes") from error
    if isinstance(value, str):
        text = value.encode()
        for decoder in (_from_hex, _from_base64):
            if (found := decoder(text)) is not None:
                return found
    raise NotEvidence(f"{name} is neither hex, base64 nor a list of bytes")


def _certificates(value: object, name: str) -> tuple[bytes, ...]:
    raw = value.encode() if isinstance(value, str) and "-----BEGIN" in value else _blob(value, name)
    try:
        found, _ = _read_endorsement(raw)
    except CollateralError as error:
        raise NotEvidence(f"{name} holds no certificate: {error}") from error
    from cryptography.hazmat.primitives.serialization import Encoding

    return tuple(certificate.public_bytes(Encoding.DER) for certificate in found)


def _azure(document: Json) -> Evidence | None:
    hcl = document.get("hcl_report", document.get("report"))
    if hcl is None:
        return None
    data = _blob(hcl, "hcl_report")
    if data[:4] != b"HCLA":
        return None
    if "td_quote" in document:
        length = int.from_bytes(data[1232:1236], "little")
        runtime = data[_HCL_DATA : _HCL_DATA + length]
        inner = _recognise_raw(_blob(document["td_quote"], "td_quote"))
        if inner is None:
            raise NotEvidence("td_quote is not a TDX quote")
        return replace(inner, runtime_data=runtime, source="azure")
    certificates = _certificates(document["vcek"], "vcek") if "vcek" in document else ()
    return replace(_from_hcl(data), certificates=certificates, source="azure")


def _quote_and_log(document: Json) -> Evidence | None:
    """dstack's ``{"quote", "event_log", ...}`` and Trustee's ``{"quote", "cc_eventlog", ...}``."""
    if "quote" not in document or isinstance(document["quote"], dict):
        return None
    inner = _recognise_raw(_blob(document["quote"], "quote"))
    if inner is None:
        raise NotEvidence("the JSON's quote is not evidence of a supported TEE")
    if document.get("cc_eventlog") is not None:
        return replace(inner, event_log=_blob(document["cc_eventlog"], "cc_eventlog"), source="trustee")
    log = document.get("event_log")
    if isinstance(log, str):
        return replace(inner, event_log=log.encode(), source="dstack")
    return replace(inner, source="trustee")


def _trustee_envelope(document: Json) -> Evidence | None:
    """Trustee's KBS envelope: ``{"primary_evidence": {...}}`` or ``{"tee", "evidence"}``."""
    inner = document.get("primary_evidence", document.get("evidence"))
    if isinstance(inner, str) and inner.lstrip()[:1] == "{":
        return _recognise_json(inner.encode())
    if isinstance(inner, dict) and not ("primary_evidence" in inner or "evidence" in inner):
        return _recognise_json(msgspec.json.encode(inner))
    return None


_READERS += [_azure, _quote_and_log, _trustee_envelope]
