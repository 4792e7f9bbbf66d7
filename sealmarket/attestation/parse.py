"""Recognise a file's bytes as evidence of a registered TEE.

:func:`parse` takes raw evidence, hex, base64, PEM armour, or the JSON that common agents emit
(:mod:`sealmarket.attestation.agents`), and finds the TEE through the registry. It judges nothing: its result is as
untrusted as the file. Certificates inside a bundle are kept apart and count only if they end in a pinned root. It is a
convenience for people: nodes use :mod:`sealmarket.attestation.raw`.
"""

from __future__ import annotations

from dataclasses import replace

from sealmarket.attestation.agents import recognise_json
from sealmarket.attestation.binary import recognise_binary
from sealmarket.attestation.core.encoding import from_armour, from_base64, from_hex, is_dump, text_of
from sealmarket.attestation.core.errors import NotEvidence
from sealmarket.attestation.core.evidence import Evidence
from sealmarket.attestation.core.unreadable import NOT_JSON
from sealmarket_enclave.protocol.codec import parse_json
from sealmarket_enclave.protocol.numbers import Tee

MAXIMUM_BYTES = 8 << 20
"""A whole evidence file; the longest genuine ones are event logs of 256 KiB in JSON."""


def parse(data: bytes, tee: Tee | None = None) -> Evidence:
    """Recognise a file's bytes as evidence.

    Args:
        data: raw evidence, hex, base64, PEM armour, or an agent's JSON.
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


def is_json(text: bytes) -> bool:
    """Whether a text starts like a JSON object or array."""
    return text.lstrip()[:1] in (b"{", b"[")


def _recognise(data: bytes) -> Evidence:
    if (raw := recognise_binary(data)) is not None:
        return raw
    text = _unquoted(text_of(data))
    if is_json(text):
        return recognise_json(text)
    if (armoured := from_armour(text)) is not None:
        return _of_armour(*armoured)
    for name, decoder in (("hex", from_hex), ("base64", from_base64)):
        inner = decoder(text)
        if inner is None:
            continue
        if (raw := recognise_binary(inner)) is not None:
            return replace(raw, source=name)
        if is_json(inner):
            return replace(recognise_json(inner), source=name)
    if is_dump(text):
        raise NotEvidence("this is a dump with offsets, for people to read", remedy="pass the bytes: xxd -r FILE")
    raise NotEvidence(
        f"{len(data)} bytes that start with {data[:8].hex()} are not evidence of any supported TEE",
        remedy="pass a quote, report, CCA token or Nitro document as its device wrote it, or an agent's JSON with one",
    )


def _unquoted(text: bytes) -> bytes:
    """The content of a text that is one JSON string, as ``jq`` prints it; other texts as they are."""
    if text.lstrip()[:1] != b'"':
        return text
    try:
        content: str = parse_json(text, str)
    except NOT_JSON as error:
        raise NotEvidence(f"the file starts like a JSON string but is not: {error}") from error
    return content.encode()


def _of_armour(label: str, content: bytes) -> Evidence:
    if (raw := recognise_binary(content)) is not None:
        return replace(raw, source="pem")
    remedy = "pass certificates by --endorsement, beside the evidence" if "CERTIFICATE" in label else ""
    raise NotEvidence(f"the PEM block {label!r} holds no evidence of a supported TEE", remedy=remedy)
