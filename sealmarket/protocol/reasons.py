"""Why a job is refused or stopped, beside what is wrong with its evidence.

Signed decisions and the chain carry a set of reasons as 256 bits, one for each number. Numbers 1 to 219 are those of
:mod:`sealmarket.attestation.core.reasons`; the ones here are 220 to 255. Numbers never change and are never used again:
223 and 237 are retired.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from sealmarket.protocol.decisions import Outcome
from sealmarket_enclave.protocol.codec import Uint


class JobReason(Enum):
    """One rule of the market that a job failed: its word, its number, the row of the fault table, what to do."""

    code: int
    outcome: Outcome
    remedy: str

    def __new__(cls, word: str, code: int, outcome: Outcome, remedy: str) -> JobReason:
        member = object.__new__(cls)
        member._value_ = word
        member.code = code
        member.outcome = outcome
        member.remedy = remedy
        return member

    WORKLOAD_NOT_ALLOWED = (
        "workload_not_allowed",
        220,
        Outcome.REQUEST_REFUSED,
        "ask the owner to allow this workload's digest, or request a workload that the policy lists",
    )
    PURPOSE_NOT_ALLOWED = (
        "purpose_not_allowed",
        221,
        Outcome.REQUEST_REFUSED,
        "request a purpose that every owner's terms name",
    )
    RESULT_KEY_MISSING = (
        "result_key_missing",
        222,
        Outcome.REQUEST_REFUSED,
        "publish the result key whose hash the request signed",
    )
    PAIR_NOT_ON_CHAIN = (
        "pair_not_on_chain",
        224,
        Outcome.REQUEST_REFUSED,
        "request a provider and a workload that the owner's list on chain names",
    )
    ASSET_REVOKED = (
        "asset_revoked",
        225,
        Outcome.TERMS_REFUSED,
        "the owner revoked this asset; choose another",
    )
    TERMS_TIGHTENED = (
        "terms_tightened",
        226,
        Outcome.TERMS_REFUSED,
        "the owner replaced a root, a purpose or the grade after the match; request again under the new terms",
    )
    ASSET_EXPIRED = (
        "asset_expired",
        227,
        Outcome.TERMS_REFUSED,
        "the terms expired; ask the owner for a new version",
    )
    POLICY_MISSING = (
        "policy_missing",
        228,
        Outcome.INPUT_REFUSED,
        "the owner must put the policy document back into the store",
    )
    POLICY_INVALID = (
        "policy_invalid",
        229,
        Outcome.INPUT_REFUSED,
        "the owner must publish a version whose policy document follows the schema",
    )
    SHARE_MISSING = ("share_missing", 230, Outcome.INPUT_REFUSED, "the owner must put the sealed shares back")
    SHARE_MISDEALT = (
        "share_misdealt",
        231,
        Outcome.INPUT_REFUSED,
        "the owner must seal the shares again, for this committee and version",
    )
    EPOCH_MISMATCH = (
        "epoch_mismatch",
        232,
        Outcome.INPUT_REFUSED,
        "the owner must deal shares to the committee of this epoch",
    )
    CONTENT_MISSING = (
        "content_missing",
        233,
        Outcome.INPUT_REFUSED,
        "the owner must put the container, the data card, and the reader and validators that it names back",
    )
    EVIDENCE_WITHHELD = (
        "evidence_withheld",
        234,
        Outcome.EVIDENCE_WITHHELD,
        "post the evidence itself, sealed to every node, right after its hash",
    )
    EVIDENCE_NOT_FOR_JOB = (
        "evidence_not_for_job",
        235,
        Outcome.PLATFORM_REFUSED,
        "the enclave must put this job, its own keys and the named block into its report data",
    )
    BLOCK_NOT_RECENT = (
        "block_not_recent",
        236,
        Outcome.PLATFORM_REFUSED,
        "the enclave must name a final block of this chain from after the match",
    )
    WORKLOAD_MISSING = (
        "workload_missing",
        238,
        Outcome.REQUEST_REFUSED,
        "upload the workload's archive to the store before requesting a job with it",
    )
    PARAMETERS_MISSING = (
        "parameters_missing",
        239,
        Outcome.REQUEST_REFUSED,
        "post the parameters whose digest the request signed",
    )
    OUTPUT_RULES_UNMET = (
        "output_rules_unmet",
        240,
        Outcome.REQUEST_REFUSED,
        "request assets whose owners allow one output format in common, of as many owners as each demands, and without "
        "a privacy mode that no runtime provides",
    )
    MATERIAL_LATE = (
        "material_late",
        241,
        Outcome.INPUT_REFUSED,
        "have everything that the job names in the store before it is matched, and request again",
    )
    TIME_TO_RELEASE_PASSED = (
        "time_to_release_passed",
        242,
        Outcome.REQUEST_REFUSED,
        "request again, with a settle window that leaves time for the chain to make acceptance and release final",
    )
    CAPABILITY_MISSING = (
        "capability_missing",
        243,
        Outcome.PLATFORM_REFUSED,
        "the provider must put the capability document that its order names into the store",
    )
    CAPABILITY_INVALID = (
        "capability_invalid",
        244,
        Outcome.PLATFORM_REFUSED,
        "the provider must name a capability document that follows the schema in its order",
    )
    CAPABILITY_BROKEN = (
        "capability_broken",
        245,
        Outcome.PLATFORM_REFUSED,
        "the provider must run what its capability document promises, or promise what it runs",
    )
    OWNER_RULES_UNMET = (
        "owner_rules_unmet",
        246,
        Outcome.REQUEST_REFUSED,
        "request providers whose capability documents promise what every owner's evidence rules ask for",
    )
    BEYOND_CAPABILITY = (
        "beyond_capability",
        247,
        Outcome.REQUEST_REFUSED,
        "request providers whose capability documents promise what the workload needs",
    )
    RUN_SECONDS_TOO_FEW = (
        "run_seconds_too_few",
        248,
        Outcome.REQUEST_REFUSED,
        "request at least the run seconds that the workload declares as wall_seconds",
    )
    COLLATERAL_NEWER = (
        "collateral_newer",
        249,
        Outcome.TERMS_REFUSED,
        "the vendor rated the platform anew after the match; request again",
    )
    OWNER_KEY_MISSING = (
        "owner_key_missing",
        250,
        Outcome.REQUEST_REFUSED,
        "name the result keys that every owner's policy asks for among the request's result keys",
    )
    NEEDS_UNMET = (
        "needs_unmet",
        251,
        Outcome.REQUEST_REFUSED,
        "request assets whose data cards promise what the workload needs of its inputs, or another workload",
    )
    SERVING_UNMET = (
        "serving_unmet",
        252,
        Outcome.REQUEST_REFUSED,
        "request a service of your own, with compute prices of 0 and terms that every owner's policy allows, and have "
        "their document on the host",
    )
    PLATFORM_RECALLED = (
        "platform_recalled",
        253,
        Outcome.TERMS_REFUSED,
        "an issuer that the oracle nodes listen to called this platform back: GET /v1/advisories of a node says why; "
        "choose another provider",
    )


_BY_CODE = {reason.code: reason for reason in JobReason}


def job_reason(code: int) -> JobReason | None:
    """The market's reason with a number, or None when the number belongs to evidence."""
    return _BY_CODE.get(code)


def reason_bits(codes: Iterable[int]) -> Uint:
    """The set of reasons as one word: bit ``code`` for each."""
    bits = 0
    for code in codes:
        if not 0 < code < 256:
            raise ValueError(f"a reason's number is between 1 and 255, found {code}")
        bits |= 1 << code
    return Uint(bits)


def reason_codes(bits: int) -> tuple[int, ...]:
    """The numbers in a set of reasons, in order."""
    return tuple(code for code in range(256) if bits >> code & 1)
