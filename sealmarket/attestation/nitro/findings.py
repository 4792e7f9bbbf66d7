"""AWS Nitro documents: acceptable? Everything that the policy refuses, at once.

1. The user data is exactly 64 bytes, unless the rules say "any".
2. Registers that the rules name hold a value that they name.
3. A register beside the measurement's, the parent's (3, 4) and the named ones is zero, unless the rules say "any".

Debug, the measurement and the document's age are appraised for every TEE alike.

Checks considered and rejected: the parent's role and instance by default (the parent is the untrusted host), the module
id (it names the instance, which the policy's platforms may name).
"""

from __future__ import annotations

from collections.abc import Iterator

from sealmarket.attestation.core.findings import Finding
from sealmarket.attestation.core.model import AuthenticReport
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.nitro.authenticate import NitroBody
from sealmarket.attestation.nitro.document import PCR_SIZE, REPORT_DATA_SIZE
from sealmarket.attestation.nitro.rules import NitroRules

_ZERO = bytes(PCR_SIZE)
_MEASURED = frozenset({0, 1, 2, 8})
_OF_THE_PARENT = frozenset({3, 4})


def findings(report: AuthenticReport, rules: NitroRules) -> Iterator[Finding]:
    """What the rules refuse about a Nitro document."""
    body = report.body
    assert isinstance(body, NitroBody)
    data = body.document.user_data
    if rules.user_data == "required" and (data is None or len(data) != REPORT_DATA_SIZE):
        found = "none" if data is None else f"{len(data)} bytes"
        yield Finding(Reason.NITRO_USER_DATA, f"user data of {REPORT_DATA_SIZE} bytes", found)
    pcrs = body.document.pcrs
    named = {pcr.index for pcr in rules.pcrs}
    for index in sorted(named):
        wanted = {pcr.value for pcr in rules.pcrs if pcr.index == index}
        value = pcrs.get(index, _ZERO)
        if value not in wanted:
            yield Finding(Reason.NITRO_PCR, f"PCR{index} {' or '.join(v.hex() for v in sorted(wanted))}", value.hex())
    if rules.further_pcrs == "zero":
        used = {index for index, value in pcrs.items() if value != _ZERO}
        for index in sorted(used - named - _MEASURED - _OF_THE_PARENT):
            yield Finding(Reason.NITRO_PCR, f"PCR{index} zero, or named by the rules", pcrs[index].hex())
