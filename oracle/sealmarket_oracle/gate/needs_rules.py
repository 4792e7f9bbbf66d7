"""Gate, step 10: do the cards of the job's assets promise what its workload needs of its inputs?

Pure. The needs stand in the manifest that the workload's digest covers, which the evidence package shows; cards and
parameters are documents of the store. The rules are :mod:`sealmarket_enclave.workload.needs`: clients apply the same
before a request is signed, so a refusal here is the request's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sealmarket.attestation.policy.owners import OwnersPolicy
from sealmarket.protocol.reasons import JobReason
from sealmarket_enclave.protocol.card import Card, promised
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.workload.bundle import DigestManifest
from sealmarket_enclave.workload.errors import ParametersRefused
from sealmarket_enclave.workload.manifest import InputSlot, filled, undivided, unmet_needs
from sealmarket_oracle.gate.capability_rules import shown_manifest
from sealmarket_oracle.gate.chain_rules import note
from sealmarket_oracle.gate.inputs import (
    AppraisalInput,
    EvidenceShown,
    EvidenceUnavailable,
    FaultRow,
    JobDocuments,
    Violation,
)


def needs_violations(
    case: AppraisalInput,
    shown: EvidenceShown | EvidenceUnavailable,
    documents: JobDocuments,
    policies: Sequence[OwnersPolicy | None],
) -> Iterator[Violation]:
    """What the workload needs and a card does not promise.

    Nothing without a manifest, a policy, parameters, or a card that reads: steps 3, 4 and 12 name what is wrong there.
    """
    manifest = shown_manifest(case, shown)
    if manifest is None or documents.parameters is None or None in policies:
        return
    try:
        needed = _needed(manifest, len(case.assets))
    except ParametersRefused as error:
        yield _unmet("workload", f"{error.expected} assets", error.got)
        return
    cards: list[Card | None] = []
    for policy, of_slot in zip(policies, needed, strict=True):
        name = policy.document.data_card if policy is not None else None
        raw = documents.cards.get(name) if name is not None else None
        if of_slot and raw is None and name != ZERO_HASH:
            return
        try:
            cards.append(promised(raw) if of_slot and raw is not None else None)
        except SealmarketError:
            return
    withholds = [policy.document.output.withholds if policy is not None else 0 for policy in policies]
    found = (*unmet_needs(manifest.inputs, cards, documents.parameters), *undivided(manifest.inputs, withholds))
    for one in found:
        subject: Bytes32 | str = case.assets[one.asset].use.asset_id if one.asset is not None else "assets together"
        yield _unmet(subject, one.expected, one.found)


def _needed(manifest: DigestManifest, count: int) -> list[bool]:
    """For each asset, whether its slot needs anything."""
    slots: list[InputSlot] = [slot for slot, held in filled(manifest.inputs, count) for _ in range(held)]
    return [slot.required() is not None for slot in slots]


def _unmet(subject: Bytes32 | str, expected: str, found: object) -> Violation:
    return Violation(FaultRow.REQUEST, note(JobReason.NEEDS_UNMET, subject, expected, found))
