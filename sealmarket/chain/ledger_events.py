"""What the market's ledger, its order book and its batches tell. Fields are the ABI's; ``from`` is ``sender`` here."""

from __future__ import annotations

from dataclasses import dataclass

from sealmarket.chain.model import Event
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address, Bytes32, HexBytes, Uint, Wei
from sealmarket_enclave.protocol.numbers import AssetId


@dataclass(frozen=True, slots=True)
class Deposited(Event):
    """Money came into the ledger."""

    token: Address
    holder: Address
    amount: Wei
    sender: Address = ZERO_ADDRESS


@dataclass(frozen=True, slots=True)
class Withdrawn(Event):
    """Money left the ledger."""

    token: Address
    holder: Address
    to: Address
    amount: Wei


@dataclass(frozen=True, slots=True)
class Transferred(Event):
    """Money moved from one account of the ledger to another."""

    token: Address
    sender: Address
    to: Address
    amount: Wei


@dataclass(frozen=True, slots=True)
class Staked(Event):
    """Free money became stake."""

    token: Address
    holder: Address
    amount: Wei


@dataclass(frozen=True, slots=True)
class UnstakeBegun(Event):
    """Stake is on its way out: ``total`` of it is free at ``ready_at`` (seconds)."""

    token: Address
    holder: Address
    amount: Wei
    total: Wei
    ready_at: int


@dataclass(frozen=True, slots=True)
class Unstaked(Event):
    """Stake became free money."""

    token: Address
    holder: Address
    amount: Wei


@dataclass(frozen=True, slots=True)
class TokenAdmitted(Event):
    """Jobs may be paid in a token; one oracle signature costs ``fee`` of it."""

    token: Address
    fee: Uint


@dataclass(frozen=True, slots=True)
class FeeBookOpened(Event):
    """What an epoch's signatures cost in a token, from now on."""

    epoch: int
    token: Address
    fee: Uint
    members: int
    threshold: int


@dataclass(frozen=True, slots=True)
class FeesClaimed(Event):
    """A node was credited what it was owed for its ``signatures``."""

    epoch: int
    token: Address
    signer: Address
    signatures: Uint
    amount: Wei


@dataclass(frozen=True, slots=True)
class SuspensionPaid(Event):
    """An owner burned money to lift the suspension of a version."""

    asset_id: AssetId
    version: int
    token: Address
    burned: Wei


@dataclass(frozen=True, slots=True)
class UnspentReturned(Event):
    """A provider has back what it set aside for nodes that did not post."""

    request_hash: Bytes32
    provider: Address
    token: Address
    amount: Wei


@dataclass(frozen=True, slots=True)
class OrderUsed(Event):
    """A job counts for a compute or asset order."""

    signer: Address
    order_hash: Bytes32


@dataclass(frozen=True, slots=True)
class OrderCancelled(Event):
    """An account cancelled one order of its own. Anyone may cancel any hash, for themselves alone."""

    signer: Address
    order_hash: Bytes32


@dataclass(frozen=True, slots=True)
class AllOrdersCancelled(Event):
    """An account's orders in a token count from this generation on."""

    token: Address
    signer: Address
    generation: int


@dataclass(frozen=True, slots=True)
class RequestCancelled(Event):
    """Consumer or payer voided a request."""

    request_hash: Bytes32
    by: Address


@dataclass(frozen=True, slots=True)
class MatchingPaused(Event):
    """The guardian paused new matches, or lets them go on."""

    paused: bool


@dataclass(frozen=True, slots=True)
class BatchEntryFailed(Event):
    """An entry of a batch did nothing; ``reason`` is what its call reverted with."""

    index: Uint
    reason: HexBytes
