"""A policy against past evidence: what it would have refused, before it is published.

A case file is a JSON list of ``{"evidence", "at", "collateral", "endorsements", "eventLog", "reportData",
"collectedAt", "developmentRoots"}``: paths beside the file, ISO 8601 times, hex. ``evidence`` and ``at``
are needed. Without ``collectedAt`` evidence counts as collected at ``at``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import Meta

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.encoding import binary_of, text_of
from sealmarket.attestation.core.errors import AttestationError
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.model import AppraisalResult
from sealmarket.attestation.core.unreadable import NOT_JSON
from sealmarket.attestation.parse import parse
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.attestation.policy.verify import UNCHECKED, Expected, verify
from sealmarket.attestation.registry import module_of
from sealmarket.files import read_file


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    evidence: str
    at: datetime
    collateral: str | None = None
    endorsements: tuple[str, ...] = ()
    event_log: str | None = None
    report_data: Annotated[str, Meta(pattern="^(0x)?[0-9a-fA-F]{128}$")] | None = None
    collected_at: datetime | None = None
    development_roots: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One piece of past evidence with what was known when it was appraised."""

    name: str
    evidence: Evidence
    endorsements: Endorsements
    anchors: TrustAnchors
    at: datetime
    expected: Expected


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one case under the policy."""

    name: str
    result: AppraisalResult


def read_cases(path: Path) -> tuple[Case, ...]:
    """The cases of a file. Raises :class:`AttestationError` naming the file that cannot be used."""
    try:
        entries = msgspec.json.decode(read_file(path), type=tuple[_Entry, ...])
        return tuple(_case(path.parent, entry) for entry in entries)
    except (OSError, *NOT_JSON) as error:
        raise AttestationError(f"{path} is not a list of past evidence: {error}") from error


def _case(folder: Path, entry: _Entry) -> Case:
    evidence = parse(read_file(folder / entry.evidence))
    if entry.event_log is not None:
        evidence = replace(evidence, event_log=read_file(folder / entry.event_log))
    module = module_of(evidence.tee)
    endorsements = module.read_files(binary_of(read_file(folder / name)) for name in entry.endorsements)
    if entry.collateral:
        carried = module.read_endorsements(text_of(read_file(folder / entry.collateral)))
        endorsements = endorsements.and_also(carried)
    roots = Endorsements.read(binary_of(read_file(folder / name)) for name in entry.development_roots).certificates
    data = bytes.fromhex(entry.report_data.removeprefix("0x")) if entry.report_data else UNCHECKED
    return Case(
        name=entry.evidence,
        evidence=evidence,
        endorsements=endorsements,
        anchors=TrustAnchors.production().with_development(*(root.public_bytes(Encoding.DER) for root in roots)),
        at=entry.at,
        expected=Expected(report_data=data, collected_at=entry.collected_at or entry.at),
    )


def simulate(rules: AppraisalPolicy, case: Case) -> Outcome:
    """One case under a policy, as of its own time."""
    return Outcome(case.name, verify(case.evidence, case.endorsements, case.anchors, case.at, case.expected, rules))
