"""The events of the contracts, as typed values. A :class:`JobMatched` carries the whole job.

Each has ``at``: where it stands on the chain. ``JobId`` and specification have been compared before a
:class:`JobMatched` is made. What the ledger and the order book tell is in :mod:`sealmarket.chain.ledger_events`, what
services tell in :mod:`sealmarket.chain.session_events`; this module names them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, get_args

from sealmarket.chain.ledger_events import (
    AllOrdersCancelled,
    BatchEntryFailed,
    Deposited,
    FeeBookOpened,
    FeesClaimed,
    MatchingPaused,
    OrderCancelled,
    OrderUsed,
    RequestCancelled,
    Staked,
    SuspensionPaid,
    TokenAdmitted,
    Transferred,
    UnspentReturned,
    UnstakeBegun,
    Unstaked,
    Withdrawn,
)
from sealmarket.chain.model import NO_PAYOUT, NOTHING, Event, Fault, Payout
from sealmarket.chain.session_events import (
    BondAdded,
    BondTaken,
    CloseConfirmed,
    CloseRequested,
    RenewalPaid,
    RoyaltiesPaid,
    ServiceEnded,
    ServiceOpened,
    StatementRedeemed,
    TabClosed,
    TabFunded,
)
from sealmarket.protocol.decisions import Decision, Outcome
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32, HexBytes, Uint, Wei
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import AssetId, JobId
from sealmarket_enclave.protocol.terms import Seal, Terms


@dataclass(frozen=True, slots=True)
class VersionPublished(Event):
    """A version of an asset is in the registry. ``location`` is its owner's hint where to fetch it; unchecked."""

    asset_id: AssetId
    owner: Address
    version: int
    seal: Seal
    terms: Terms
    location: str


@dataclass(frozen=True, slots=True)
class TermsTightened(Event):
    """The owner tightened the terms of one version."""

    asset_id: AssetId
    version: int
    terms_version: int
    terms: Terms


@dataclass(frozen=True, slots=True)
class AllowListReplaced(Event):
    """The owner replaced the allow-list of one version; its other terms stay."""

    asset_id: AssetId
    version: int
    terms_version: int
    allow_root: Bytes32


@dataclass(frozen=True, slots=True)
class AssetRevoked(Event):
    """The owner revoked one version; version 0 means all of them."""

    asset_id: AssetId
    version: int


@dataclass(frozen=True, slots=True)
class VersionSuspended(Event):
    """An enclave signed, about this job, that a version does not open or does not read: no new match."""

    asset_id: AssetId
    version: int
    job_id: JobId


@dataclass(frozen=True, slots=True)
class SuspensionLifted(Event):
    """The owner paid for a suspended version to be matched again."""

    asset_id: AssetId
    version: int


@dataclass(frozen=True, slots=True)
class JobMatched(Event):
    """A job exists, its escrow and stake are locked.

    ``fees_held`` is set aside for the oracle's fees; the hold fee is in the specification. ``compute_order`` is the
    hashStruct of the order that the job counts for.
    """

    job_id: JobId
    spec: JobSpec
    fees_held: Wei = NOTHING
    compute_order: Bytes32 = ZERO_HASH


@dataclass(frozen=True, slots=True)
class JobQuoted(Event):
    """The provider posted the hash of its evidence."""

    job_id: JobId
    evidence_hash: Bytes32
    deadline: int = 0


@dataclass(frozen=True, slots=True)
class JobDecided(Event):
    """A quorum decided. ``outcome`` is what took effect: tightened terms turn an acceptance into a refusal.

    ``core`` is the common core that the signers share (its ``detail`` is zero), ``signers`` their places in the
    committee. ``fees_returned`` includes the hold fee when the job is accepted.
    """

    job_id: JobId
    core: Decision
    signers: tuple[int, ...]
    outcome: Outcome
    deadline: int = 0
    fees_returned: Wei = NOTHING


@dataclass(frozen=True, slots=True)
class JobStopped(Event):
    """Enough nodes have promised never to release. The job is accepted until it is ended by that, or settled."""

    job_id: JobId
    evidence_hash: Bytes32
    reasons: Uint
    signers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SharesReportedMissing(Event):
    """The enclave has joined no key; ``excluded`` are the places of nodes that sent false shares.

    Releases may be posted until ``shares_deadline``, and the job settled until ``settle_deadline`` (seconds). The
    provider has ``set_aside`` fees for the nodes that post.
    """

    job_id: JobId
    excluded: tuple[int, ...]
    shares_deadline: int
    settle_deadline: int
    set_aside: Wei


@dataclass(frozen=True, slots=True)
class ReleasePosted(Event):
    """A node's release with its ciphertexts, one for each asset in the job's order; ``r, vs`` as in EIP-2098."""

    job_id: JobId
    index: int
    sealed: tuple[HexBytes, ...]
    r: Bytes32
    vs: Bytes32


@dataclass(frozen=True, slots=True)
class JobSettled(Event):
    """The enclave's signed result is on chain. ``payable`` is what the provider gets when the job matures."""

    job_id: JobId
    result_hash: Bytes32
    receipt_hash: Bytes32
    units: int
    last: bool
    refunded: Wei = NOTHING
    payable: Wei = NOTHING


@dataclass(frozen=True, slots=True)
class JobFailed(Event):
    """The enclave signed a failure."""

    job_id: JobId
    cause: int
    asset_index: int
    units: int
    receipt_hash: Bytes32


@dataclass(frozen=True, slots=True)
class JobEnded(Event):
    """The job reached its end, its money moved by one row of the fault table.

    ``evidence_hash`` is zero if none was posted, or if the end came after settling.
    """

    job_id: JobId
    status: Status
    fault: Fault
    evidence_hash: Bytes32 = ZERO_HASH
    payout: Payout = NO_PAYOUT


@dataclass(frozen=True, slots=True)
class JobChallenged(Event):
    """Consumer or payer say, against a bond, that the ciphertext is not available."""

    job_id: JobId
    challenger: Address
    bond: Wei
    deadline: int


@dataclass(frozen=True, slots=True)
class ChallengeAnswered(Event):
    """The committee answered a challenge."""

    job_id: JobId
    available: bool
    signers: tuple[int, ...]
    fees: Wei
    bond_returned: Wei


@dataclass(frozen=True, slots=True)
class EpochAnnounced(Event):
    """A new committee: its signers, the Keccak-256 of their HPKE keys, and when it counts from."""

    epoch: int
    signers: tuple[Address, ...]
    hpke_key_hashes: tuple[Bytes32, ...]
    threshold: int
    active_at: int


@dataclass(frozen=True, slots=True)
class EpochEndAnnounced(Event):
    """An epoch ends: from now on no job of it is matched whose last window would close after ``ends_at``."""

    epoch: int
    ends_at: int


@dataclass(frozen=True, slots=True)
class EquivocatorRemoved(Event):
    """A member of an epoch's committee was shown to have signed what excludes something else that it signed."""

    epoch: int
    index: int
    signer: Address
    job_id: JobId


@dataclass(frozen=True, slots=True)
class AdvisoryAnchored(Event):
    """The hash of a statement about platforms is on chain for the first time, by whomever, at this time."""

    statement: Bytes32
    anchored_at: int


@dataclass(frozen=True, slots=True)
class UnreadableLog(Event):
    """A log of these contracts that does not read, or rests on one that does not: it concerns its subject alone.

    ``subject`` is the job or asset that it is about, None where it names neither. Who follows the chain goes on with
    the next event, and leaves that job or asset alone.
    """

    contract: str
    name: str
    subject: Bytes32 | None
    reason: str


ChainEvent: TypeAlias = (
    VersionPublished
    | TermsTightened
    | AllowListReplaced
    | AssetRevoked
    | VersionSuspended
    | SuspensionLifted
    | SuspensionPaid
    | JobMatched
    | JobQuoted
    | JobDecided
    | JobStopped
    | SharesReportedMissing
    | ReleasePosted
    | UnspentReturned
    | JobSettled
    | JobFailed
    | JobEnded
    | JobChallenged
    | ChallengeAnswered
    | OrderUsed
    | OrderCancelled
    | AllOrdersCancelled
    | RequestCancelled
    | Deposited
    | Withdrawn
    | Transferred
    | Staked
    | UnstakeBegun
    | Unstaked
    | TokenAdmitted
    | FeeBookOpened
    | FeesClaimed
    | MatchingPaused
    | BatchEntryFailed
    | EpochAnnounced
    | EpochEndAnnounced
    | EquivocatorRemoved
    | AdvisoryAnchored
    | ServiceOpened
    | ServiceEnded
    | BondAdded
    | BondTaken
    | TabFunded
    | TabClosed
    | CloseRequested
    | CloseConfirmed
    | StatementRedeemed
    | RenewalPaid
    | RoyaltiesPaid
    | UnreadableLog
)
EVENTS: dict[str, type[Event]] = {
    {"AssetRevoked": "VersionRevoked"}.get(kind.__name__, kind.__name__): kind
    for kind in get_args(ChainEvent)
    if kind is not UnreadableLog
}
"""Name in the ABI -> type. No two contracts have different events of one name."""
