"""What a reader learns from the chain: blocks, slots, accounts. Plain values; no connection behind them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address, Bytes32, MicroEpsilon, Wei
from sealmarket_enclave.protocol.numbers import BlockNumber
from sealmarket_enclave.protocol.terms import Terms


@dataclass(frozen=True, slots=True, order=True)
class Block:
    """One block. ``timestamp`` is in seconds since 1970 UTC."""

    number: BlockNumber
    hash: Bytes32
    timestamp: int
    parent: Bytes32


@dataclass(frozen=True, slots=True, order=True)
class EventRef:
    """Where an event stands on the chain; sorts in the chain's own order."""

    block_number: BlockNumber
    log_index: int
    block_hash: Bytes32
    transaction: Bytes32


@dataclass(frozen=True, slots=True)
class Event:
    """What one log says. ``at`` is where it stands on the chain."""

    at: EventRef


@dataclass(frozen=True, slots=True)
class JobSlot:
    """What the market stores of one job.

    ``status`` as stored, ``deadline`` of the stage that it waits in (seconds), ``commitment`` to everything else
    that its past stages fixed. Whether a deadline has passed is for the reader's clock to say.
    """

    status: Status
    deadline: int
    commitment: bytes


@dataclass(frozen=True, slots=True)
class AssetState:
    """One version of an asset in the registry, with what is in use of its uses and budget.

    ``suspended``: no new match until the owner lifts it. A job that is not yet accepted stands if it was matched under
    terms version ``strict_version`` or later.
    """

    owner: Address
    seal_hash: Bytes32
    epoch: int
    terms: Terms
    terms_version: int
    revoked: bool
    suspended: bool
    strict_version: int
    uses_taken: int
    budget_taken: MicroEpsilon


@dataclass(frozen=True, slots=True)
class Account:
    """A holder's balances of one token, and its record as a provider (each counter stops at its maximum).

    What runs in jobs has left both balances. Orders that the holder signs or pays for in this token carry
    ``generation`` in their salt (:mod:`sealmarket.protocol.salts`).
    """

    free: Wei
    staked: Wei
    generation: int = 0
    settled: int = 0
    refused: int = 0
    expired: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Unbonding:
    """Stake on its way out; ``ready_at`` in seconds, 0 when nothing is."""

    amount: Wei
    ready_at: int


@dataclass(frozen=True, slots=True)
class CommitteeState:
    """What the chain stores of one epoch.

    ``removed`` are the places of members proven to have signed what excludes something else that they signed.
    ``members_hash`` covers them. No job of the epoch is matched that could last beyond ``ends_at``; 0 for no end.
    """

    members_hash: Bytes32
    active_at: int
    members: int
    threshold: int
    removed: frozenset[int]
    ends_at: int


@dataclass(frozen=True, slots=True)
class FeeBook:
    """What the signatures of an epoch cost in a token, and those of each member that are not claimed yet."""

    fee: Wei
    members: int
    threshold: int
    unclaimed: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Enclave:
    """The enclave that a committee accepted, as later stages have to name it. Absent parts are zero."""

    evidence_hash: Bytes32
    enclave_signer: Address
    enclave_key_hash: Bytes32


@dataclass(frozen=True, slots=True)
class Interruption:
    """Where a job's course was interrupted after acceptance.

    ``stopped``: a quorum promised not to release. ``shares_deadline``, the last second at which a release may be
    posted, is 0 unless the enclave reported missing shares. ``posted`` and ``excluded`` are places in the committee:
    whose release is on chain, and about whom the enclave complained. ``provider`` gets what is left of ``unspent``.
    """

    provider: Address
    shares_deadline: int
    posted: frozenset[int]
    excluded: frozenset[int]
    stopped: bool
    token: Address
    unspent: Wei


NOT_INTERRUPTED = Interruption(ZERO_ADDRESS, 0, frozenset(), frozenset(), False, ZERO_ADDRESS, Wei(0))


def places(bits: int) -> tuple[int, ...]:
    """The set bits of a bitmap."""
    return tuple(place for place in range(bits.bit_length()) if bits >> place & 1)


class Fault(IntEnum):
    """The row of the fault table by which a job's money moved. Numbers are on chain."""

    NONE = 0
    NO_QUOTE = 1
    PLATFORM_REFUSED = 2
    REQUEST_REFUSED = 3
    TERMS_REFUSED = 4
    INPUT_REFUSED = 5
    EVIDENCE_WITHHELD = 6
    COMMITTEE_SILENT = 7
    STOPPED_BEFORE_RELEASE = 8
    INPUT_FAILED = 9
    WORKLOAD_FAILED = 10
    PROVIDER_SILENT = 11
    RESULT_WITHHELD = 12
    WITHDRAWN = 13
    WORKLOAD_TIMED_OUT = 14
    VALIDATOR_TIMED_OUT = 15
    SHARES_MISSING = 16
    READER_TIMED_OUT = 17


NOTHING = Wei(0)


@dataclass(frozen=True, slots=True)
class Payout:
    """Who got what at a job's end.

    ``owners_paid`` are the places of the assets whose owners were credited then, with ``owners_total`` together.
    """

    refunded: Wei = NOTHING
    paid: Wei = NOTHING
    stake_returned: Wei = NOTHING
    burned: Wei = NOTHING
    owners_total: Wei = NOTHING
    owners_paid: frozenset[int] = frozenset()


NO_PAYOUT = Payout()
