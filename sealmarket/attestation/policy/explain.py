"""An appraisal policy as sentences: what it requires, and, as prominently, what it leaves open."""

from __future__ import annotations

from collections.abc import Iterator

from sealmarket.attestation.azure.explain import explain as explain_paravisor
from sealmarket.attestation.policy.rules import AppraisalPolicy, Custody
from sealmarket.attestation.policy.verify import section
from sealmarket.attestation.registry import module_of
from sealmarket_enclave.protocol.numbers import Grade, Tee


def explain(rules: AppraisalPolicy) -> Iterator[str]:
    """One sentence for each rule, in the order in which they are appraised."""
    tees = sorted({m.tee for m in rules.measurements})
    yield from _common(rules, tees)
    # SGX and TDX share sentences about their platforms: each is given once.
    yield from explain_paravisor(rules.azure)
    yield from dict.fromkeys(sentence for tee in tees for sentence in _of_vendor(rules, tee))


def _of_vendor(rules: AppraisalPolicy, tee: Tee) -> Iterator[str]:
    module = module_of(tee)
    return module.explain(section(rules, module))


def _common(rules: AppraisalPolicy, tees: list[Tee]) -> Iterator[str]:
    if Grade.from_slug(rules.lowest_grade) is Grade.HARDWARE:
        yield "Evidence must end in a vendor's root: simulated evidence is refused."
    else:
        yield "SIMULATED evidence is accepted: nothing but a development machine need stand behind it."
    yield "Debug is always refused."
    yield f"{len(rules.measurements)} measurement(s) are allowed, for {', '.join(sorted(t.slug for t in tees))}."
    for measurement in rules.measurements:
        yield f"  {measurement.tee.slug} {measurement.digest()}"
    if rules.platforms == "any":
        yield "ANY platform may run it: rules that name platforms also survive keys extracted from other machines."
    else:
        yield f"Only {len(rules.platforms)} named platform(s) may run it."
    if rules.lowest_custody is not Custody.UNKNOWN:
        yield f"A platform must be in {rules.lowest_custody.value} custody or stronger."
    yield f"Evidence is at most {rules.maximum_age_seconds} seconds old when it is appraised."
