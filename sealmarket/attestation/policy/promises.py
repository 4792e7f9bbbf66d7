"""What a provider promised, as its readers use it: the capability document, and what it says of evidence.

Pure. Oracle nodes hold evidence against it, and a consumer's quote the owners' rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from sealmarket.attestation.core.errors import AttestationError
from sealmarket.attestation.policy.rules import AppraisalPolicy, check_rules
from sealmarket.attestation.registry import VendorRules
from sealmarket.protocol.capability import Capability
from sealmarket.protocol.limits import MAXIMUM_CAPABILITY
from sealmarket_enclave.protocol.codec import decode_canonical, from_builtins, to_builtins
from sealmarket_enclave.protocol.errors import MalformedDocument


@dataclass(frozen=True, slots=True, eq=False)
class Promise:
    """What a provider promised: its document, and what that says of evidence as a typed shape."""

    document: Capability
    rules: AppraisalPolicy


def promise_or_reason(raw: bytes) -> Promise | str:
    """The promise in a document, or why it is none."""
    if len(raw) > MAXIMUM_CAPABILITY:  # what is longer is not remembered either
        return f"a capability document has at most {MAXIMUM_CAPABILITY} bytes, found {len(raw)}"
    return _promise_or_reason(raw)


@lru_cache(maxsize=128)
def _promise_or_reason(raw: bytes) -> Promise | str:
    """Cached, refusals too: many orders name the same document."""
    try:
        document = decode_canonical(Capability, raw)
        levels = from_builtins(VendorRules, document.min_tcb or {})
        evidence = {"measurements": document.measurements, "platforms": "any", **to_builtins(levels)}
        rules = from_builtins(AppraisalPolicy, evidence)
        check_rules(rules)
    except (MalformedDocument, AttestationError) as error:
        return error.message
    return Promise(document, rules)
