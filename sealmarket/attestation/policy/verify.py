"""Verification for every TEE: :func:`authenticate` (authentic?), then :func:`appraise` (acceptable?).

A relying party, such as an oracle node, calls them so::

    evidence = parse_raw(Tee.TDX, raw)
    endorsements = parse_endorsements(Tee.TDX, collateral_json)
    anchors = TrustAnchors.production()
    report = authenticate(evidence, endorsements, anchors, now)
    expected = Expected(report_data=report_data, tee=Tee.TDX, collected_at=block_time)
    result = appraise(report, policy, now, expected)
    result.accepted, result.findings, result.warnings

``parse_raw`` and ``authenticate`` raise EvidenceRefused. ``TrustAnchors.with_development(root_der)`` also trusts
a simulated device. ``verify`` does both steps and turns a refusal of the first into a result with one finding.
``report.measurement.digest()`` is the measurement's part of the market's leaf; ``report.evidence_digest`` names the
evidence in a replay cache.

The rules that hold for every TEE, in :func:`appraise`, which names everything that is wrong at once:

1. The evidence is of the TEE that was promised.
2. The grade of its root is not below the policy's.
3. It is not in debug, whatever the policy says.
4. All 64 bytes of report data are the expected ones.
5. The measurement is one of the allowed tuples, all fields of it.
6. The platform is named by the policy, in custody at least as strong as it says, unless it says "any".
7. It is no older than the policy allows, by the time that it says itself (Nitro) and by the time at which it was
   collected. A matched report data bounds the age by itself: it commits to what
   its verifier chose.
8. A device beside a CPU counts only where a CPU TEE commits to it (:mod:`sealmarket.attestation.policy.composite`),
   and a CPU TEE has the devices that the policy demands.
9. The rules of this TEE's own module hold, and those of a paravisor where one stands before the guest.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Literal, cast

from sealmarket.attestation.azure.authenticate import Paravisor, behind_paravisor
from sealmarket.attestation.azure.findings import findings as findings_of_paravisor
from sealmarket.attestation.azure.rules import AzureRules
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.errors import EvidenceRefused, refuse
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.findings import Finding, Severity
from sealmarket.attestation.core.model import AppraisalResult, AuthenticReport
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.core.tee import Anchors, TeeModule
from sealmarket.attestation.policy.rules import AppraisalPolicy, Custody, GradeSlug, check_rules
from sealmarket.attestation.registry import MODULES, module_of
from sealmarket_enclave.protocol.codec import Shape
from sealmarket_enclave.protocol.numbers import Grade, Tee

_CLOCK_SKEW = timedelta(seconds=60)
_GRADES = {grade.slug: grade for grade in Grade}


class Unchecked(Enum):
    """Passed explicitly by a caller that has no report data to expect."""

    UNCHECKED = "unchecked"


UNCHECKED: Literal[Unchecked.UNCHECKED] = Unchecked.UNCHECKED


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the relying party knows of this session: the report data, the promised TEE, the time of collection.

    ``report_data`` is all 64 bytes, or ``UNCHECKED``. ``collected_at`` is a time at which the evidence existed
    already (its block's time), None if unknown. ``bound`` says that a CPU TEE commits to this evidence of a device;
    ``devices`` are those that this CPU TEE commits to.
    """

    report_data: bytes | Literal[Unchecked.UNCHECKED]
    tee: Tee | None = None
    collected_at: datetime | None = None
    bound: bool = False
    devices: tuple[AuthenticReport, ...] = ()

    def __post_init__(self) -> None:
        if self.report_data is not UNCHECKED and len(self.report_data) != 64:
            raise ValueError(f"expected report data is 64 bytes, found {len(self.report_data)}")


def section(rules: AppraisalPolicy, module: TeeModule) -> Shape | None:
    """The part of the policy that holds this TEE's own rules; None if the TEE has none."""
    return getattr(rules, module.section) if module.section else None


def authenticate(evidence: Evidence, endorsements: Endorsements, anchors: Anchors, now: datetime) -> AuthenticReport:
    """Prove evidence up to a trust anchor.

    Raises:
        EvidenceRefused: the first step that failed, as a finding.
    """
    if now.tzinfo is None:
        refuse(Reason.CLOCK_MISSING, "the time of verification with its zone", now.isoformat())
    report = module_of(evidence.tee).authenticate(evidence, endorsements, anchors, now)
    return report if evidence.runtime_data is None else behind_paravisor(report, evidence)


def appraise(report: AuthenticReport, rules: AppraisalPolicy, now: datetime, expected: Expected) -> AppraisalResult:
    """Appraise an authentic report against a policy; name everything that the policy refuses.

    Raises:
        InvalidRules: the policy is not usable as written.
    """
    check_rules(rules)
    return _appraise(report, rules, section(rules, module_of(report.tee)), now, expected, ())


def inspect(
    report: AuthenticReport, now: datetime, expected: Expected, lowest_grade: Grade = Grade.HARDWARE
) -> AppraisalResult:
    """Appraise a report against the built-in strict rules where no policy is given.

    The result's notes name what is unchecked.
    """
    module = module_of(report.tee)
    rules = AppraisalPolicy(
        measurements=(report.measurement,),
        platforms="any",
        lowest_grade=cast("GradeSlug", lowest_grade.slug),
        azure=AzureRules(paravisor="allowed"),
        maximum_age_seconds=int(module.oldest_without_policy.total_seconds()),
    )
    own = module.without_policy or section(rules, module)
    notes = ["measurement unchecked", "platform unchecked"]
    if expected.collected_at is None and report.signed_at is None and expected.report_data is UNCHECKED:
        notes.append("age unchecked")
        expected = Expected(
            report_data=UNCHECKED, tee=expected.tee, collected_at=now, bound=expected.bound, devices=expected.devices
        )
    if module.is_device and not expected.bound:
        notes.append("binding to a CPU TEE unchecked")
        expected = replace(expected, bound=True)
    return _appraise(report, rules, own, now, expected, tuple(notes))


def verify(
    evidence: Evidence,
    endorsements: Endorsements,
    anchors: TrustAnchors,
    now: datetime,
    expected: Expected,
    rules: AppraisalPolicy | None = None,
) -> AppraisalResult:
    """Authenticate and appraise; evidence that is not authentic gives a result with the finding that stopped it.

    ``simulated`` evidence passes without a policy if ``anchors`` hold a development root.
    """
    try:
        report = authenticate(evidence, endorsements, anchors, now)
    except EvidenceRefused as refusal:
        return AppraisalResult(tee=evidence.tee, report=None, findings=(refusal.finding,))
    return decide(report, anchors, now, expected, rules)


def decide(
    report: AuthenticReport, anchors: TrustAnchors, now: datetime, expected: Expected, rules: AppraisalPolicy | None
) -> AppraisalResult:
    """Appraise under a policy, or inspect without one."""
    if rules is not None:
        return appraise(report, rules, now, expected)
    return inspect(report, now, expected, Grade.SIMULATED if anchors.names_development else Grade.HARDWARE)


def _appraise(
    report: AuthenticReport,
    rules: AppraisalPolicy,
    own: Shape | None,
    now: datetime,
    expected: Expected,
    notes: tuple[str, ...],
) -> AppraisalResult:
    if expected.report_data is UNCHECKED:
        notes = (*notes, "report data unchecked")
    if report.grade is Grade.SIMULATED:
        notes = (*notes, "SIMULATED evidence: no hardware stands behind it")
    of_this_tee = module_of(report.tee).findings(report, own, rules.measurements, now)
    found = [*_common(report, rules, now, expected), *of_this_tee]
    if isinstance(report.paravisor, Paravisor):
        found += findings_of_paravisor(report.paravisor, rules.azure)
    return AppraisalResult(
        tee=report.tee,
        report=report,
        findings=tuple([f for f in found if f.severity is Severity.REFUSAL]),
        warnings=tuple([f for f in found if f.severity is Severity.WARNING]),
        notes=notes,
    )


def _common(report: AuthenticReport, rules: AppraisalPolicy, now: datetime, expected: Expected) -> Iterator[Finding]:
    if expected.tee is not None and report.tee is not expected.tee:
        yield Finding(Reason.TEE_MISMATCH, expected.tee.slug, report.tee.slug)
    if report.grade < _GRADES[rules.lowest_grade]:
        yield Finding(Reason.GRADE_TOO_LOW, rules.lowest_grade, report.grade.slug)
    if report.debug:
        yield Finding(Reason.DEBUG, "debug off", "debug on")
    if expected.report_data is not UNCHECKED and not hmac.compare_digest(report.report_data, expected.report_data):
        yield Finding(Reason.REPORT_DATA_MISMATCH, expected.report_data.hex(), report.report_data.hex())
    if report.measurement not in rules.measurements:
        yield Finding(
            Reason.MEASUREMENT_NOT_ALLOWED,
            f"one of {len(rules.measurements)} allowed measurements",
            str(report.measurement.digest()),
        )
    if not module_of(report.tee).is_device:
        yield from beside(expected.devices, rules)
    elif not expected.bound:
        yield Finding(Reason.DEVICE_UNBOUND, "a CPU TEE whose report data commits to this device", "none")
    yield from _platform(report, rules)
    yield from _age(report, rules, now, expected)


def _platform(report: AuthenticReport, rules: AppraisalPolicy) -> Iterator[Finding]:
    if rules.platforms == "any":
        return
    digest = report.platform.digest(report.tee)
    if digest is None:
        yield Finding(Reason.PLATFORM_UNIDENTIFIED, "evidence that names its platform", "a masked identity")
        return
    rule = next((p for p in rules.platforms if p.tee == report.tee.slug and p.digest == digest), None)
    custody = rule.custody if rule else Custody.UNKNOWN
    if rule is None:
        yield Finding(Reason.PLATFORM_NOT_ALLOWED, f"one of {len(rules.platforms)} named platforms", str(digest))
    elif custody.rank < rules.lowest_custody.rank:
        yield Finding(Reason.CUSTODY_TOO_LOW, rules.lowest_custody.value, custody.value)


def _age(report: AuthenticReport, rules: AppraisalPolicy, now: datetime, expected: Expected) -> Iterator[Finding]:
    known = [moment for moment in (report.signed_at, expected.collected_at) if moment is not None]
    if not known and expected.report_data is UNCHECKED:
        yield Finding(Reason.EVIDENCE_AGE_UNKNOWN, f"at most {rules.maximum_age_seconds} s old", "unknown")
    for moment in known:
        yield from _age_of(now - moment, rules)


def _age_of(age: timedelta, rules: AppraisalPolicy) -> Iterator[Finding]:
    if age > timedelta(seconds=rules.maximum_age_seconds):
        yield Finding(
            Reason.EVIDENCE_STALE,
            f"at most {rules.maximum_age_seconds} s old",
            f"{int(age.total_seconds())} s",
        )
    elif age < -_CLOCK_SKEW:
        yield Finding(Reason.EVIDENCE_STALE, "collected in the past", f"{int(-age.total_seconds())} s in the future")


def beside(devices: Iterable[AuthenticReport], rules: AppraisalPolicy | None) -> Iterator[Finding]:
    """What the rules of each vendor of devices refuse about the devices of a machine, taken together.

    Without a policy these are the rules for inspection.
    """
    reports = tuple(devices)
    for tee, module in MODULES.items():
        if module.is_device:
            own = section(rules, module) if rules else module.without_policy
            yield from module.beside([report for report in reports if report.tee is tee], own)


def demands_devices(rules: AppraisalPolicy) -> bool:
    """Whether a CPU alone is refused for the devices that it has not."""
    return any(True for _ in beside((), rules))


def duplicates(reports: Iterable[AuthenticReport]) -> tuple[Finding, ...]:
    """Machines that appear more than once where each counts once, and machines whose identity is masked."""
    seen = Counter((report.tee, report.platform.identity) for report in reports)
    return tuple(
        Finding(Reason.PLATFORM_DUPLICATE, f"each {tee.slug} platform once", f"{identity.hex()} {count} times")
        if identity is not None
        else Finding(Reason.PLATFORM_UNIDENTIFIED, f"{tee.slug} evidence that names its platform", f"{count} masked")
        for (tee, identity), count in seen.items()
        if count > 1 or identity is None
    )


def unverified_claims(evidence: Evidence) -> dict[str, Any]:
    """What evidence claims, without any proof: for display, never for a decision.

    Raises:
        EvidenceRefused: it does not follow its layout, or its TEE is not registered.
    """
    return module_of(evidence.tee).claims(evidence)
