"""What a reader sees of the state at one block of the twin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sealmarket.chain.errors import Reverted
from sealmarket.chain.memory.blocks import MemoryBlocks
from sealmarket.chain.memory.state import State
from sealmarket.chain.model import (
    NOT_INTERRUPTED,
    NOTHING,
    Account,
    AssetState,
    Block,
    FeeBook,
    Interruption,
    JobSlot,
    Unbonding,
)
from sealmarket.chain.sessions import NO_SERVICE, NO_TAB, ServiceState, Tab
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, Address, Bytes32, Wei
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import AssetId, JobId

FINALITY_SECONDS = 30
TRANSFER_SECONDS = 60
_FEE_FACTOR = 3
_NO_COMMITTEE: tuple[Bytes32, frozenset[int]] = (ZERO_HASH, frozenset())


class MemoryView:
    """The state at one block of the twin."""

    def __init__(self, blocks: MemoryBlocks, block: Block, state: State) -> None:
        self._blocks = blocks
        self._block = block
        self._state = state

    @property
    def block(self) -> Block:
        """The block that every read is pinned to."""
        return self._block

    def prepare(self, specs: Iterable[JobSpec]) -> None:
        """As :meth:`sealmarket.chain.view.View.prepare`."""

    def job(self, request_hash: Bytes32) -> JobSlot:
        """As :meth:`sealmarket.chain.view.View.job`."""
        self._blocks.require(self._block)
        return self._state.jobs.get(request_hash, JobSlot(Status.NONE, 0, b""))

    def asset(self, asset_id: AssetId, version: int) -> AssetState:
        """As :meth:`sealmarket.chain.view.View.asset`."""
        self._blocks.require(self._block)
        try:
            return self._state.assets[asset_id, version]
        except KeyError:
            raise Reverted(
                "UnknownVersion",
                {"asset_id": asset_id, "version": version},
                f"version {version} of asset {asset_id} was never published",
                "check id and version",
            ) from None

    def committee_hash(self, epoch: int) -> Bytes32:
        """As :meth:`sealmarket.chain.view.View.committee_hash`."""
        self._blocks.require(self._block)
        return self._state.committees.get(epoch, _NO_COMMITTEE)[0]

    def removed_members(self, epoch: int) -> frozenset[int]:
        """As :meth:`sealmarket.chain.view.View.removed_members`."""
        self._blocks.require(self._block)
        return self._state.committees.get(epoch, _NO_COMMITTEE)[1]

    def epoch_end(self, epoch: int) -> int:
        """As :meth:`sealmarket.chain.view.View.epoch_end`."""
        self._blocks.require(self._block)
        return self._state.ends.get(epoch, 0)

    def advisory_anchors(self, statements: Sequence[Bytes32]) -> Mapping[Bytes32, int]:
        """As :meth:`sealmarket.chain.view.View.advisory_anchors`."""
        self._blocks.require(self._block)
        return {one: self._state.anchors.get(one, 0) for one in statements}

    def interruption(self, request_hash: Bytes32) -> Interruption:
        """As :meth:`sealmarket.chain.view.View.interruption`."""
        self._blocks.require(self._block)
        return self._state.interruptions.get(request_hash, NOT_INTERRUPTED)

    def finality(self) -> int:
        """As :meth:`sealmarket.chain.view.View.finality`."""
        return FINALITY_SECONDS

    def transfer_allowance(self) -> int:
        """As :meth:`sealmarket.chain.view.View.transfer_allowance`."""
        return TRANSFER_SECONDS

    def account(self, token: Address, holder: Address) -> Account:
        """As :meth:`sealmarket.chain.view.View.account`."""
        self._blocks.require(self._block)
        return self._state.accounts.get((token, holder), Account(Wei(0), Wei(0)))

    def unbonding(self, token: Address, holder: Address) -> Unbonding:
        """As :meth:`sealmarket.chain.view.View.unbonding`: what a test has set."""
        self._blocks.require(self._block)
        return self._state.unbonding.get((token, holder), Unbonding(Wei(0), 0))

    def order_used(self, signer: Address, order_hash: Bytes32) -> int:
        """As :meth:`sealmarket.chain.view.View.order_used`: what a test has set."""
        self._blocks.require(self._block)
        return self._state.used.get((signer, order_hash), 0)

    def paused(self) -> bool:
        """As :meth:`sealmarket.chain.view.View.paused`."""
        self._blocks.require(self._block)
        return self._state.paused

    def fee_book(self, epoch: int, token: Address) -> FeeBook | None:
        """As :meth:`sealmarket.chain.view.View.fee_book`: what a test has set."""
        self._blocks.require(self._block)
        return self._state.fee_books.get((epoch, token))

    def signature_fee(self, token: Address) -> Wei | None:
        """As :meth:`sealmarket.chain.view.View.signature_fee`: the native coin alone is admitted, and costs nothing."""
        self._blocks.require(self._block)
        return NOTHING if token == ZERO_ADDRESS else None

    def hold_fee(self, owners: Wei, min_penalty: Wei, quote_window: int, decide_window: int, fee: Wei) -> Wei:
        """As :meth:`sealmarket.chain.view.View.hold_fee`, with the fixed part of most markets."""
        held = (2 * owners + min_penalty) * (quote_window + decide_window) * self._blocks.book.timing.hold_rate
        return Wei(_FEE_FACTOR * fee + -(-held // 10**18))


class MemorySessions:
    """What sessions have recorded at one block of the twin: what a test has set."""

    def __init__(self, state: State) -> None:
        self._state = state

    def prepare(self, job_id: JobId, accounts: Iterable[Address]) -> None:
        """As :meth:`sealmarket.chain.sessions.SessionsView.prepare`."""

    def service(self, job_id: JobId) -> ServiceState:
        """As :meth:`sealmarket.chain.sessions.SessionsView.service`."""
        return self._state.services.get(job_id, NO_SERVICE)

    def tab(self, job_id: JobId, account: Address) -> Tab:
        """As :meth:`sealmarket.chain.sessions.SessionsView.tab`."""
        return self._state.tabs.get((job_id, account), NO_TAB)
