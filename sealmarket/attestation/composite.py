"""Composite evidence from a file: a CPU TEE with its devices, or devices alone.

    {"version": "sealmarket/composite-evidence/1", "cpu": ..., "binding": ..., "devices": [...]}

``cpu`` and ``binding`` are hex, base64 or an agent's JSON, as :mod:`sealmarket.attestation.parse` reads them;
``devices`` are entries as NVIDIA's SDK writes them, ``{"evidence", "certificate"}``. A file that is such a list alone
holds devices without a CPU. As there, this judges nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from sealmarket.attestation.agents import list_of_devices, read_device
from sealmarket.attestation.core.encoding import text_of
from sealmarket.attestation.core.errors import NotEvidence
from sealmarket.attestation.core.evidence import CompositeEvidence, Evidence
from sealmarket.attestation.core.unreadable import NOT_JSON
from sealmarket.attestation.parse import MAXIMUM_BYTES, is_json, parse
from sealmarket_enclave.protocol.codec import parse_json
from sealmarket_enclave.protocol.numbers import Tee

VERSION = "sealmarket/composite-evidence/1"
MAXIMUM_DEVICES = 64
_FIELDS = {"version", "cpu", "binding", "devices"}


def parse_any(data: bytes, tee: Tee | None = None) -> Evidence | CompositeEvidence:
    """Evidence of one TEE, or of several where the file says so.

    Args:
        data: a file's bytes.
        tee: what the evidence must be; of composite evidence the CPU's, or each device's.

    Raises:
        NotEvidence: neither.
    """
    document = _json(data)
    if isinstance(document, dict) and document.get("version") == VERSION:
        return _of_machine(document, tee)
    devices = list_of_devices(document)
    if devices is None or len(devices) == 1:
        return parse(data, tee)
    return CompositeEvidence(cpu=None, binding=None, devices=_devices(devices, tee))


def _json(data: bytes) -> object:
    if len(data) > MAXIMUM_BYTES:
        return None
    text = text_of(data)
    try:
        return parse_json(text) if is_json(text) else None
    except NOT_JSON:
        return None  # parse() says what it is, or is not


def _of_machine(document: Mapping[str, Any], tee: Tee | None) -> CompositeEvidence:
    devices = document.get("devices")
    if set(document) != _FIELDS or not isinstance(devices, list):
        raise NotEvidence(f"composite evidence has the fields {sorted(_FIELDS)}, found {sorted(document)!r:.200}")
    return CompositeEvidence(
        cpu=_part(document["cpu"], "cpu", tee),
        binding=_part(document["binding"], "binding", tee),
        devices=_devices(devices, None),
    )


def _part(value: object, name: str, tee: Tee | None) -> Evidence:
    if isinstance(value, str):
        return parse(value.encode(), tee)
    if isinstance(value, dict):
        return parse(msgspec.json.encode(value), tee)
    raise NotEvidence(f"{name} is evidence in hex, base64 or an agent's JSON")


def _devices(entries: list[Any], tee: Tee | None) -> tuple[Evidence, ...]:
    if not 1 <= len(entries) <= MAXIMUM_DEVICES:
        raise NotEvidence(f"1 to {MAXIMUM_DEVICES} devices, found {len(entries)}")
    devices = tuple(read_device(entry) for entry in entries)
    for device in devices:
        if tee is not None and device.tee is not tee:
            raise NotEvidence(f"expected {tee.slug} evidence, found {device.tee.slug}")
    return devices
