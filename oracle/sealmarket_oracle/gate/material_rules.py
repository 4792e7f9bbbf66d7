"""Gate, steps 4, 10, 12 and 13: is all else that the job names available, and can the job run?

Pure. A provider with a working enclave quotes whatever a request names. Violations of the request and of inputs are
found here, so that the row of the party that caused them applies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sealmarket.attestation.policy.owners import OwnersPolicy
from sealmarket.protocol.reasons import JobReason
from sealmarket.protocol.wire import FindingNote
from sealmarket_enclave.protocol.agreement import key_differences, output_differences
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.job import JobSpec, enclave_key_hash
from sealmarket_enclave.sealed.errors import InvalidHpkeKey
from sealmarket_oracle.gate.chain_rules import note
from sealmarket_oracle.gate.inputs import (
    AppraisalInput,
    AssetFacts,
    EvidenceShown,
    EvidenceUnavailable,
    FaultRow,
    JobDocuments,
    Violation,
)
from sealmarket_oracle.gate.public_keys import public_key


def content_violations(asset: AssetFacts, documents: JobDocuments) -> Iterator[Violation]:
    """Step 4e. The store has the asset's container. It is not read here: the enclave compares it with its root."""
    root = asset.seal.content_root
    if root not in documents.present:
        finding = note(JobReason.CONTENT_MISSING, asset.use.asset_id, f"container {root}", "nothing in the store")
        yield Violation(FaultRow.INPUT, finding, waits=True)


def request_violations(
    case: AppraisalInput, documents: JobDocuments, policies: Sequence[OwnersPolicy | None]
) -> Iterator[Violation]:
    """Steps 10 and 12: what every owner and the enclave require of the request.

    10a each owner's terms and policy allow the purpose; 10b each policy lists the workload; 12a workload, parameters
    and result keys are available; 12b each result key is an HPKE key; 12c the keys that owners demand are among them;
    12d the owners' output rules can hold together.
    """
    spec = case.spec
    for asset, policy in zip(case.assets, policies, strict=True):
        subject = asset.use.asset_id
        allowed = asset.state.terms.purposes & (policy.document.terms.purposes if policy is not None else ~0)
        if not spec.purpose or spec.purpose & ~allowed:
            expected, found = f"purposes within {allowed:#x}", f"{spec.purpose:#x}"
            yield Violation(FaultRow.REQUEST, note(JobReason.PURPOSE_NOT_ALLOWED, subject, expected, found))
        if policy is not None:
            yield from _owner_key_violations(subject, policy, documents)
        if policy is not None and spec.workload_digest not in policy.document.workloads:
            expected = f"one of {len(policy.document.workloads)} workloads of the policy"
            yield Violation(
                FaultRow.REQUEST, note(JobReason.WORKLOAD_NOT_ALLOWED, subject, expected, spec.workload_digest)
            )
    yield from _named_violations(spec, documents)
    known = [policy for policy in policies if policy is not None]
    if len(known) == len(policies):
        yield from (Violation(FaultRow.REQUEST, finding) for finding in _output_findings(spec, known))


def _named_violations(spec: JobSpec, documents: JobDocuments) -> Iterator[Violation]:
    named: tuple[tuple[JobReason, str, Bytes32], ...] = (
        (JobReason.WORKLOAD_MISSING, "workload", spec.workload_digest),
        (JobReason.PARAMETERS_MISSING, "parameters", spec.parameters_digest),
        (JobReason.RESULT_KEY_MISSING, "list of result keys", spec.result_keys_hash),
    )
    for reason, what, name in named:
        if name not in documents.present:
            finding = note(reason, what, f"{what} {name}", "nothing in the store")
            yield Violation(FaultRow.REQUEST, finding, waits=True)
    for key in documents.result_keys:
        try:
            public_key(key)
        except InvalidHpkeKey as error:
            finding = note(JobReason.RESULT_KEY_MISSING, "result key", "an HPKE public key", error.message[:1000])
            yield Violation(FaultRow.REQUEST, finding)


def _owner_key_violations(subject: Bytes32, policy: OwnersPolicy, documents: JobDocuments) -> Iterator[Violation]:
    if not documents.result_keys:
        return  # 12a names them as missing
    names = [enclave_key_hash(key) for key in documents.result_keys]
    for difference in key_differences(policy.document, names):
        finding = note(JobReason.OWNER_KEY_MISSING, subject, difference.expected, difference.found)
        yield Violation(FaultRow.REQUEST, finding)


def _output_findings(spec: JobSpec, policies: Sequence[OwnersPolicy]) -> Iterator[FindingNote]:
    for difference in output_differences(spec.assets, [policy.document.output for policy in policies]):
        expected = f"{difference.field}: {difference.expected}"
        yield note(JobReason.OUTPUT_RULES_UNMET, "output rules", expected, difference.found)


def late_violations(shown: EvidenceShown | EvidenceUnavailable) -> Iterator[Violation]:
    """Step 13. The host had everything when it quoted. An enclave that lacks something cannot run the job.

    If the store still lacks it, an earlier row applies. If it arrived since, or the store serves it to nodes and not to
    the host, no party is charged: a provider is not held to a workload that it could not fetch.
    """
    for name in shown.package.missing if isinstance(shown, EvidenceShown) else ():
        yield Violation(
            FaultRow.LATE, note(JobReason.MATERIAL_LATE, "the host", f"{name} before the quote", "not available to it")
        )
