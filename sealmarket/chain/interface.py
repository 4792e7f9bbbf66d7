"""What a reader of the chain may rely on: the same for the real one and for its twin in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from sealmarket.chain.alarms import Alarm
from sealmarket.chain.events import ChainEvent
from sealmarket.chain.model import Account, AssetState, Block, FeeBook, Interruption, JobSlot, Unbonding
from sealmarket.chain.sessions import ServiceState, Tab
from sealmarket.protocol.book import AddressBook
from sealmarket_enclave.protocol.codec import Address, Bytes32, Wei
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import AssetId, JobId

if TYPE_CHECKING:
    from sealmarket.chain.quorum import AtEndpoint, ChainTrust

T = TypeVar("T")


class ProvableView(Protocol):
    """What of the state at one block decides about a job, and can be proven."""

    @property
    def block(self) -> Block:
        """The block that every read is pinned to."""

    def prepare(self, specs: Iterable[JobSpec]) -> None:
        """Read together what belongs to jobs, where that takes fewer calls."""

    def job(self, request_hash: Bytes32) -> JobSlot:
        """The slot of the job that consumed a request; ``Status.NONE`` when none did."""

    def asset(self, asset_id: AssetId, version: int) -> AssetState:
        """One version of an asset. Raises :class:`Reverted` for one that was never published."""

    def interruption(self, request_hash: Bytes32) -> Interruption:
        """Where the course of a job was interrupted after acceptance; nothing is set where it was not."""

    def committee_hash(self, epoch: int) -> Bytes32:
        """What the committee contract stores of an epoch's members; zero for none."""

    def removed_members(self, epoch: int) -> frozenset[int]:
        """Places of the members that were removed from an epoch's committee."""

    def epoch_end(self, epoch: int) -> int:
        """The last second of an epoch, as the committee's owner announced it; 0 where none is announced."""

    def advisory_anchors(self, statements: Sequence[Bytes32]) -> Mapping[Bytes32, int]:
        """When the hashes of statements about platforms were first anchored, in seconds since 1970 UTC; 0: never."""

    def finality(self) -> int:
        """Seconds that the market allows for a block to become final. Never changes."""

    def transfer_allowance(self) -> int:
        """Seconds that the market allows for moving inputs and results. Never changes."""


class ViewReader(ProvableView, Protocol):
    """The rest of the state at one block, as a node answers calls."""

    def account(self, token: Address, holder: Address) -> Account:
        """A holder's balances in the market's ledger."""

    def unbonding(self, token: Address, holder: Address) -> Unbonding:
        """Stake on its way out."""

    def order_used(self, signer: Address, order_hash: Bytes32) -> int:
        """Jobs made under a compute or asset order; the largest number when it was cancelled."""

    def paused(self) -> bool:
        """Whether the guardian has paused new matches."""

    def fee_book(self, epoch: int, token: Address) -> FeeBook | None:
        """What an epoch's signatures earned in a token and is not claimed yet; None before the first job."""

    def signature_fee(self, token: Address) -> Wei | None:
        """What one oracle signature costs in a token; None for a token that is not admitted."""

    def hold_fee(self, owners: Wei, min_penalty: Wei, quote_window: int, decide_window: int, fee: Wei) -> Wei:
        """What the payer sets aside for holding a job: ``owners`` is the sum of prices, ``fee`` one signature's."""


class SessionsReader(Protocol):
    """What sessions have recorded at one block."""

    def prepare(self, job_id: JobId, accounts: Iterable[Address]) -> None:
        """Read together what belongs to a service and these accounts' tabs, where that takes fewer calls."""

    def service(self, job_id: JobId) -> ServiceState:
        """A service; one that was never opened does not exist."""

    def tab(self, job_id: JobId, account: Address) -> Tab:
        """The tab of an account; all zero where it has none."""


class ChainReader(Protocol):
    """One market on one chain, to read."""

    @property
    def book(self) -> AddressBook:
        """Where the market is, and what final means."""

    @property
    def chain_id(self) -> int:
        """The chain id, confirmed by the node."""

    def head(self) -> Block:
        """The newest block."""

    def final(self) -> Block:
        """The newest block that counts."""

    def heads(self, read: Callable[[ProvableView], T]) -> Sequence[AtEndpoint[T]]:
        """What ``read`` returns of the state at the newest block of each endpoint that has a say."""

    def doubt(self, endpoint: str, block: Block) -> None:
        """Say that an endpoint's newest block alone speaks for another answer."""

    @property
    def trust(self) -> ChainTrust:
        """How far the reader trusts endpoints."""

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """What is wrong with the endpoints now."""

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The endpoints as they may be printed and as alarms name them, in the order of the configuration."""

    def block(self, number: int) -> Block:
        """The block at a number."""

    def contains(self, block: Block) -> bool:
        """Whether a block that was read earlier is still part of the chain."""

    def at(self, block: Block) -> ViewReader:
        """The state at one block."""

    def trusted(self, block: Block) -> ProvableView:
        """The state at one block, proven where the reader demands it."""

    def sessions_at(self, block: Block) -> SessionsReader:
        """What sessions have recorded at one block. Raises :class:`NoSessions` where the market has none."""

    def trusted_sessions(self, block: Block) -> SessionsReader:
        """As :meth:`sessions_at`, proven where the reader demands it."""

    def events(self, first: int, last: int) -> list[ChainEvent]:
        """The events of the contracts from block ``first`` to ``last``, both included, in order."""
