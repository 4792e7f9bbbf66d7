"""Guests behind Azure's paravisor: acceptable? Everything that the policy refuses, at once.

1. The policy allows a paravisor by name.
2. A vTPM quote proves the guest's registers; where no policy names any, its absence warns.
3. Every register that the rules name holds a value that they name.
4. Secure boot is on, unless the rules say "any".
"""

from __future__ import annotations

from collections.abc import Iterator

from sealmarket.attestation.azure.authenticate import Paravisor
from sealmarket.attestation.azure.rules import AzureRules
from sealmarket.attestation.core.findings import Finding, Severity
from sealmarket.attestation.core.reasons import Reason


def findings(paravisor: Paravisor, rules: AzureRules) -> Iterator[Finding]:
    """What the rules refuse about a guest behind a paravisor."""
    if rules.paravisor == "refused":
        yield Finding(Reason.PARAVISOR_NOT_ALLOWED, "a guest that the hardware measured", "a guest behind a paravisor")
    if paravisor.pcrs is None:
        severity = Severity.REFUSAL if rules.pcrs else Severity.WARNING
        yield Finding(Reason.VTPM_MISSING, "a vTPM quote of the guest", "none", severity=severity)
    elif not rules.pcrs:
        expected = "registers that the rules name"
        yield Finding(Reason.VTPM_PCRS, expected, "registers unchecked", severity=Severity.WARNING)
    for index in sorted({pcr.index for pcr in rules.pcrs}):
        wanted = {pcr.value for pcr in rules.pcrs if pcr.index == index}
        value = (paravisor.pcrs or {}).get(index)
        if value not in wanted:
            found = "not quoted" if value is None else value.hex()
            yield Finding(Reason.VTPM_PCRS, f"PCR{index} {' or '.join(v.hex() for v in sorted(wanted))}", found)
    if rules.secure_boot == "required" and not paravisor.secure_boot:
        yield Finding(Reason.MITIGATION_MISSING, "secure boot on, as the paravisor says", "off, or not said")
