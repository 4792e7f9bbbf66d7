"""What an owner's approval changes: the list of allowed pairs on chain, or a new version whose policy has the workload.

A list on chain opens nothing that the policy under the key shares does not allow (docs/spec/policy.md). So:

1. a workload that the version's policy names comes onto the list in force, which is that of all others that are on it;
2. another one needs key shares under a policy that names it: the same content under the next version. Its terms are
   those in force, with the uses that are left, so that an approval loosens nothing else.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from sealmarket.attestation.policy.rules import AppraisalPolicy, check_rules
from sealmarket.chain import AssetState, Block
from sealmarket.chain.events import VersionPublished
from sealmarket.client.assets import HistoryReader, asset_state
from sealmarket.client.draft import allowed_pairs
from sealmarket.client.errors import ClientError, PolicyMismatch, UnknownAsset
from sealmarket.protocol import merkle
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import Bytes32, decode_canonical, from_builtins
from sealmarket_enclave.protocol.numbers import AssetId
from sealmarket_enclave.protocol.policy import PolicyDocument


class ListUnknown(ClientError):
    """The list of allowed pairs in force is in no store, so nothing can be added to it."""

    def __init__(self, root: Bytes32) -> None:
        super().__init__(
            f"the store does not have the list of allowed pairs under {root}, which is in force",
            remedy="put it back (Store.put_list), or tighten to another list first",
        )


@dataclass(frozen=True, slots=True)
class Allowed:
    """What one version allows: its policy, its state on chain, and the pairs in force. ``pairs`` None: not known."""

    policy: PolicyDocument
    state: AssetState
    pairs: frozenset[Bytes32] | None

    def rules(self) -> AppraisalPolicy:
        """The policy's evidence rules."""
        rules = from_builtins(AppraisalPolicy, self.policy.evidence)
        check_rules(rules)
        return rules

    def pairs_of(self, workload: Bytes32) -> frozenset[Bytes32]:
        """The pairs of a workload with each enclave that the policy accepts."""
        return frozenset(allowed_pairs(self.rules(), (workload,)))

    def named(self, workload: Bytes32) -> bool:
        """Whether the policy under the key shares names a workload."""
        return workload in self.policy.workloads

    def runs(self, workload: Bytes32) -> bool:
        """Whether policy and list both allow a workload in some enclave that the policy accepts."""
        return self.named(workload) and self.pairs is not None and bool(self.pairs & self.pairs_of(workload))

    def workloads(self) -> tuple[Bytes32, ...]:
        """The workloads that both allow."""
        return tuple(workload for workload in self.policy.workloads if self.runs(workload))

    def with_workload(self, workload: Bytes32) -> frozenset[Bytes32]:
        """The pairs in force, and those of a workload. Raises :class:`ListUnknown`."""
        if self.pairs is None:
            raise ListUnknown(self.state.terms.allow_root)
        return self.pairs | self.pairs_of(workload)


def allowed_by(chain: HistoryReader, store: Store, at: Block, asset_id: AssetId, version: int) -> Allowed:
    """What a version of an asset allows at a block, each document held against its hash on chain.

    Raises:
        UnknownAsset: it was never published.
        PolicyMismatch: the store lacks its policy.
        ContentMismatch, MalformedDocument: the store's documents are not those of the chain.
    """
    state = asset_state(chain, at, asset_id, version)
    policy = policy_of(chain, store, at, asset_id, version)
    return Allowed(policy, state, pairs_in_force(store, policy, state.terms.allow_root))


def running_version(
    chain: HistoryReader, store: Store, at: Block, asset_id: AssetId, least: int, workload: Bytes32
) -> int | None:
    """The newest version from ``least`` on that lets a workload run at a block; None where none does.

    Versions that are revoked or whose policy is in no store are left out. Raises as :func:`allowed_by` for the others.
    """
    events = chain.about_asset(asset_id, at)
    versions = (event.version for event in events if isinstance(event, VersionPublished) and event.version >= least)
    for version in sorted(versions, reverse=True):
        with suppress(PolicyMismatch):
            allowed = allowed_by(chain, store, at, asset_id, version)
            if allowed.runs(workload) and not allowed.state.revoked:
                return version
    return None


def policy_of(chain: HistoryReader, store: Store, at: Block, asset_id: AssetId, version: int) -> PolicyDocument:
    """The policy of a version, as its owner published it. Raises as :func:`allowed_by`."""
    for event in chain.about_asset(asset_id, at):
        if isinstance(event, VersionPublished) and event.version == version:
            raw = store.find_document(event.seal.policy_hash)
            if raw is None:
                raise PolicyMismatch("document", f"{event.seal.policy_hash} in the store", "not there")
            return decode_canonical(PolicyDocument, raw)
    raise UnknownAsset(asset_id, version, chain.book.market.checksum)


def pairs_in_force(store: Store, policy: PolicyDocument, root: Bytes32) -> frozenset[Bytes32] | None:
    """The pairs behind a root: the policy's own list, one pair alone, or a list of the store."""
    own = frozenset(allowed_pairs(from_builtins(AppraisalPolicy, policy.evidence), policy.workloads))
    if merkle.root(own) == root:
        return own
    return frozenset({root}) if root in own else store.find_leaves(root)
