"""Gate, steps 3 and 4: the owner's papers. Is the policy the one that the shares are bound to, does our share open?

Pure. A share that is opened here is looked at and let go: nothing secret leaves this module but through
:func:`open_own_share`, which the release calls again at its own moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from sealmarket.attestation.core.errors import AttestationError
from sealmarket.attestation.policy.rules import EvidenceRules, check_rules
from sealmarket.protocol.book import Committee
from sealmarket.protocol.merkle import account_leaf
from sealmarket.protocol.reasons import JobReason
from sealmarket.sealing.shares import open_share
from sealmarket_enclave.protocol.agreement import (
    Difference,
    Document,
    committee_differences,
    hash_differences,
    member_differences,
    policy_differences,
    share_set_differences,
    size_differences,
    terms_differences,
)
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32, decode_canonical, from_builtins
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.policy import PolicyDocument
from sealmarket_enclave.sealed.errors import SealedError
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_enclave.sealed.shares import Share, ShareSet
from sealmarket_oracle.errors import ShareMisdealt
from sealmarket_oracle.gate.chain_rules import note
from sealmarket_oracle.gate.inputs import AssetFacts, Case, Fault, Papers, Place, Row


@dataclass(frozen=True, slots=True)
class Policy:
    """One asset's policy, read: the document, and its evidence rules as a typed shape."""

    document: PolicyDocument
    rules: EvidenceRules


def read_policy(
    asset: AssetFacts, papers: Papers, committee: Committee, consumer: Address
) -> tuple[Policy | None, list[Fault]]:
    """Step 3. The policy of one asset, or everything that speaks against it.

    3a the document is there, and is the one that the seal names; 3b it follows the schema, and its evidence rules are
    usable; 3c it is about this asset and version; 3d it was dealt to this committee; 3e the terms on chain are no
    looser than its own; 3f the consumer is among those whom the policy admits, whatever the set on chain says now.
    """
    raw = papers.policies.get(asset.seal.policy_hash)
    subject = asset.use.asset_id
    if raw is None:
        finding = note(JobReason.POLICY_MISSING, subject, f"document {asset.seal.policy_hash}", "nothing in the store")
        return None, [Fault(Row.INPUT, finding, waits=True)]
    for other in hash_differences(Document.POLICY, raw, asset.seal.policy_hash):
        return None, [_disagrees(asset, other)]
    try:
        policy = parsed_policy(raw)
    except (MalformedDocument, AttestationError) as error:
        return None, [_invalid(asset, "a policy document of version 1", error.message)]
    faults = [_disagrees(asset, difference) for difference in _differences(policy.document, asset, committee)]
    faults += _consumer_faults(policy.document.terms.consumer_root, asset, papers, consumer)
    return policy, faults


@lru_cache(maxsize=256)
def parsed_policy(raw: bytes) -> Policy:
    """A policy document, read. Remembered, as the same few come with every job; what is refused is read again.

    Raises:
        MalformedDocument, InvalidRules: 3b.
    """
    document = decode_canonical(PolicyDocument, raw)
    rules = from_builtins(EvidenceRules, document.evidence)
    check_rules(rules)
    return Policy(document, rules)


@lru_cache(maxsize=256)
def _parsed_share_set(raw: bytes) -> ShareSet:
    return decode_canonical(ShareSet, raw)


def _invalid(asset: AssetFacts, expected: object, found: object) -> Fault:
    return Fault(Row.INPUT, note(JobReason.POLICY_INVALID, asset.use.asset_id, expected, str(found)[:1000]))


def _disagrees(asset: AssetFacts, difference: Difference) -> Fault:
    field = f"{difference.document}: {difference.field}"
    return _invalid(asset, f"{field} {difference.expected}", difference.found)


def _differences(policy: PolicyDocument, asset: AssetFacts, committee: Committee) -> Iterator[Difference]:
    yield from policy_differences(policy, asset.use, committee.epoch)
    yield from committee_differences(policy, committee.ref)
    yield from terms_differences(asset.state.terms, policy.terms)


def _consumer_faults(root: Bytes32, asset: AssetFacts, papers: Papers, consumer: Address) -> list[Fault]:
    # The market proved the consumer under the root on chain; where that is the policy's, nothing is left to show.
    if root in (ZERO_HASH, asset.state.terms.consumer_root):
        return []
    admitted = papers.lists.get(root)
    if admitted is not None and account_leaf(consumer) in admitted:
        return []
    found = f"{asset.state.terms.consumer_root} on chain, " + ("without them" if admitted else "and no list to show it")
    fault = _invalid(asset, f"{consumer} among the consumers under {root}", found)
    return [Fault(fault.row, fault.note, waits=admitted is None)]


def share_faults(case: Case, asset: AssetFacts, papers: Papers, private: PrivateKey) -> Iterator[Fault]:
    """Step 4. Our own share opens and is what was committed to, before anybody is charged for anything."""
    subject, root = asset.use.asset_id, asset.seal.share_root
    raw = papers.share_sets.get(root)
    if raw is None:
        finding = note(JobReason.SHARE_MISSING, subject, f"share set {root}", "nothing in the store")
        yield Fault(Row.INPUT, finding, waits=True)
        return
    try:
        share_set = load_share_set(case.place, asset, case.committee, raw)
        sealed = papers.sealed_shares.get(share_set.members[case.index - 1].sealed)
        if sealed is None:
            finding = note(
                JobReason.SHARE_MISSING, subject, f"the sealed share of node {case.index}", "not in the store"
            )
            yield Fault(Row.INPUT, finding, waits=True)
            return
        open_own_share(share_set, case.index, sealed, private)
    except ShareMisdealt as error:
        finding = note(JobReason.SHARE_MISDEALT, subject, error.expected, error.found)
        yield Fault(Row.INPUT, finding)


def load_share_set(place: Place, asset: AssetFacts, committee: Committee, raw: bytes) -> ShareSet:
    """The share set of one asset, held against the chain and the committee.

    4a its root is the one in the seal; 4b it is about this chain, registry, asset, version, content, policy and epoch;
    4c t of n and every member are the committee's.

    Raises:
        ShareMisdealt: naming what differs.
    """
    for difference in hash_differences(Document.SHARE_SET, raw, asset.seal.share_root):
        raise _misdealt(difference)
    try:
        share_set = _parsed_share_set(raw)
    except (SealedError, MalformedDocument) as error:
        raise ShareMisdealt("a share set of version 1", error.message[:1000]) from error
    members = [(member.signer, keccak(member.hpke_public_key)) for member in committee.members]
    for difference in chain(
        share_set_differences(share_set, place.chain_id, asset.use, asset.seal, committee.epoch),
        size_differences(share_set, committee.ref),
        member_differences(share_set, place.registry, members),
    ):
        raise _misdealt(difference)
    return share_set


def _misdealt(difference: Difference) -> ShareMisdealt:
    return ShareMisdealt(f"{difference.document}: {difference.field} {difference.expected}", difference.found)


def open_own_share(share_set: ShareSet, index: int, sealed: bytes, private: PrivateKey) -> Share:
    """4d. Our share, opened under its context and held against its commitment.

    Raises:
        ShareMisdealt: other bytes than the set names, sealed to another key or context, or another value.
    """
    named: Bytes32 = share_set.members[index - 1].sealed
    if keccak(sealed) != named:
        raise ShareMisdealt(f"sealed share {named}", keccak(sealed))
    try:
        return open_share(private, share_set, index, sealed)
    except SealedError as error:
        raise ShareMisdealt(f"a share of node {index} under its commitment", error.message) from None
