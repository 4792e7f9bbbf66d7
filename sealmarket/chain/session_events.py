"""What the contract of services tells (docs/spec/session.md). Fields are the ABI's; ``from`` is ``sender`` here."""

from __future__ import annotations

from dataclasses import dataclass

from sealmarket.chain.model import Event
from sealmarket_enclave.protocol.codec import Address, Bytes32, Uint, Uint64, Wei
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.session import SessionTerms


@dataclass(frozen=True, slots=True)
class ServiceOpened(Event):
    """A job serves users under these terms."""

    job_id: JobId
    provider: Address
    token: Address
    enclave_signer: Address
    epoch: int
    terms: SessionTerms


@dataclass(frozen=True, slots=True)
class ServiceEnded(Event):
    """A service ends at this block time, earlier than its terms say."""

    job_id: JobId
    end: int


@dataclass(frozen=True, slots=True)
class BondAdded(Event):
    """Money went into a service's bond."""

    job_id: JobId
    amount: Wei


@dataclass(frozen=True, slots=True)
class BondTaken(Event):
    """The provider took money out of a service's bond."""

    job_id: JobId
    amount: Wei


@dataclass(frozen=True, slots=True)
class TabFunded(Event):
    """An account's tab is open up to ``limit``; ``sender`` paid the last ``amount`` of it."""

    job_id: JobId
    account: Address
    sender: Address
    amount: Wei
    limit: Wei


@dataclass(frozen=True, slots=True)
class TabClosed(Event):
    """What was left of a tab returned to its account."""

    job_id: JobId
    account: Address
    returned: Wei


@dataclass(frozen=True, slots=True)
class CloseRequested(Event):
    """An account asked to close its tab."""

    job_id: JobId
    account: Address
    block_number: Uint


@dataclass(frozen=True, slots=True)
class CloseConfirmed(Event):
    """The committee saw the request; statements count until ``closes_at`` (seconds)."""

    job_id: JobId
    account: Address
    closes_at: int


@dataclass(frozen=True, slots=True)
class StatementRedeemed(Event):
    """Users paid for ``redeemed`` units in all. ``payments``: account, amount and end of each tab, packed."""

    job_id: JobId
    redeemed: Uint64
    last: bool
    royalties: Wei
    payments: tuple[Bytes32, ...]


@dataclass(frozen=True, slots=True)
class RenewalPaid(Event):
    """``signers``, places in the committee, got ``fee`` each for a renewal as of a block."""

    job_id: JobId
    block_number: Uint64
    signers: tuple[int, ...]
    fee: Wei


@dataclass(frozen=True, slots=True)
class RoyaltiesPaid(Event):
    """Owners were credited the royalties of these units."""

    job_id: JobId
    units: Uint64
