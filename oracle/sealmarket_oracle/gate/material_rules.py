"""Gate, steps 4 and 10 to 12: what the job names besides the owners' papers. Can it be had, and can the job be run?

Pure. A provider with a working enclave quotes whatever a request names; what is wrong with the request or an input is
said here, so that the row of the fault table applies that names whose doing it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sealmarket.protocol.reasons import JobReason
from sealmarket.protocol.wire import FindingNote
from sealmarket_enclave.protocol.agreement import output_differences
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.sealed.errors import InvalidHpkeKey
from sealmarket_enclave.sealed.hpke import PublicKey
from sealmarket_oracle.gate.chain_rules import note
from sealmarket_oracle.gate.document_rules import Policy
from sealmarket_oracle.gate.inputs import AssetFacts, Case, Fault, NotShown, Papers, Row, Shown


def content_faults(asset: AssetFacts, papers: Papers) -> Iterator[Fault]:
    """Step 4e. The store has the asset's container. It is not read here: the enclave holds it against its root."""
    root = asset.seal.content_root
    if root not in papers.present:
        finding = note(JobReason.CONTENT_MISSING, asset.use.asset_id, f"container {root}", "nothing in the store")
        yield Fault(Row.INPUT, finding, waits=True)


def request_faults(case: Case, papers: Papers, policies: Sequence[Policy | None]) -> Iterator[Fault]:
    """Steps 10 and 11, what every owner and the enclave need of the request.

    10a the purpose is one that each owner's terms and policy name; 10b the workload is in each policy; 11a workload,
    parameters and result key can be had; 11b the result key is one; 11c the owners' output rules can be met together.
    """
    spec = case.spec
    for asset, policy in zip(case.assets, policies, strict=True):
        subject = asset.use.asset_id
        allowed = asset.state.terms.purposes & (policy.document.terms.purposes if policy is not None else ~0)
        if not spec.purpose or spec.purpose & ~allowed:
            expected, found = f"purposes within {allowed:#x}", f"{spec.purpose:#x}"
            yield Fault(Row.REQUEST, note(JobReason.PURPOSE_NOT_ALLOWED, subject, expected, found))
        if policy is not None and spec.workload_digest not in policy.document.workloads:
            expected = f"one of {len(policy.document.workloads)} workloads of the policy"
            yield Fault(Row.REQUEST, note(JobReason.WORKLOAD_NOT_ALLOWED, subject, expected, spec.workload_digest))
    yield from _named_faults(spec, papers)
    known = [policy for policy in policies if policy is not None]
    if len(known) == len(policies):
        yield from (Fault(Row.REQUEST, finding) for finding in _output_findings(spec, known))


def _named_faults(spec: JobSpec, papers: Papers) -> Iterator[Fault]:
    named: tuple[tuple[JobReason, str, Bytes32], ...] = (
        (JobReason.WORKLOAD_MISSING, "workload", spec.workload_digest),
        (JobReason.PARAMETERS_MISSING, "parameters", spec.parameters_digest),
        (JobReason.RESULT_KEY_MISSING, "result key", spec.result_key_hash),
    )
    for reason, what, name in named:
        if name not in papers.present:
            finding = note(reason, what, f"{what} {name}", "nothing in the store")
            yield Fault(Row.REQUEST, finding, waits=True)
    if papers.result_key is not None:
        try:
            PublicKey(papers.result_key)
        except InvalidHpkeKey as error:
            finding = note(JobReason.RESULT_KEY_MISSING, "result key", "an HPKE public key", error.message[:1000])
            yield Fault(Row.REQUEST, finding)


def _output_findings(spec: JobSpec, policies: Sequence[Policy]) -> Iterator[FindingNote]:
    for difference in output_differences(spec.assets, [policy.document.output for policy in policies]):
        expected = f"{difference.field}: {difference.expected}"
        yield note(JobReason.OUTPUT_RULES_UNMET, "output rules", expected, difference.found)


def late_faults(shown: Shown | NotShown) -> Iterator[Fault]:
    """Step 12. The host had everything when it quoted. An enclave that was not given something cannot go on.

    Where the thing is still missing, an earlier row says whose fault that is. Where it came meanwhile, or the store
    shows it to us and not to the host, nobody pays: a provider is not held to a workload that it never saw.
    """
    for name in shown.package.missing if isinstance(shown, Shown) else ():
        yield Fault(Row.LATE, note(JobReason.MATERIAL_LATE, "the host", f"{name} before the quote", "not to be had"))
