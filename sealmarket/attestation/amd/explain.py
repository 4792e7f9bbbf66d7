"""The ``snp`` section of an appraisal policy as sentences."""

from __future__ import annotations

from collections.abc import Iterator

from sealmarket.attestation.amd.rules import SnpRules


def explain(rules: SnpRules) -> Iterator[str]:
    """What is required of SEV-SNP guests and platforms."""
    yield f"CPU generations allowed: {', '.join(rules.generations)}."
    spelled = {"warn": "accepted with a warning", "refuse": "refused", "accept": "ACCEPTED without a warning"}
    yield f"Milan, whose key seed was extracted by software, is {spelled[rules.milan]}."
    yield f"Reports may be signed by: {', '.join(rules.signing_keys)}."
    yield f"The report's privilege level is at most VMPL{rules.maximum_vmpl}."
    needed = ", ".join(m.value for m in rules.mitigations_required)
    yield f"Mitigations that must be on: {needed}." if needed else "NO mitigation is required."
    for tcb in rules.minimum_tcb:
        yield (
            f"{tcb.generation} firmware is at least bootloader {tcb.bootloader}, tee {tcb.tee}, snp {tcb.snp}, "
            f"microcode {tcb.microcode}, fmc {tcb.fmc}."
        )
