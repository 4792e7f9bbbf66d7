"""What a service adds to the rules of loading: its terms are the request's, and every owner's policy allows them. Pure.

1. The terms that the host passes hash to the specification's ``extensionHash`` (refused). None are absent (unrunnable).
2. Each policy has ``serving``, which allows them; the opening price of each asset covers the lease (unrunnable: the
   request's). The rule stands in :func:`sealmarket_enclave.protocol.agreement.serving_differences`.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import UNSET

from sealmarket_enclave.protocol.agreement import serving_differences
from sealmarket_enclave.protocol.codec import Bytes32, decode_canonical
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.numbers import FailureCause
from sealmarket_enclave.protocol.policy import Serving, strictest_serving
from sealmarket_enclave.protocol.session import SessionTerms, weights_hash
from sealmarket_enclave.runtime.errors import Code, JobRefused
from sealmarket_enclave.runtime.job import LoadedJob, Unrunnable, absent


@dataclass(frozen=True, slots=True)
class ServiceTerms:
    """The terms of a service, the strictest of its owners' rules, and how grants name its assets."""

    terms: SessionTerms
    rules: Serving
    weights: Bytes32


def check(job: LoadedJob) -> Unrunnable | None:
    """Apply both rules. Raises :class:`JobRefused` for terms that are not the request's."""
    found = service_terms(job)
    return found if isinstance(found, Unrunnable) else None


def service_terms(job: LoadedJob) -> ServiceTerms | Unrunnable:
    """The terms of a job of kind session. Raises as :func:`check`."""
    if job.extension is None:
        return absent("the terms of the service")
    spec = job.bound.spec
    try:
        terms = decode_canonical(SessionTerms, job.extension)
    except MalformedDocument as error:
        raise _mismatch(error.message) from error
    if (found := terms.struct_hash()) != spec.extension_hash:
        raise _mismatch(f"their hash is {found}, expected {spec.extension_hash}")
    serving = [asset.policy.serving for asset in job.assets]
    for difference in serving_differences(spec, terms, serving):
        remedy = "request a service whose terms every owner's policy allows"
        return Unrunnable(Code.SERVING_REFUSED, str(difference), remedy, FailureCause.WORKLOAD)
    rules = strictest_serving(tuple(rule for rule in serving if rule is not UNSET))
    return ServiceTerms(terms, rules, weights_hash(seal.content_root for seal in job.bound.seals))


def _mismatch(message: str) -> JobRefused:
    remedy = "pass the terms that the request's extensionHash names, and start a new enclave"
    return JobRefused(Code.SESSION_TERMS_MISMATCH, f"session terms: {message}", remedy)
