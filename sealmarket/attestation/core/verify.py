"""The two questions, for every TEE: :func:`authenticate`, then :func:`appraise`.

How a relying party (an oracle node) calls them::

    evidence = parse(raw, Tee.TDX)                                     # NotEvidence
    roots = Roots.production()                                         # or .with_development(root_der), for
    simulated report = authenticate(evidence, Endorsements(collateral=collateral), roots, now)      #
    EvidenceRefused expected = Expected(report_data=report_data_64, tee=Tee.TDX, collected_at=block_time)
    verdict = appraise(report, rules, now, expected)                   # Verdict: .accepted, .findings,
    .warnings

``verify`` does both and turns a refusal of the first into a verdict with one finding. ``collateral`` is
``IntelCollateral.from_json(...)``. ``report.measurement.digest()`` is the measurement's part of the
market's leaf, ``report.evidence_digest`` the name of the evidence in a replay cache.

The rules that hold for every TEE, in :func:`appraise`, which names everything that is wrong at once:

1. The evidence is of the TEE that was promised.
2. The grade of its root is not below the rules'.
3. It is not in debug, whatever the rules say.
4. All 64 bytes of report data are the expected ones.
5. The measurement is one of the allowed tuples, all fields of it.
6. The platform is named by the rules, in custody at least as strong as they say, unless they say "any".
7. It is no older than the rules allow. A matched report data bounds the age by itself: it commits to what
   its verifier chose.
8. What only this TEE's module knows.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import cache
from hashlib import sha256
from typing import Any, Literal

from sealmarket.attestation.collateral.roots import Roots
from sealmarket.attestation.core.errors import EvidenceRefused, NotEvidence
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.model import AuthenticReport, Finding, Grade, Severity, Tee, Verdict
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.intel.quote import refuse
from sealmarket.attestation.policy.rules import Custody, EvidenceRules, SnpRules, check_rules

_CLOCK_SKEW = timedelta(seconds=60)
_SNP_WITHOUT_A_POLICY = SnpRules(revocation="warn")


class Unchecked(Enum):
    """Said aloud by a caller that has nothing to hold the report data against."""

    UNCHECKED = "unchecked"


UNCHECKED: Literal[Unchecked.UNCHECKED] = Unchecked.UNCHECKED


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the verifier knows and the rules do not: this session's report data, the promised TEE, when it
    was collected.

    ``report_data`` is all 64 bytes, or ``UNCHECKED``. ``collected_at`` is when the evidence was certainly
    made already (its block's time), None when nobody knows.
    """

    report_data: bytes | Literal[Unchecked.UNCHECKED]
    tee: Tee | None = None
    collected_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.report_data is not UNCHECKED and len(self.report_data) != 64:
            raise ValueError(f"expected report data is 64 bytes, found {len(self.report_data)}")


Authenticator = Callable[[Evidence, Endorsements, Roots, datetime], AuthenticReport]
Findings = Callable[[AuthenticReport, EvidenceRules, datetime], Iterator[Finding]]


@cache
def _module(tee: Tee) -> tuple[Authenticator, Findings]:
    """The one place that knows which module serves a TEE. Imported late: a verifier of one TEE loads one."""
    if tee in (Tee.SGX, Tee.TDX):
        from sealmarket.attestation.intel import authenticate as intel
        from sealmarket.attestation.intel import findings as intel_rules

        return intel.authenticate, intel_rules.findings
    if tee is Tee.SNP:
        from sealmarket.attestation.amd import authenticate as snp
        from sealmarket.attestation.amd import findings as snp_rules

        return snp.authenticate, snp_rules.findings
    raise NotEvidence(f"{tee.value} evidence is not supported by this version")


def authenticate(evidence: Evidence, endorsements: Endorsements, roots: Roots, now: datetime) -> AuthenticReport:
    """Prove evidence up to a trusted root.

    Raises:
        EvidenceRefused: the first step that failed, as a finding.
    """
    if now.tzinfo is None:
        refuse(Reason.CLOCK_MISSING, "the time of verification with its zone", now.isoformat())
    prove, _ = _module(evidence.tee)
    report = prove(evidence, endorsements, roots, now)
    if evidence.runtime_data is not None:
        wanted = sha256(evidence.runtime_data).digest() + bytes(32)
        if report.report_data != wanted:
            refuse(Reason.HCL_MISMATCH, f"report data {wanted.hex()}", report.report_data.hex())
    return report


def appraise(report: AuthenticReport, rules: EvidenceRules, now: datetime, expected: Expected) -> Verdict:
    """Hold an authentic report against rules; name everything that they refuse.

    Raises:
        InvalidRules: the rules are not usable as written.
    """
    check_rules(rules)
    return _appraise(report, rules, now, expected, ())


def inspect(
    report: AuthenticReport, now: datetime, expected: Expected, lowest_grade: Grade = Grade.HARDWARE
) -> Verdict:
    """Hold a report against the built-in strict rules where there is no policy; the verdict says what went
    unchecked."""
    rules = EvidenceRules(
        measurements=(report.measurement,),
        platforms="any",
        lowest_grade=lowest_grade,
        snp=_SNP_WITHOUT_A_POLICY,
    )
    notes = ["measurement unchecked", "platform unchecked"]
    if expected.collected_at is None and expected.report_data is UNCHECKED:
        notes.append("age unchecked")
        expected = Expected(report_data=UNCHECKED, tee=expected.tee, collected_at=now)
    return _appraise(report, rules, now, expected, tuple(notes))


def verify(
    evidence: Evidence,
    endorsements: Endorsements,
    roots: Roots,
    now: datetime,
    expected: Expected,
    rules: EvidenceRules | None = None,
) -> Verdict:
    """Both questions, explained: evidence that is not authentic gives a verdict with the one finding that
    stopped it."""
    try:
        report = authenticate(evidence, endorsements, roots, now)
    except EvidenceRefused as refusal:
        return Verdict(tee=evidence.tee, report=None, findings=(refusal.finding,))
    if rules is not None:
        return appraise(report, rules, now, expected)
    return inspect(report, now, expected, Grade.SIMULATED if roots.development else Grade.HARDWARE)


def _appraise(
    report: AuthenticReport, rules: EvidenceRules, now: datetime, expected: Expected, notes: tuple[str, ...]
) -> Verdict:
    if expected.report_data is UNCHECKED:
        notes = (*notes, "report data unchecked")
    if report.grade is Grade.SIMULATED:
        notes = (*notes, "SIMULATED evidence: no hardware stands behind it")
    _, of_this_tee = _module(report.tee)
    found = [*_common(report, rules, now, expected), *of_this_tee(report, rules, now)]
    return Verdict(
        tee=report.tee,
        report=report,
        findings=tuple(f for f in found if f.severity is Severity.REFUSAL),
        warnings=tuple(f for f in found if f.severity is Severity.WARNING),
        notes=notes,
    )


def _common(report: AuthenticReport, rules: EvidenceRules, now: datetime, expected: Expected) -> Iterator[Finding]:
    if expected.tee is not None and report.tee is not expected.tee:
        yield Finding(Reason.TEE_MISMATCH, expected.tee.value, report.tee.value)
    if report.grade.rank < rules.lowest_grade.rank:
        yield Finding(Reason.GRADE_TOO_LOW, rules.lowest_grade.value, report.grade.value)
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
    yield from _platform(report, rules)
    yield from _age(rules, now, expected)


def _platform(report: AuthenticReport, rules: EvidenceRules) -> Iterator[Finding]:
    if rules.platforms == "any":
        return
    digest = report.platform.digest(report.tee)
    if digest is None:
        yield Finding(Reason.PLATFORM_UNIDENTIFIED, "evidence that names its platform", "a masked identity")
        return
    rule = next((p for p in rules.platforms if p.tee is report.tee and p.digest == digest), None)
    custody = rule.custody if rule else Custody.UNKNOWN
    if rule is None:
        yield Finding(Reason.PLATFORM_NOT_ALLOWED, f"one of {len(rules.platforms)} named platforms", str(digest))
    elif custody.rank < rules.lowest_custody.rank:
        yield Finding(Reason.CUSTODY_TOO_LOW, rules.lowest_custody.value, custody.value)


def _age(rules: EvidenceRules, now: datetime, expected: Expected) -> Iterator[Finding]:
    if expected.collected_at is None:
        if expected.report_data is UNCHECKED:
            yield Finding(Reason.EVIDENCE_AGE_UNKNOWN, f"at most {rules.maximum_age_seconds} s old", "unknown")
        return
    age = now - expected.collected_at
    if age > timedelta(seconds=rules.maximum_age_seconds):
        yield Finding(
            Reason.EVIDENCE_STALE,
            f"at most {rules.maximum_age_seconds} s old",
            f"{int(age.total_seconds())} s",
        )
    elif age < -_CLOCK_SKEW:
        yield Finding(Reason.EVIDENCE_STALE, "collected in the past", f"{int(-age.total_seconds())} s in the future")


def duplicates(reports: Iterable[AuthenticReport]) -> tuple[Finding, ...]:
    """Machines that appear more than once where each should count once; those that hide their identity
    among them."""
    seen = Counter((report.tee, report.platform.identity) for report in reports)
    return tuple(
        Finding(Reason.PLATFORM_DUPLICATE, f"each {tee.value} platform once", f"{identity.hex()} {count} times")
        if identity is not None
        else Finding(Reason.PLATFORM_UNIDENTIFIED, f"{tee.value} evidence that names its platform", f"{count} masked")
        for (tee, identity), count in seen.items()
        if count > 1 or identity is None
    )


def unverified_claims(evidence: Evidence) -> dict[str, Any]:
    """What evidence says, without any proof: for looking at, never for deciding.

    Raises:
        EvidenceRefused: it does not follow its layout.
    """
    if evidence.tee in (Tee.SGX, Tee.TDX):
        from sealmarket.attestation.intel.quote import read_quote

        quote = read_quote(evidence.raw)
        return {**quote.body.claims(), "report_data": quote.body.report_data.hex(), "quote_version": quote.version}
    from sealmarket.attestation.amd import authenticate as snp

    return snp.unverified_claims(evidence)
