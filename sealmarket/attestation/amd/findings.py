"""AMD SEV-SNP reports: acceptable? Everything that the policy refuses, at once.

1. A revocation list of the root's that does not revoke the intermediate was checked, unless the policy makes its
   absence a warning.
2. The guest policy: bit 17 set, no migration agent, no bit that is not known.
3. The report comes from a privilege level that is allowed.
4. A kind of signing key that is allowed.
5. reported <= committed <= current TCB, part by part: firmware that can be rolled back proves no level.
6. Reported, committed and launch TCB reach the generation's minimum. Rules that name minima name every
   generation that they accept.
7. The generation is allowed; Milan as the rules say.
8. Required mitigations are on; SMT off where the policy requires it.
9. Host data, and the ID block's key, where the rules name them.

Debug and the measurement as a whole are appraised for every TEE alike.

Checks considered and rejected: guest SVN and family or image ids (chosen with the ID block, whose key can
be named), the mitigation vectors of version 5 (AMD does not specify what a verifier requires), platform
firmware by version (the TCB's SNP part covers it).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from sealmarket.attestation.amd.authenticate import POLICY_KNOWN_BITS, POLICY_MIGRATE_MA, POLICY_RESERVED_ONE, SnpBody
from sealmarket.attestation.amd.measurement import SnpMeasurement
from sealmarket.attestation.amd.report import SnpTcbVersion
from sealmarket.attestation.amd.rules import SnpRules
from sealmarket.attestation.core.findings import Finding, Severity
from sealmarket.attestation.core.model import AuthenticReport, MeasurementTuple
from sealmarket.attestation.core.reasons import Reason

_PLATFORM_SMT = 0
_NO_MIGRATION_AGENT = b"\xff" * 32


def findings(report: AuthenticReport, rules: SnpRules, allowed: Sequence[MeasurementTuple]) -> Iterator[Finding]:
    """What the rules refuse about an SNP report. AMD dates no level, so no rule depends on the time."""
    body = report.body
    assert isinstance(body, SnpBody)
    yield from _revocation(body, rules)
    yield from _guest_policy(body)
    yield from _signer(body, rules)
    yield from _tcb_order(body)
    yield from _minimum_tcb(report, body, rules)
    yield from _generation(report, rules)
    yield from _mitigations(report, body, rules)
    yield from _launch_choices(report, body, rules, allowed)


def _revocation(body: SnpBody, rules: SnpRules) -> Iterator[Finding]:
    if not body.revocation_checked:
        severity = Severity.REFUSAL if rules.revocation == "required" else Severity.WARNING
        yield Finding(
            Reason.CRL_INVALID, f"a current revocation list of ARK-{body.leaf.product}", "none", severity=severity
        )


def _guest_policy(body: SnpBody) -> Iterator[Finding]:
    policy = body.report.policy
    if not policy >> POLICY_RESERVED_ONE & 1:
        yield Finding(Reason.SNP_POLICY, "bit 17 set, as the ABI says", "clear")
    if policy >> POLICY_MIGRATE_MA & 1:
        yield Finding(Reason.SNP_POLICY, "MIGRATE_MA clear", "set")
    if unknown := policy >> POLICY_KNOWN_BITS:
        yield Finding(Reason.SNP_POLICY, "only known policy bits", f"{unknown << POLICY_KNOWN_BITS:#x}")
    if body.report.report_id_ma != _NO_MIGRATION_AGENT:
        yield Finding(Reason.SNP_POLICY, "no migration agent", body.report.report_id_ma.hex())


def _signer(body: SnpBody, rules: SnpRules) -> Iterator[Finding]:
    if body.report.vmpl > rules.maximum_vmpl:
        yield Finding(Reason.SNP_VMPL, f"VMPL at most {rules.maximum_vmpl}", str(body.report.vmpl))
    if body.leaf.kind not in rules.signing_keys:
        wanted = " or ".join(rules.signing_keys) or "none"
        reason = Reason.SNP_VLEK_NOT_ALLOWED if body.leaf.kind == "vlek" else Reason.SNP_SIGNING_KEY
        yield Finding(reason, f"signed by {wanted}", body.leaf.kind)


def _tcb_order(body: SnpBody) -> Iterator[Finding]:
    order = (("reported", body.reported), ("committed", body.committed), ("current", body.current))
    for (low_name, low), (high_name, high) in pairwise(order):
        if not high.reaches(low):
            yield Finding(Reason.SNP_TCB_ORDER, f"{low_name} TCB at most the {high_name} {high}", str(low))


def _minimum_tcb(report: AuthenticReport, body: SnpBody, rules: SnpRules) -> Iterator[Finding]:
    if not rules.minimum_tcb:
        return
    names = (report.platform.generation or body.leaf.product).split("/")
    floors = [f for f in rules.minimum_tcb if f.generation in names]
    if {f.generation for f in floors} != set(names):
        yield Finding(Reason.SNP_TCB_TOO_LOW, f"a minimum TCB for {' and '.join(names)} in the rules", "none")
    for f in floors:
        floor = SnpTcbVersion(bootloader=f.bootloader, tee=f.tee, snp=f.snp, microcode=f.microcode, fmc=f.fmc)
        for name in ("reported", "committed", "launch"):
            found: SnpTcbVersion = getattr(body, name)
            if not found.reaches(floor):
                yield Finding(Reason.SNP_TCB_TOO_LOW, f"{name} TCB at least {floor}", str(found))


def _generation(report: AuthenticReport, rules: SnpRules) -> Iterator[Finding]:
    name = report.platform.generation or ""
    if not all(part in rules.generations for part in name.split("/")):
        yield Finding(Reason.GENERATION_NOT_ALLOWED, " or ".join(rules.generations) or "none", name)
    if name == "Milan" and rules.milan != "accept":
        severity = Severity.REFUSAL if rules.milan == "refuse" else Severity.WARNING
        yield Finding(
            Reason.GENERATION_NOT_ALLOWED,
            "a generation whose key hierarchy was not extracted",
            "Milan (arXiv 2605.12990)",
            severity=severity,
        )


def _mitigations(report: AuthenticReport, body: SnpBody, rules: SnpRules) -> Iterator[Finding]:
    for mitigation in rules.mitigations_required:
        if mitigation.value not in report.mitigations:
            yield Finding(Reason.MITIGATION_MISSING, f"{mitigation.value} on", "off, or not reported")
    if rules.smt == "off" and body.report.platform_info >> _PLATFORM_SMT & 1:
        yield Finding(Reason.MITIGATION_MISSING, "SMT off", "on")


def _launch_choices(
    report: AuthenticReport, body: SnpBody, rules: SnpRules, allowed: Sequence[MeasurementTuple]
) -> Iterator[Finding]:
    raw = body.report
    found = report.measurement
    assert isinstance(found, SnpMeasurement)
    same_code = [
        m
        for m in allowed
        if isinstance(m, SnpMeasurement) and (m.launch_digest, m.policy) == (found.launch_digest, found.policy)
    ]
    if same_code and all(m.host_data != found.host_data for m in same_code):
        wanted = " or ".join(sorted({m.host_data.hex() for m in same_code}))
        yield Finding(Reason.SNP_HOST_DATA, f"host data {wanted}", found.host_data.hex())
    keys = rules.id_key_digests
    if keys and raw.id_key_digest not in keys:
        wanted = " or ".join(key.hex() for key in keys)
        yield Finding(Reason.SNP_ID_BLOCK, f"an ID block signed by {wanted}", raw.id_key_digest.hex())
