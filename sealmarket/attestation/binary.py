"""Evidence in its binary forms: as a device wrote it, or in a file of a paravisor or an agent."""

from __future__ import annotations

from sealmarket.attestation.azure.hcl import MAGIC, TDX, read_hcl
from sealmarket.attestation.core.errors import NotEvidence
from sealmarket.attestation.core.evidence import Evidence
from sealmarket.attestation.registry import module_of, recognise, unwrap
from sealmarket_enclave.protocol.numbers import Tee


def recognise_binary(data: bytes) -> Evidence | None:
    """The evidence that these bytes are; None where they start like none.

    Raises:
        NotEvidence: a known file that is not well-formed, or that holds nothing which others can check.
    """
    if data[:4] == MAGIC:
        return from_hcl(data)
    tee = recognise(data)
    if tee is None:
        return unwrap(data)
    return module_of(tee).unwrap(data) or Evidence(tee=tee, raw=data)


def from_hcl(data: bytes) -> Evidence:
    """The SNP report in Azure's HCL report, with its runtime data.

    Raises:
        NotEvidence: a TDREPORT, which only its own machine can check.
    """
    report = read_hcl(data)
    if report.kind == TDX:
        raise NotEvidence(
            "this HCL report holds a TDREPORT, which only its own machine can check",
            remedy="send the agent's whole evidence, with the td_quote made from it",
        )
    return Evidence(tee=Tee.SNP, raw=report.hardware, runtime_data=report.runtime, source="azure")
