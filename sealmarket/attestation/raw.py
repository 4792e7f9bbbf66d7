"""Evidence as a device wrote it and endorsements as a package carries them, of a TEE that the caller names.

Oracle nodes and verifiers of receipts read evidence by this module alone: nothing is decoded, unwrapped or guessed.
Files of people and agents, in whatever encoding, are read by :mod:`sealmarket.attestation.parse`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sealmarket.attestation.core.certificates import require_at_most
from sealmarket.attestation.core.errors import refuse
from sealmarket.attestation.core.evidence import CompositeEvidence, Endorsements, Evidence
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.registry import MODULES, module_of
from sealmarket_enclave.protocol.numbers import Tee

MAXIMUM_RAW = 64 << 10
"""A quote or report. Genuine ones have up to 8,000 bytes."""
MAXIMUM_ENDORSEMENTS = 4 << 20
"""The endorsements of one platform as text. Genuine ones have 20 to 100 KiB."""


def parse_raw(tee: Tee, data: bytes) -> Evidence:
    """The device's own bytes as evidence of the named TEE; they are as untrusted as before.

    Raises:
        EvidenceRefused: longer than ``MAXIMUM_RAW``, of another TEE, in any encoding, or of a TEE without a module.
    """
    module = module_of(tee)
    if len(data) > MAXIMUM_RAW:
        refuse(Reason.MALFORMED, f"at most {MAXIMUM_RAW} bytes of {tee.slug} evidence", len(data))
    if not module.recognises(data):
        for other in MODULES.values():
            if other.recognises(data):
                refuse(Reason.TEE_MISMATCH, tee.slug, other.tee.slug)
        start = f"{len(data)} bytes that start with {data[:8].hex()}"
        refuse(Reason.UNSUPPORTED_FORMAT, f"{tee.slug} evidence as its device wrote it", start)
    return Evidence(tee=tee, raw=data)


RawDevice = tuple[Tee, bytes, Sequence[bytes]]
"""A device's kind, its own bytes, and its certificates in DER."""


def parse_machine(cpu: Evidence, binding: bytes, devices: Iterable[RawDevice]) -> CompositeEvidence:
    """A CPU's evidence with its binding quote, and devices.

    Raises:
        EvidenceRefused: as :func:`parse_raw`.
    """
    return CompositeEvidence(
        cpu=cpu,
        binding=parse_raw(cpu.tee, binding),
        devices=tuple(replace(parse_raw(tee, raw), certificates=tuple(chain)) for tee, raw, chain in devices),
    )


def parse_endorsements(tee: Tee, text: str) -> Endorsements:
    """The endorsements that an evidence package holds as text; none where the text is empty.

    Raises:
        CollateralError: longer than ``MAXIMUM_ENDORSEMENTS``, or the TEE's module cannot read them.
        EvidenceRefused: the TEE is not registered.
    """
    module = module_of(tee)
    require_at_most(MAXIMUM_ENDORSEMENTS, len(text), "characters of endorsements")
    return module.read_endorsements(text.encode()) if text else Endorsements()
