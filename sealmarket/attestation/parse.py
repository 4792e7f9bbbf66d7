"""Recognise a file's bytes as evidence of a registered TEE.

:func:`parse` takes raw evidence, hex, base64, or the JSON that common agents emit (Azure's guests, dstack,
Trustee), and finds the TEE through the registry. It judges nothing: its result is as untrusted as the file.
Certificates inside a bundle are kept apart and count only if they end in a pinned root. Each step reads its input a
bounded number of times. It is a convenience for people: nodes use :mod:`sealmarket.attestation.raw`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding

from sealmarket.attestation.azure.hcl import MAGIC, TDX, read_hcl
from sealmarket.attestation.core.errors import CollateralError, NotEvidence
from sealmarket.attestation.core.evidence import Evidence, VtpmQuote, read_endorsement
from sealmarket.attestation.core.unreadable import NOT_JSON
from sealmarket.attestation.registry import recognise, unwrap
from sealmarket_enclave.protocol.codec import parse_json
from sealmarket_enclave.protocol.numbers import Tee

MAXIMUM_BYTES = 8 << 20
"""A whole evidence file; the longest genuine ones are event logs of 256 KiB in JSON."""

MAXIMUM_NUMBERS = 1 << 20
"""Bytes that JSON writes as a list of numbers."""
_MOST_PCRS = 24
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


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
        raise NotEvidence(f"expected {tee.slug} evidence, found {evidence.tee.slug}")
    return evidence


def _recognise(data: bytes) -> Evidence:
    if (raw := _recognise_raw(data)) is not None:
        return raw
    if data.lstrip()[:1] in (b"{", b"["):
        return _recognise_json(data)
    for name, decoder in (("hex", _from_hex), ("base64", _from_base64)):
        inner = decoder(data)
        if inner is None:
            continue
        if (raw := _recognise_raw(inner)) is not None:
            return replace(raw, source=name)
        if inner.lstrip()[:1] in (b"{", b"["):
            return replace(_recognise_json(inner), source=name)
    raise NotEvidence(
        f"{len(data)} bytes that start with {data[:8].hex()} are not evidence of any supported TEE",
        remedy="pass a quote, report, CCA token or Nitro document as its device wrote it, or an agent's JSON with one",
    )


def _recognise_raw(data: bytes) -> Evidence | None:
    if data[:4] == MAGIC:
        return _from_hcl(data)
    tee = recognise(data)
    if tee is not None:
        return Evidence(tee=tee, raw=data)
    if (inner := unwrap(data)) is None:
        return None
    tee, source, raw = inner
    return Evidence(tee=tee, raw=raw, source=source)


def _from_hex(data: bytes) -> bytes | None:
    """Hex digits, white space between pairs of them, ``0x`` in front or not; None for anything else and for nothing."""
    text = data.strip()
    digits = text[2:] if text[:2] in (b"0x", b"0X") else text
    try:
        return bytes.fromhex(digits.decode("ascii")) or None
    except ValueError:
        return None


def _from_base64(data: bytes) -> bytes | None:
    """Base64 of either alphabet, with white space and padding or not; None for anything else and for nothing."""
    text = b"".join(data.split()).translate(_URL_SAFE).rstrip(b"=")
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True) or None
    except binascii.Error:
        return None


def _from_hcl(data: bytes) -> Evidence:
    report = read_hcl(data)
    if report.kind == TDX:
        raise NotEvidence(
            "this HCL report holds a TDREPORT, which only its own machine can check",
            remedy="send the agent's whole evidence, with the td_quote made from it",
        )
    return Evidence(tee=Tee.SNP, raw=report.hardware, runtime_data=report.runtime, source="azure")


Json = Mapping[str, Any]
_READERS: list[Callable[[Json], Evidence | None]] = []


def _recognise_json(data: bytes) -> Evidence:
    try:
        document = parse_json(data)
    except NOT_JSON as error:
        raise NotEvidence(f"evidence starts like JSON but is not: {error}") from error
    devices = list_of_devices(document)
    if devices is not None:
        if len(devices) != 1:
            remedy = "verify them together with `sealmarket evidence verify`, as composite evidence"
            raise NotEvidence(f"expected evidence of one device, found {len(devices)}", remedy=remedy)
        return read_device(devices[0])
    if isinstance(document, dict):
        for reader in _READERS:
            if (evidence := reader(document)) is not None:
                return evidence
    fields = sorted(map(str, document))[:8] if isinstance(document, dict) else []
    raise NotEvidence(
        f"no agent writes JSON with the fields {fields}",
        remedy="pass the JSON of Azure's agent, dstack, Trustee or NVIDIA's SDK, or the raw evidence in it",
    )


def _blob(value: object, name: str) -> bytes:
    """Bytes as agents write them: a list of numbers, hex, or base64 of either alphabet."""
    if isinstance(value, list):
        return _from_numbers(value, name)
    if isinstance(value, str):
        text = value.encode()
        for decoder in (_from_hex, _from_base64):
            if (found := decoder(text)) is not None:
                return found
    raise NotEvidence(f"{name} is neither hex, base64 nor a list of bytes")


def _from_numbers(value: list[Any], name: str) -> bytes:
    if len(value) > MAXIMUM_NUMBERS:
        raise NotEvidence(f"{name} is a list of at most {MAXIMUM_NUMBERS} bytes, found {len(value)}")
    try:
        return bytes(value)
    except (TypeError, ValueError) as error:
        raise NotEvidence(f"{name} is not a list of bytes") from error


def _certificates(value: object, name: str) -> tuple[bytes, ...]:
    raw = value.encode() if isinstance(value, str) and "-----BEGIN" in value else _blob(value, name)
    try:
        found, _ = read_endorsement(raw)
    except CollateralError as error:
        raise NotEvidence(f"{name} holds no certificate: {error}") from error
    return tuple(certificate.public_bytes(Encoding.DER) for certificate in found)


def _azure(document: Json) -> Evidence | None:
    hcl = document.get("hcl_report", document.get("report"))
    if hcl is None:
        return None
    data = _blob(hcl, "hcl_report")
    if data[:4] != MAGIC:
        return None
    if document.get("version") not in (None, 1, 2):
        raise NotEvidence(f"evidence of Azure's agent of version 1 or 2, found {document['version']!r:.20}")
    vtpm = _vtpm(document.get("tpm_quote", document.get("quote")))
    if "td_quote" in document:
        report = read_hcl(data)
        inner = _recognise_raw(_blob(document["td_quote"], "td_quote"))
        if inner is None or report.kind != TDX:
            raise NotEvidence("td_quote is a TDX quote beside an HCL report of type 4 (TDX)")
        return replace(inner, runtime_data=report.runtime, vtpm=vtpm, source="azure")
    certificates = _certificates(document["vcek"], "vcek") if "vcek" in document else ()
    return replace(_from_hcl(data), certificates=certificates, vtpm=vtpm, source="azure")


def _vtpm(quote: object) -> VtpmQuote | None:
    if quote is None:
        return None
    if not isinstance(quote, dict) or not isinstance(quote.get("pcrs"), list) or len(quote["pcrs"]) > _MOST_PCRS:
        raise NotEvidence("a vTPM quote has message, signature and a list of pcrs")
    return VtpmQuote(
        message=_blob(quote.get("message"), "the quote's message"),
        signature=_blob(quote.get("signature"), "the quote's signature"),
        pcrs=tuple(_blob(pcr, "a register") for pcr in quote["pcrs"]),
    )


def _token(document: Json) -> Evidence | None:
    """Trustee's ``{"token"}`` of a CCA guest, as hex, base64 or a list of bytes."""
    if "token" not in document or isinstance(document["token"], dict):
        return None
    inner = _recognise_raw(_blob(document["token"], "token"))
    if inner is None:
        raise NotEvidence("the JSON's token is not evidence of a supported TEE")
    return replace(inner, source="trustee")


_LISTS = ("evidence_list", "device_evidence_list")


def list_of_devices(document: object) -> list[Any] | None:
    """The entries of a list that NVIDIA's SDK or Trustee's agent wrote about devices; None for anything else."""
    if isinstance(document, dict):
        document = next((document[name] for name in _LISTS if name in document), None)
    if not isinstance(document, list) or not document:
        return None
    return document if all(isinstance(entry, dict) and "evidence" in entry for entry in document) else None


def read_device(entry: object) -> Evidence:
    """One device: ``{"evidence", "certificate", ...}`` with its report and its chain.

    Architecture, nonce and names in it are the agent's words: nothing is decided by them.

    Raises:
        NotEvidence: another shape.
    """
    if not isinstance(entry, dict) or "evidence" not in entry or "certificate" not in entry:
        raise NotEvidence("a device is an object with evidence and certificate")
    inner = _recognise_raw(_blob(entry["evidence"], "evidence"))
    if inner is None:
        raise NotEvidence("the device's evidence is not of a supported TEE")
    return replace(inner, certificates=_certificates(entry["certificate"], "certificate"), source="nvidia")


def _device(document: Json) -> Evidence | None:
    if not isinstance(document.get("evidence"), str) or "certificate" not in document:
        return None
    return read_device(document)


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


_READERS += [_azure, _device, _quote_and_log, _token, _trustee_envelope]
