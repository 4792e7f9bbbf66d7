"""Evidence in the JSON of agents: Azure's guests, dstack, Trustee, the kernel's TSM interface, NVIDIA's SDK.

A document of a shape that is not known is refused by name; so is a log of events that would be left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from sealmarket.attestation.azure.hcl import MAGIC, TDX, read_hcl
from sealmarket.attestation.binary import from_hcl, recognise_binary
from sealmarket.attestation.core.encoding import blob
from sealmarket.attestation.core.errors import NotEvidence
from sealmarket.attestation.core.evidence import Evidence, VtpmQuote, certificates_in
from sealmarket.attestation.core.unreadable import NOT_JSON
from sealmarket.attestation.registry import MODULES, module_of
from sealmarket_enclave.protocol.codec import parse_json

_MOST_PCRS = 24
Json = Mapping[str, Any]
_READERS: list[Callable[[Json], Evidence | None]] = []


def recognise_json(data: bytes) -> Evidence:
    """The evidence in a document.

    Raises:
        NotEvidence: not JSON, evidence of several devices, or of no shape that an agent writes.
    """
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
        remedy="pass the JSON of Azure's agent, dstack, Trustee, TSM or NVIDIA's SDK, or the raw evidence in it",
    )


def _azure(document: Json) -> Evidence | None:
    hcl = document.get("hcl_report", document.get("report"))
    if hcl is None:
        return None
    data = blob(hcl, "hcl_report")
    if data[:4] != MAGIC:
        return None
    if document.get("version") not in (None, 1, 2):
        raise NotEvidence(f"evidence of Azure's agent of version 1 or 2, found {document['version']!r:.20}")
    vtpm = _vtpm(document.get("tpm_quote", document.get("quote")))
    if "td_quote" in document:
        report = read_hcl(data)
        inner = recognise_binary(blob(document["td_quote"], "td_quote"))
        if inner is None or report.kind != TDX:
            raise NotEvidence("td_quote is a TDX quote beside an HCL report of type 4 (TDX)")
        return replace(inner, runtime_data=report.runtime, vtpm=vtpm, source="azure")
    certificates = certificates_in(document["vcek"], "vcek") if "vcek" in document else ()
    return replace(from_hcl(data), certificates=certificates, vtpm=vtpm, source="azure")


def _vtpm(quote: object) -> VtpmQuote | None:
    if quote is None:
        return None
    if not isinstance(quote, dict) or not isinstance(quote.get("pcrs"), list) or len(quote["pcrs"]) > _MOST_PCRS:
        raise NotEvidence("a vTPM quote has message, signature and a list of pcrs")
    return VtpmQuote(
        message=blob(quote.get("message"), "the quote's message"),
        signature=blob(quote.get("signature"), "the quote's signature"),
        pcrs=tuple(blob(pcr, "a register") for pcr in quote["pcrs"]),
    )


def _token(document: Json) -> Evidence | None:
    """Trustee's ``{"token"}`` of a CCA guest, as hex, base64 or a list of bytes."""
    if "token" not in document or isinstance(document["token"], dict):
        return None
    inner = recognise_binary(blob(document["token"], "token"))
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
    inner = recognise_binary(blob(entry["evidence"], "evidence"))
    if inner is None:
        raise NotEvidence("the device's evidence is not of a supported TEE")
    return replace(inner, certificates=certificates_in(entry["certificate"], "certificate"), source="nvidia")


def _device(document: Json) -> Evidence | None:
    if not isinstance(document.get("evidence"), str) or "certificate" not in document:
        return None
    return read_device(document)


def _quote_and_log(document: Json) -> Evidence | None:
    """dstack's ``{"quote", "event_log", ...}`` and Trustee's ``{"quote", "cc_eventlog", ...}``."""
    if "quote" not in document or isinstance(document["quote"], dict):
        return None
    inner = recognise_binary(blob(document["quote"], "quote"))
    if inner is None:
        raise NotEvidence("the JSON's quote is not evidence of a supported TEE")
    _require_no_other_log(document)
    if document.get("cc_eventlog") is not None:
        return replace(inner, event_log=_event_log(document["cc_eventlog"], "cc_eventlog"), source="trustee")
    if document.get("event_log") is not None:
        return replace(inner, event_log=_event_log(document["event_log"], "event_log"), source="dstack")
    return replace(inner, source="trustee")


_LOGS = ("cc_eventlog", "event_log")


def _require_no_other_log(document: Json) -> None:
    """A quote counts for what its log says: a log under another name is not passed over."""
    for name, value in document.items():
        if name not in _LOGS and "log" in name.lower() and value not in (None, "", []):
            raise NotEvidence(
                f"{name[:40]!r} is no log that is known beside a quote",
                remedy="name it event_log (dstack's events, or a CCEL), or leave it out on purpose",
            )
    if all(document.get(name) is not None for name in _LOGS):
        raise NotEvidence("expected one event log, found cc_eventlog and event_log")


def _event_log(value: object, name: str) -> bytes:
    """dstack's events as an array, or as text of one; or a CCEL, as hex, base64 or a list of bytes."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return msgspec.json.encode(value)
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        return value.encode()
    if value == []:
        return b"[]"
    return blob(value, name)


def _of_one_vendor(document: Json) -> Evidence | None:
    """A shape that only one vendor's module knows."""
    found = (module.read_document(document) for module in MODULES.values())
    return next((evidence for evidence in found if evidence is not None), None)


def _tsm(document: Json) -> Evidence | None:
    """The files of the kernel's TSM reports (configfs-tsm): ``{"provider", "outblob", "auxblob"}``."""
    if "outblob" not in document:
        return None
    inner = recognise_binary(blob(document["outblob"], "outblob"))
    if inner is None:
        raise NotEvidence("the outblob is not evidence of a supported TEE")
    provider = document.get("provider")
    made = next((module.tee for module in MODULES.values() if module.tsm_provider == provider), inner.tee)
    if made is not inner.tee:
        raise NotEvidence(f"the provider {provider} makes {made.slug} evidence, found {inner.tee.slug}")
    if document.get("auxblob") in (None, "", []):
        return replace(inner, source="tsm")
    beside = module_of(inner.tee).certificates_beside(blob(document["auxblob"], "auxblob"))
    return replace(inner, certificates=beside, source="tsm")


def _trustee_envelope(document: Json) -> Evidence | None:
    """Trustee's KBS envelope: ``{"primary_evidence": {...}}`` or ``{"tee", "evidence"}``."""
    inner = document.get("primary_evidence", document.get("evidence"))
    if isinstance(inner, str) and inner.lstrip()[:1] == "{":
        return recognise_json(inner.encode())
    if isinstance(inner, dict) and not ("primary_evidence" in inner or "evidence" in inner):
        return recognise_json(msgspec.json.encode(inner))
    return None


_READERS += [_azure, _device, _quote_and_log, _token, _of_one_vendor, _tsm, _trustee_envelope]
