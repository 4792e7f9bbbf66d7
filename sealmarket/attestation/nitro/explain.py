"""The ``nitro`` section of an appraisal policy as sentences."""

from __future__ import annotations

from collections.abc import Iterator

from sealmarket.attestation.nitro.rules import NitroRules


def explain(rules: NitroRules) -> Iterator[str]:
    """What is required of Nitro enclaves."""
    if rules.user_data == "required":
        yield "A Nitro document's user data is exactly the 64 bytes of report data."
    else:
        yield "A Nitro document may carry ANY user data, or none."
    for pcr in rules.pcrs:
        yield f"PCR{pcr.index} may be {pcr.value.hex()}."
    rest = "must be zero" if rules.further_pcrs == "zero" else "may hold ANY value"
    yield f"Registers beside PCR0 to PCR4, PCR8 and the named ones {rest}."
    if not any(pcr.index in (3, 4) for pcr in rules.pcrs):
        yield "ANY parent instance in any role may run it: PCR3 and PCR4 are not named."
