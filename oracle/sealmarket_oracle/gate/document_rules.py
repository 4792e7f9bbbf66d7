"""Gate, steps 3 and 4: does the policy agree with seal, job, committee and chain, and does this node's share open?

Pure. Which fields must agree is decided in :mod:`sealmarket_enclave.protocol.agreement`. The share is opened to test
it and dropped. Nothing secret leaves this module except through :func:`open_own_share`, which the release calls again.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import chain

from sealmarket.attestation.policy.owners import OwnersPolicy, parsed_policy
from sealmarket.protocol.book import Committee
from sealmarket.protocol.limits import MAXIMUM_SHARE_SET
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
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32, decode_canonical
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import AssetUse
from sealmarket_enclave.protocol.policy import PolicyDocument
from sealmarket_enclave.protocol.terms import Seal
from sealmarket_enclave.sealed.errors import SealedError
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_enclave.sealed.shares import SEALED_SHARE_BYTES, Share, ShareSet, share_index
from sealmarket_oracle.errors import ShareMisdealt
from sealmarket_oracle.gate.chain_rules import note
from sealmarket_oracle.gate.inputs import AppraisalInput, AssetFacts, FaultRow, JobDocuments, MarketRef, Violation


def read_policy(
    asset: AssetFacts, documents: JobDocuments, committee: Committee, consumer: Address
) -> tuple[OwnersPolicy | None, list[Violation]]:
    """Step 3. The policy of one asset, and its violations.

    3a the store has the document that the seal names; 3b it follows the schema, and its evidence rules are usable;
    3c it is about this asset, version and epoch; 3d threshold and size are the committee's; 3e the terms on chain allow
    nothing more; 3f the consumer is in the policy's own set, whatever the set on chain is now.
    """
    raw = documents.policies.get(asset.seal.policy_hash)
    subject = asset.use.asset_id
    if raw is None:
        finding = note(JobReason.POLICY_MISSING, subject, f"document {asset.seal.policy_hash}", "nothing in the store")
        return None, [Violation(FaultRow.INPUT, finding, waits=True)]
    for other in hash_differences(Document.POLICY, raw, asset.seal.policy_hash):
        return None, [_disagrees(asset, other)]
    try:
        policy = parsed_policy(raw)
    except MalformedDocument as error:
        return None, [_invalid(asset, "a policy document of version 1", error.message)]
    violations = [_disagrees(asset, difference) for difference in _differences(policy.document, asset, committee)]
    violations += _consumer_violations(policy.document.terms.consumer_root, asset, documents, consumer)
    return policy, violations


@lru_cache(maxsize=128)
def _share_set_or_reason(raw: bytes) -> ShareSet | str:
    try:
        return decode_canonical(ShareSet, raw)
    except (SealedError, MalformedDocument) as error:
        return error.message


def _invalid(asset: AssetFacts, expected: object, found: object) -> Violation:
    return Violation(FaultRow.INPUT, note(JobReason.POLICY_INVALID, asset.use.asset_id, expected, str(found)[:1000]))


def _disagrees(asset: AssetFacts, difference: Difference) -> Violation:
    field = f"{difference.document}: {difference.field}"
    return _invalid(asset, f"{field} {difference.expected}", difference.found)


def _differences(policy: PolicyDocument, asset: AssetFacts, committee: Committee) -> Iterator[Difference]:
    yield from policy_differences(policy, asset.use, committee.epoch)
    yield from committee_differences(policy, committee.ref)
    yield from terms_differences(asset.state.terms, policy.terms)


def _consumer_violations(
    root: Bytes32, asset: AssetFacts, documents: JobDocuments, consumer: Address
) -> list[Violation]:
    # The market proved the consumer under the root on chain. Where that is the policy's root, no proof is missing.
    if root in (ZERO_HASH, asset.state.terms.consumer_root):
        return []
    admitted = documents.lists.get(root)
    if admitted is not None and account_leaf(consumer) in admitted:
        return []
    found = f"{asset.state.terms.consumer_root} on chain, " + ("without them" if admitted else "and no list to show it")
    violation = _invalid(asset, f"{consumer} among the consumers under {root}", found)
    return [Violation(violation.row, violation.note, waits=admitted is None)]


def share_violations(
    case: AppraisalInput, asset: AssetFacts, documents: JobDocuments, private: PrivateKey
) -> Iterator[Violation]:
    """Step 4. This node's share opens and matches its commitment, before a party is charged."""
    subject, root = asset.use.asset_id, asset.seal.share_root
    raw = documents.share_sets.get(root)
    if raw is None:
        finding = note(JobReason.SHARE_MISSING, subject, f"share set {root}", "nothing in the store")
        yield Violation(FaultRow.INPUT, finding, waits=True)
        return
    try:
        share_set = load_share_set(case.market, asset, case.committee, raw)
        sealed = documents.sealed_shares.get(share_set.members[case.index].sealed)
        if sealed is None:
            finding = note(
                JobReason.SHARE_MISSING, subject, f"the sealed share of node {case.index}", "not in the store"
            )
            yield Violation(FaultRow.INPUT, finding, waits=True)
            return
        open_own_share(share_set, case.index, sealed, private)
    except ShareMisdealt as error:
        finding = note(JobReason.SHARE_MISDEALT, subject, error.expected, error.found)
        yield Violation(FaultRow.INPUT, finding)


def load_share_set(market: MarketRef, asset: AssetFacts, committee: Committee, raw: bytes) -> ShareSet:
    """The share set of one asset, compared with the chain and the committee.

    4a its hash is the root in the seal; 4b it is about this chain, registry, asset, version, content, policy and epoch;
    4c threshold, size and every member are the committee's.

    Raises:
        ShareMisdealt: the first difference.
    """
    if len(raw) > MAXIMUM_SHARE_SET:  # what is longer is not remembered either
        raise ShareMisdealt(f"a share set of at most {MAXIMUM_SHARE_SET} bytes", len(raw))
    found = _compared(market, asset.use, asset.seal, committee, raw)
    if isinstance(found, ShareSet):
        return found
    raise ShareMisdealt(*found)


# Pure, over values that do not change: each job over an asset asks the same, at the gate and again at the release.
@lru_cache(maxsize=128)
def _compared(
    market: MarketRef, use: AssetUse, seal: Seal, committee: Committee, raw: bytes
) -> ShareSet | tuple[str, str]:
    for difference in hash_differences(Document.SHARE_SET, raw, seal.share_root):
        return _misdealt(difference)
    share_set = _share_set_or_reason(raw)
    if isinstance(share_set, str):
        return "a share set of version 1", share_set[:1000]
    for difference in chain(
        share_set_differences(share_set, market.chain_id, use, seal, committee.epoch),
        size_differences(share_set, committee.ref),
        member_differences(share_set, market.registry, _keys_of(committee)),
    ):
        return _misdealt(difference)
    return share_set


@lru_cache(maxsize=16)
def _keys_of(committee: Committee) -> tuple[tuple[Address, Bytes32], ...]:
    return tuple((member.signer, keccak(member.hpke_public_key)) for member in committee.members)


def _misdealt(difference: Difference) -> tuple[str, str]:
    return f"{difference.document}: {difference.field} {difference.expected}", str(difference.found)


# As above: each job over an asset opens the same bytes.
@lru_cache(maxsize=256)
def _name_of(sealed: bytes) -> Bytes32:
    return keccak(sealed)


def open_own_share(share_set: ShareSet, index: int, sealed: bytes, private: PrivateKey) -> Share:
    """4d. This node's share, opened under its context and compared with its commitment.

    Raises:
        ShareMisdealt: other bytes than the set names, sealed to another key or context, or another value.
    """
    named: Bytes32 = share_set.members[index].sealed
    if len(sealed) != SEALED_SHARE_BYTES:
        raise ShareMisdealt(f"sealed share {named} of {SEALED_SHARE_BYTES} bytes", f"{len(sealed)} bytes")
    if (found := _name_of(sealed)) != named:
        raise ShareMisdealt(f"sealed share {named}", found)
    try:
        return open_share(private, share_set, share_index(index), sealed)
    except SealedError as error:
        raise ShareMisdealt(f"a share of node {index} under its commitment", error.message) from None
