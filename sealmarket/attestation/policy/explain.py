"""Evidence rules in words: what they demand, and, as loudly, what they leave open."""

from __future__ import annotations

from collections.abc import Iterator

from sealmarket.attestation.core.model import Grade, TcbStatus, Tee
from sealmarket.attestation.policy.rules import Custody, EvidenceRules, IntelRules, SnpRules


def explain(rules: EvidenceRules) -> Iterator[str]:
    """One sentence for each rule, in the order in which they are appraised."""
    tees = {m.tee for m in rules.measurements}
    if rules.lowest_grade is Grade.HARDWARE:
        yield "Evidence must end in a vendor's root: simulated evidence is refused."
    else:
        yield "SIMULATED evidence is accepted: nothing but a development machine need stand behind it."
    yield "Debug is always refused."
    yield f"{len(rules.measurements)} measurement(s) are allowed, for {', '.join(sorted(t.value for t in tees))}."
    for measurement in rules.measurements:
        yield f"  {measurement.tee.value} {measurement.digest()}"
    if rules.platforms == "any":
        yield "ANY platform may run it: rules that name platforms also survive keys extracted from other machines."
    else:
        yield f"Only {len(rules.platforms)} named platform(s) may run it."
    if rules.lowest_custody is not Custody.UNKNOWN:
        yield f"A platform must be in {rules.lowest_custody.value} custody or stronger."
    yield f"Evidence is at most {rules.maximum_age_seconds} seconds old when it is appraised."
    if tees & {Tee.SGX, Tee.TDX}:
        yield from _intel(rules.intel, Tee.TDX in tees)
    if Tee.SNP in tees:
        yield from _snp(rules.snp)


def _intel(rules: IntelRules, tdx: bool) -> Iterator[str]:
    if rules.lowest_tcb_status is TcbStatus.UP_TO_DATE:
        yield "Intel must rate the platform UpToDate."
    else:
        yield f"Intel may rate the platform as low as {rules.lowest_tcb_status.value}."
    if rules.tcb_grace_seconds:
        yield f"A worse status passes for {rules.tcb_grace_seconds} seconds after the date of its TCB level."
    allowed = ", ".join(rules.advisories_allowed)
    yield f"Only these advisories may apply: {allowed}." if allowed else "No advisory may apply."
    if rules.minimum_evaluation_number:
        yield f"Collateral must be of TCB evaluation {rules.minimum_evaluation_number} or newer."
    else:
        yield "Collateral of any TCB evaluation that Intel still signs as valid is taken."
    if rules.platform_flags_refused:
        yield f"These platform features must be off: {', '.join(f.value for f in rules.platform_flags_refused)}."
    if tdx:
        if rules.sept_ve_disable == "any":
            yield "A TD WITHOUT SEPT_VE_DISABLE is accepted: its host can inject page faults (Azure's TDs are so)."
        names = ", ".join(a.value for a in rules.td_attributes_allowed) or "none"
        yield f"Further TD attributes allowed: {names}. Migration and profiling never."
        if rules.service_td_allowed:
            yield f"{len(rules.service_td_allowed)} service TD(s) may be bound."


def _snp(rules: SnpRules) -> Iterator[str]:
    yield f"CPU generations allowed: {', '.join(rules.generations)}."
    words = {"warn": "accepted with a warning", "refuse": "refused", "accept": "ACCEPTED in silence"}
    yield f"Milan, whose key seed was extracted by software, is {words[rules.milan]}."
    yield f"Reports may be signed by: {', '.join(rules.signing_keys)}."
    yield f"The report's privilege level is at most VMPL{rules.maximum_vmpl}."
    needed = ", ".join(m.value for m in rules.mitigations_required)
    yield f"Mitigations that must be on: {needed}." if needed else "NO mitigation is demanded."
    for tcb in rules.minimum_tcb:
        yield (
            f"{tcb.generation} firmware is at least bootloader {tcb.bootloader}, tee {tcb.tee}, snp {tcb.snp}, "
            f"microcode {tcb.microcode}, fmc {tcb.fmc}."
        )
