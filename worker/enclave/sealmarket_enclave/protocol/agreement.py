"""Whether the documents of one job agree: policy, share set, terms and output rules. Pure.

Oracle nodes, enclaves and verifiers of receipts hold the same documents against each other. The rules stand here, once.
Each function yields every :class:`Difference`, and nothing for documents that agree. The caller maps a difference to
its own outcome: a node to a violation, an enclave to a refusal or an unrunnable job, a verifier to a failed check.

1. Each document is the one that its hash names (:func:`hash_differences`).
2. A policy is about the asset, the version and the committee epoch of the job (:func:`policy_differences`).
3. The policy's threshold and committee size are the committee's (:func:`committee_differences`).
4. A share set is about the chain, asset, version, content root, policy and epoch (:func:`share_set_differences`).
5. Its threshold and size are the committee's (:func:`size_differences`).
6. It names the registry, and each member of the committee with its key (:func:`member_differences`).
7. The terms on chain allow nothing that the policy's do not (:func:`terms_differences`).
8. The owners' output rules can hold together, over the assets of this job (:func:`output_differences`).
9. The result keys that a policy demands are among the job's (:func:`key_differences`).
10. The terms of a service are the ones that its request names, each owner's policy allows them, all name one meter or
    none, and each opening price covers the lease (:func:`serving_differences`).

A caller that lacks what a rule needs does not call it: an enclave knows neither registry, members nor the terms on
chain, so it leaves 3, 6 and 7 to the nodes, and holds 5 against the policy's committee (docs/spec/policy.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from msgspec import UNSET, UnsetType

from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import AssetUse, JobSpec
from sealmarket_enclave.protocol.policy import (
    MAX_JOB_VALIDATORS,
    CommitteeRef,
    OutputRules,
    PolicyDocument,
    PolicyRefused,
    Serving,
    TooManyValidators,
    strictest,
    strictest_serving,
)
from sealmarket_enclave.protocol.session import SessionTerms
from sealmarket_enclave.protocol.terms import Seal, Terms


class Document(StrEnum):
    """Which document differs."""

    POLICY = "policy"
    SHARE_SET = "share set"
    TERMS = "terms on chain"
    OUTPUT_RULES = "output rules"
    SESSION_TERMS = "session terms"


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of one document that is not what it must be. The values are written for people."""

    document: Document
    field: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"the {self.document}: {self.field} is {self.found}, expected {self.expected}"


class _Member(Protocol):
    @property
    def node(self) -> Address: ...
    @property
    def hpke_key(self) -> Bytes32: ...


class _Commitments(Protocol):
    @property
    def threshold(self) -> int: ...
    @property
    def total(self) -> int: ...


class ShareSetFields(Protocol):
    """What the rules read of a share set (``sealmarket_enclave.sealed.shares.ShareSet``)."""

    @property
    def chain_id(self) -> int: ...
    @property
    def registry(self) -> Address: ...
    @property
    def asset_id(self) -> Bytes32: ...
    @property
    def asset_version(self) -> int: ...
    @property
    def content_root(self) -> Bytes32: ...
    @property
    def policy_hash(self) -> Bytes32: ...
    @property
    def epoch(self) -> int: ...
    @property
    def commitments(self) -> _Commitments: ...
    @property
    def members(self) -> Sequence[_Member]: ...


def hash_differences(document: Document, raw: bytes, expected: Bytes32) -> Iterator[Difference]:
    """Rule 1. ``expected`` is the Keccak-256 by which the seal names the document's canonical bytes ``raw``."""
    yield from _equal(document, "hash", expected, keccak(raw))


def policy_differences(policy: PolicyDocument, use: AssetUse, epoch: int) -> Iterator[Difference]:
    """Rule 2. ``epoch`` is the committee epoch of the job."""
    yield from _equal(Document.POLICY, "asset_id", use.asset_id, policy.asset_id)
    yield from _equal(Document.POLICY, "asset_version", use.version, policy.asset_version)
    yield from _equal(Document.POLICY, "dealing.epoch", epoch, policy.dealing.epoch)


def committee_differences(policy: PolicyDocument, committee: CommitteeRef) -> Iterator[Difference]:
    """Rule 3. ``committee`` is that of the job's epoch, by the address book or the chain."""
    yield from _equal(Document.POLICY, "dealing.threshold", committee.threshold, policy.dealing.threshold)
    yield from _equal(Document.POLICY, "dealing.members", committee.members, policy.dealing.members)


def share_set_differences(
    share_set: ShareSetFields, chain_id: int, use: AssetUse, seal: Seal, epoch: int
) -> Iterator[Difference]:
    """Rule 4. ``epoch`` is the committee epoch of the job."""
    expected: dict[str, object] = {
        "chain_id": chain_id,
        "asset_id": use.asset_id,
        "asset_version": use.version,
        "content_root": seal.content_root,
        "policy_hash": seal.policy_hash,
        "epoch": epoch,
    }
    for field, value in expected.items():
        yield from _equal(Document.SHARE_SET, field, value, getattr(share_set, field))


def size_differences(share_set: ShareSetFields, committee: CommitteeRef) -> Iterator[Difference]:
    """Rule 5. ``committee`` is that of the job's epoch, or for a caller that does not know it the policy's."""
    yield from _equal(Document.SHARE_SET, "threshold", committee.threshold, share_set.commitments.threshold)
    yield from _equal(Document.SHARE_SET, "members", committee.members, share_set.commitments.total)


def member_differences(
    share_set: ShareSetFields, registry: Address, members: Sequence[tuple[Address, Bytes32]]
) -> Iterator[Difference]:
    """Rule 6. ``members`` has the signing address and the Keccak-256 of the HPKE key of each member, in order."""
    yield from _equal(Document.SHARE_SET, "registry", registry, share_set.registry)
    if len(members) != len(share_set.members):
        yield from _equal(Document.SHARE_SET, "members", len(members), len(share_set.members))
        return
    for index, ((node, key), found) in enumerate(zip(members, share_set.members, strict=True), 1):
        expected = f"{node} with key {key}"
        yield from _equal(Document.SHARE_SET, f"member {index}", expected, f"{found.node} with key {found.hpke_key}")


def terms_differences(chain: Terms, policy: Terms) -> Iterator[Difference]:
    """Rule 7. Price and roots are free: what a root on chain admits must also be in the policy's own set."""
    for field in ("expiry", "max_uses", "budget", "per_job_cap", "max_hold"):
        most, found = int(getattr(policy, field)), int(getattr(chain, field))
        if found > most:
            yield Difference(Document.TERMS, field, f"at most {most}", str(found))
    if chain.purposes & ~policy.purposes:
        yield Difference(Document.TERMS, "purposes", f"within {policy.purposes:#x}", f"{chain.purposes:#x}")
    if chain.min_grade < policy.min_grade:
        yield Difference(Document.TERMS, "min_grade", f"{policy.min_grade.name} or better", chain.min_grade.name)
    if chain.timeout_share < policy.timeout_share:
        least = f"{policy.timeout_share} percent or more"
        yield Difference(Document.TERMS, "timeout_share", least, str(chain.timeout_share))
    yield from _equal(Document.TERMS, "token", policy.token, chain.token)


def output_differences(uses: Sequence[AssetUse], rules: Sequence[OutputRules]) -> Iterator[Difference]:
    """Rule 8. ``rules`` has those of each asset in ``uses``. No runtime has a mechanism for differential privacy."""
    if not rules:
        yield Difference(Document.OUTPUT_RULES, "assets", "1 or more", "0")
        return
    try:
        strictest(tuple(rules))
    except TooManyValidators as error:
        expected = f"at most {MAX_JOB_VALIDATORS} different ones over all owners"
        yield Difference(Document.OUTPUT_RULES, "validators", expected, error.message)
    except PolicyRefused as error:
        yield Difference(Document.OUTPUT_RULES, "media_types", "a format that every owner allows", error.message)
    owners, least = len({use.owner for use in uses}), max(rule.minimum_owners for rule in rules)
    if owners < least:
        yield Difference(Document.OUTPUT_RULES, "minimum_owners", f"assets of {least} different owners", str(owners))
    if any(rule.privacy != "exact" for rule in rules):
        yield Difference(Document.OUTPUT_RULES, "privacy", "exact outputs", "differential privacy")
    if spent := sum(use.epsilon for use in uses):
        yield Difference(Document.OUTPUT_RULES, "epsilon", "no privacy budget spent", f"{spent} micro-epsilon")


def key_differences(policy: PolicyDocument, names: Sequence[Bytes32]) -> Iterator[Difference]:
    """Rule 9. ``names`` are the Keccak-256 hashes of the job's result keys."""
    for key in policy.result_keys:
        if key not in names:
            yield Difference(Document.POLICY, "result_keys", f"{key} among the job's", f"{len(names)} others")


def serving_differences(
    spec: JobSpec, terms: SessionTerms, serving: Sequence[Serving | UnsetType]
) -> Iterator[Difference]:
    """Rule 10. ``serving`` has what the policy of each of the specification's assets says, in their order."""
    yield from _equal(Document.SESSION_TERMS, "hash", spec.extension_hash, terms.struct_hash())
    named = [royalty.asset_id for royalty in terms.royalties]
    if named != [use.asset_id for use in spec.assets]:
        yield Difference(Document.SESSION_TERMS, "royalties", "one for each asset of the job, in its order", str(named))
        return
    for use, royalty, rule in zip(spec.assets, terms.royalties, serving, strict=True):
        if rule is UNSET:
            yield Difference(Document.POLICY, "serving", f"rules of asset {use.asset_id} for services", "none")
            continue
        if royalty.per_unit < rule.per_unit:
            yield Difference(Document.SESSION_TERMS, "per_unit", f"{rule.per_unit} or more", str(int(royalty.per_unit)))
        if terms.lease > rule.max_lease:
            yield Difference(Document.SESSION_TERMS, "lease", f"at most {rule.max_lease}", str(int(terms.lease)))
        if use.price < (covered := terms.lease * royalty.per_unit):
            yield Difference(Document.SESSION_TERMS, "price", f"{covered} or more", str(int(use.price)))
    rules = tuple(rule for rule in serving if rule is not UNSET)
    meters = ["none" if rule.meter is UNSET else str(rule.meter) for rule in rules]
    if others := [meter for meter in meters if meter != meters[0]]:
        yield Difference(Document.POLICY, "meter", f"{meters[0]}, as the first owner's", others[0])
        return
    try:
        if len(rules) == len(serving):
            strictest_serving(rules)
    except PolicyRefused as error:
        yield Difference(Document.SESSION_TERMS, "endpoints", "an endpoint that every owner allows", error.message)


def _equal(document: Document, field: str, expected: object, found: object) -> Iterator[Difference]:
    if expected != found:
        yield Difference(document, field, str(expected), str(found))
