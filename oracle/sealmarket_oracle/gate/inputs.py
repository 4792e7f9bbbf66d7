"""The input of an appraisal and its outcomes: plain values, read at one final block or fetched from the store.

Nothing here does I/O. Documents from the store are bytes whose hashes were already compared with their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from sealmarket.attestation.collateral.counting import NONE, Counting
from sealmarket.chain.model import AssetState, Block, JobSlot
from sealmarket.protocol.advisories import Advisory, PlatformSeen
from sealmarket.protocol.book import Committee
from sealmarket.protocol.decisions import Decision
from sealmarket.protocol.wire import DecisionDetail, EvidencePackage, FindingNote
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.job import AssetUse, JobSpec
from sealmarket_enclave.protocol.numbers import Grade, JobId
from sealmarket_enclave.protocol.terms import Seal


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketRef:
    """One market on one chain."""

    chain_id: int
    address: Address
    registry: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class EventBlock:
    """The block of an event. ``timestamp`` in seconds since 1970 UTC."""

    number: int
    hash: Bytes32
    timestamp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetFacts:
    """One asset of a job: how the job uses it, its seal by the publishing event, its state at the block read."""

    use: AssetUse
    seal: Seal
    state: AssetState


@dataclass(frozen=True, slots=True, kw_only=True)
class AppraisalInput:
    """One job at one final block ``at``. ``index`` is the node's position in ``committee``, from 0.

    ``decide_by`` is the end of the time for deciding, in seconds since 1970: the same for every node.
    """

    market: MarketRef
    job_id: JobId
    spec: JobSpec
    at: Block
    slot: JobSlot
    matched: EventBlock
    quoted: EventBlock
    decide_by: int
    evidence_hash: Bytes32
    assets: tuple[AssetFacts, ...]
    committee: Committee
    index: int
    grade_floor: Grade

    @property
    def patient_until(self) -> int:
        """Until then the node waits for what the store lacks; afterwards it counts as withheld."""
        return self.quoted.timestamp + self.spec.decide_window // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDocuments:
    """Documents of a job from the store, by name: policy documents, share sets, this node's sealed shares.

    ``lists`` holds the leaves behind Merkle roots (allowed pairs, admitted consumers), already held against the root.
    ``present`` names what else the store has: containers by root, workload and parameters by digest, the list of
    result keys by its Keccak-256; the keys themselves are in ``result_keys``. ``capability`` is the document
    that the provider's order names. ``cards`` are the data cards that policies name, by their Keccak-256;
    ``parameters`` the values that the request signed, None where the store has none.
    """

    policies: Mapping[Bytes32, bytes] = field(default_factory=dict)
    share_sets: Mapping[Bytes32, bytes] = field(default_factory=dict)
    sealed_shares: Mapping[Bytes32, bytes] = field(default_factory=dict)
    lists: Mapping[Bytes32, frozenset[Bytes32]] = field(default_factory=dict)
    present: frozenset[Bytes32] = frozenset()
    result_keys: tuple[bytes, ...] = ()
    capability: bytes | None = None
    cards: Mapping[Bytes32, bytes] = field(default_factory=dict)
    parameters: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceOpened:
    """Evidence that this node could open and that hashes to what is on chain, with its package's content hash."""

    package: EvidencePackage
    content: Bytes32
    readers: frozenset[Bytes32] = frozenset()
    """To whose keys it is sealed, by their Keccak-256."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceShown(EvidenceOpened):
    """The same with the block that it names, what counts of the node's own collateral, and the advisories in force.

    ``named`` is None when this chain has no such block.
    """

    named: Block | None
    own: Counting = NONE
    recalls: tuple[Advisory, ...] = ()


@dataclass(frozen=True, slots=True)
class EvidenceUnavailable:
    """Why there is no evidence to appraise: absent, sealed to another key, or not what was hashed on chain."""

    why: str


class FaultRow(IntEnum):
    """The row of the fault table of a violation. Of several the lowest decides (docs/spec/oracle.md, "The gate")."""

    TERMS = 1
    INPUT = 2
    WITHHELD = 3
    PLATFORM = 4
    REQUEST = 5
    NO_PARTY = 6
    LATE = 7


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that is not met, and its row. ``waits``: what the store lacks now may still arrive. ``advisory``: the
    name of the statement about platforms that the rule is."""

    row: FaultRow
    note: FindingNote
    waits: bool = False
    advisory: Bytes32 | None = None


@dataclass(frozen=True, slots=True)
class Defer:
    """Neither a decision nor a release now, and why. ``lasting``: only an event on chain can change that."""

    reason: str
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision that is not yet journaled or signed. ``decision.detail`` is the hash of ``detail``.

    ``machines`` is what proven evidence shows of the CPU's and its devices' hardware, ``platform`` the digest of the
    CPU's, both for the operator alone. ``holds_until``: when the collateral ends by which the evidence was judged, in
    seconds since 1970 UTC; 0 where that is not known.
    """

    decision: Decision
    detail: DecisionDetail
    machines: tuple[PlatformSeen, ...] = ()
    platform: Bytes32 | None = None
    holds_until: int = 0
