"""A policy as its owner writes it, and the policy document that it becomes.

A draft names what only the owner can decide. What follows from the sealing (ids, committee, the root of allowed
pairs) is filled in, so that it cannot be filled in wrongly.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType, field

from sealmarket.attestation.policy.rules import AppraisalPolicy, check_rules, enclaves
from sealmarket.client.errors import PolicyMismatch
from sealmarket.protocol import merkle
from sealmarket.protocol.book import Committee
from sealmarket.protocol.limits import MAXIMUM_PAIRS, MAXIMUM_POLICY, MAXIMUM_POLICY_VALUES
from sealmarket.protocol.merkle import allowed_leaf
from sealmarket.protocol.orders import Purpose
from sealmarket_enclave.protocol.codec import (
    ZERO_ADDRESS,
    ZERO_HASH,
    Address,
    Bytes32,
    HexBytes,
    MicroEpsilon,
    Shape,
    Wei,
    from_builtins,
    to_builtins,
)
from sealmarket_enclave.protocol.job import MAX_RESULT_KEYS
from sealmarket_enclave.protocol.numbers import AssetId, Grade, Percent, Seconds, Timestamp
from sealmarket_enclave.protocol.policy import MAX_AUDITORS, OutputRules, PolicyDocument, Serving
from sealmarket_enclave.protocol.terms import Terms

PurposeName = Literal["train", "fine_tune", "infer", "query"]


class DraftTerms(Shape, frozen=True, kw_only=True):
    """The terms as an owner writes them. No consumers: anyone. ``expiry`` in seconds since 1970 UTC.

    ``max_hold`` is the most seconds for which a job may hold a use; None takes what the market's times make sensible.
    ``timeout_share`` is the least percentage of the price that is due for a use whose job ran out of time; nothing
    leaves the enclave then, and the use is consumed.
    """

    price: Wei
    expiry: Timestamp
    max_uses: Annotated[int, Meta(ge=1, le=0xFFFF_FFFF)]
    purposes: Annotated[tuple[PurposeName, ...], Meta(min_length=1)]
    min_grade: Literal["hardware", "simulated"] = "hardware"
    token: Address = field(default_factory=lambda: ZERO_ADDRESS)
    consumers: tuple[Address, ...] = ()
    budget: MicroEpsilon = field(default_factory=MicroEpsilon)
    per_job_cap: MicroEpsilon = field(default_factory=MicroEpsilon)
    max_hold: Seconds | None = None
    timeout_share: Percent = 100


class PolicyDraft(Shape, frozen=True, kw_only=True):
    """A policy draft. ``data_card`` is any document that tells workload authors what the data looks like.

    ``result_keys`` are hashes of the owner's own HPKE keys that every job's result must be sealed to beside the
    consumer's; ``notice_key`` is the HPKE key to which notices for the owner are sealed.
    ``auditors`` are HPKE keys to which the evidence of each job is sealed as well.
    Without ``serving`` no service answers from the asset.
    """

    version: Literal["sealmarket/policy-draft/1"] = "sealmarket/policy-draft/1"
    title: Annotated[str, Meta(min_length=1, max_length=200)]
    evidence: dict[str, Any]
    workloads: Annotated[tuple[Bytes32, ...], Meta(min_length=1)]
    terms: DraftTerms
    output: OutputRules
    data_card: dict[str, Any]
    result_keys: Annotated[tuple[Bytes32, ...], Meta(max_length=MAX_RESULT_KEYS - 1)] = ()
    notice_key: HexBytes | None = None
    auditors: Annotated[tuple[HexBytes, ...], Meta(max_length=MAX_AUDITORS)] = ()
    serving: Serving | UnsetType = UNSET

    def rules(self) -> AppraisalPolicy:
        """The evidence rules, strictly read. Raises :class:`MalformedDocument`, :class:`InvalidRules`."""
        rules = from_builtins(AppraisalPolicy, self.evidence)
        check_rules(rules)
        return rules


def policy_document(
    draft: PolicyDraft, asset_id: AssetId, version: int, committee: Committee, data_card: Bytes32, usual_hold: int
) -> PolicyDocument:
    """The policy document of one version. ``usual_hold`` in seconds is the ``max_hold`` of a draft that names none.

    Raises:
        PolicyMismatch: grade of terms and of evidence rules differ, or more than nodes accept.
        InvalidRules, MalformedDocument: evidence rules that are none, or that accept nothing.
    """
    rules = draft.rules()
    if rules.lowest_grade != draft.terms.min_grade:
        raise PolicyMismatch("terms.minGrade", rules.lowest_grade, draft.terms.min_grade)
    document = PolicyDocument(
        asset_id=asset_id,
        asset_version=version,
        title=draft.title,
        evidence=to_builtins(rules),
        workloads=draft.workloads,
        terms=_terms(draft, rules, usual_hold),
        output=draft.output,
        dealing=committee.ref,
        data_card=data_card,
        result_keys=draft.result_keys,
        notice_key=draft.notice_key,
        auditors=draft.auditors or UNSET,
        serving=draft.serving,
    )
    _require_readable(document)
    return document


def _require_readable(document: PolicyDocument) -> None:
    raw = document.canonical()
    bounds = (
        ("length in bytes", MAXIMUM_POLICY, len(raw)),
        ("number of values", MAXIMUM_POLICY_VALUES, raw.count(b",") + 1),
    )
    for what, most, found in bounds:
        if found > most:
            raise PolicyMismatch(what, f"at most {most}", found)


def allow_root(rules: AppraisalPolicy, workloads: Iterable[Bytes32]) -> Bytes32:
    """The root over every allowed pair of measurement and workload. Raises :class:`PolicyMismatch` for too many."""
    return merkle.root(allowed_pairs(rules, workloads))


def allowed_pairs(rules: AppraisalPolicy, workloads: Iterable[Bytes32]) -> list[Bytes32]:
    """The leaves of the allow-list, one for each pair of measurement and workload.

    Raises:
        PolicyMismatch: more than ``MAXIMUM_PAIRS``, which no node would accept.
    """
    listed, images = tuple(workloads), enclaves(rules)
    if (pairs := len(images) * len(listed)) > MAXIMUM_PAIRS:
        raise PolicyMismatch("number of allowed pairs", f"at most {MAXIMUM_PAIRS}", pairs)
    return [
        allowed_leaf(measurement.tee, measurement.digest(), workload)
        for measurement, workload in product(images, listed)
    ]


def _terms(draft: PolicyDraft, rules: AppraisalPolicy, usual_hold: int) -> Terms:
    terms = draft.terms
    purposes = 0
    for name in terms.purposes:
        purposes |= Purpose[name.upper()]
    return Terms(
        token=terms.token,
        price=terms.price,
        expiry=terms.expiry,
        max_uses=terms.max_uses,
        purposes=purposes,
        min_grade=Grade.from_slug(terms.min_grade),
        budget=terms.budget,
        per_job_cap=terms.per_job_cap,
        allow_root=allow_root(rules, draft.workloads),
        consumer_root=merkle.root(map(merkle.account_leaf, terms.consumers)) if terms.consumers else ZERO_HASH,
        max_hold=usual_hold if terms.max_hold is None else terms.max_hold,
        timeout_share=terms.timeout_share,
    )
