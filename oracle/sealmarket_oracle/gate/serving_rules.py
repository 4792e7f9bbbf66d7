"""Gate, step 10: may this job be a service, by its request and by every owner's policy?

Pure. The terms stand behind the request's ``extensionHash``, and the provider shows them in the evidence package: it is
the consumer of its own service, so no other party is charged for terms that are not shown. The rules of the terms are
:func:`sealmarket_enclave.protocol.agreement.serving_differences`, which enclaves apply too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sealmarket.attestation.policy.owners import OwnersPolicy
from sealmarket.protocol.reasons import JobReason
from sealmarket_enclave.protocol.agreement import serving_differences
from sealmarket_enclave.protocol.codec import decode_canonical
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.numbers import Kind
from sealmarket_enclave.protocol.session import SessionTerms
from sealmarket_oracle.gate.chain_rules import note
from sealmarket_oracle.gate.inputs import (
    AppraisalInput,
    EvidenceShown,
    EvidenceUnavailable,
    FaultRow,
    Violation,
)

SUBJECT = "session terms"


def serving_violations(
    case: AppraisalInput, shown: EvidenceShown | EvidenceUnavailable, policies: Sequence[OwnersPolicy | None]
) -> Iterator[Violation]:
    """What a request of kind 2 lacks. Nothing for another kind, or without evidence or a policy: steps 3 and 5 say why.

    10d one account is provider, consumer and payer, and compute costs nothing; 10e the terms are shown; 10f they have
    the request's hash, and each owner's policy allows them.
    """
    if case.spec.kind is not Kind.SESSION:
        return
    yield from _party_violations(case)
    if isinstance(shown, EvidenceUnavailable):
        return
    try:
        terms = decode_canonical(SessionTerms, shown.package.session_terms)
    except MalformedDocument as error:
        found = error.message[:1000] if shown.package.session_terms else "none"
        yield _unmet(f"the terms with hash {case.spec.extension_hash} in the evidence package", found)
        return
    if None not in policies:
        serving = [policy.document.serving for policy in policies if policy is not None]
        for difference in serving_differences(case.spec, terms, serving):
            yield _unmet(f"{difference.field}: {difference.expected}", difference.found[:1000])


def _party_violations(case: AppraisalInput) -> Iterator[Violation]:
    spec = case.spec
    for name, account in (("consumer", spec.consumer), ("payer", spec.payer)):
        if account != spec.provider:
            yield _unmet(f"the provider {spec.provider} as {name} of its service", account)
    if spec.compute_price or spec.unit_price:
        yield _unmet("compute prices of 0", f"{spec.compute_price} and {spec.unit_price} for a unit")


def _unmet(expected: str, found: object) -> Violation:
    return Violation(FaultRow.REQUEST, note(JobReason.SERVING_UNMET, SUBJECT, expected, found))
