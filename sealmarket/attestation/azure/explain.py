"""The ``azure`` section of an appraisal policy as sentences."""

from __future__ import annotations

from collections.abc import Iterator

from sealmarket.attestation.azure.rules import AzureRules


def explain(rules: AzureRules) -> Iterator[str]:
    """What is required of guests behind Azure's paravisor; one sentence where they are refused."""
    if rules.paravisor == "refused":
        yield "A guest behind Azure's paravisor is refused: the hardware does not measure it."
        return
    yield "A guest behind Azure's paravisor is ACCEPTED: the paravisor, which Azure wrote, can read its memory."
    for pcr in rules.pcrs:
        yield f"The vTPM's PCR{pcr.index} may be {pcr.value.hex()}."
    if rules.secure_boot == "any":
        yield "Secure boot may be OFF in such a guest."
