"""The state of the contracts at one block. Every read is pinned to that block's hash."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sealmarket.chain import abi
from sealmarket.chain.errors import Reverted
from sealmarket.chain.model import (
    Account,
    AssetState,
    Block,
    CommitteeState,
    FeeBook,
    Interruption,
    JobSlot,
    Unbonding,
    places,
)
from sealmarket.chain.reverts import sentence_of
from sealmarket.protocol.book import Timing, Windows
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, Address, Bytes32, MicroEpsilon, Uint64, Wei
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import AssetId
from sealmarket_enclave.protocol.terms import Terms

if TYPE_CHECKING:
    from sealmarket.chain.chain import Chain

_COMMITMENT_BYTES = 26


class View:
    """Reads at one block. All may raise :class:`ChainUnavailable`, :class:`NodeDistrusted`, :class:`Reverted`."""

    def __init__(self, chain: Chain, block: Block) -> None:
        self._chain = chain
        self._block = block

    @property
    def block(self) -> Block:
        """The block that every read is pinned to."""
        return self._block

    def prepare(self, specs: Iterable[JobSpec]) -> None:
        """Nothing: each call reads one value."""

    # --- jobs -------------------------------------------------------------------------------------------------

    def job(self, request_hash: Bytes32) -> JobSlot:
        """The slot of the job that consumed a request; ``Status.NONE`` when none did."""
        found = self._market("jobOf", request_hash)
        return JobSlot(
            status=Status(found["status"]),
            deadline=found["deadline"],
            commitment=found["commitment"].to_bytes(_COMMITMENT_BYTES),
        )

    def interruption(self, request_hash: Bytes32) -> Interruption:
        """Where the course of a job was interrupted after acceptance; nothing is set where it was not."""
        found = self._value("interruptionOf", request_hash)
        return Interruption(
            provider=found["provider"],
            shares_deadline=found["shares_deadline"],
            posted=frozenset(places(found["posted"])),
            excluded=frozenset(places(found["excluded"])),
            stopped=found["stopped"],
            token=found["token"],
            unspent=Wei(found["unspent"]),
        )

    def order_used(self, signer: Address, order_hash: Bytes32) -> int:
        """Jobs made under a compute or asset order; the largest number when it was cancelled."""
        return int(self._value("usedOf", signer, order_hash))

    def minimum_windows(self) -> Windows:
        """The shortest windows that a request may ask for."""
        return Windows(**self._value("minimumWindows"))

    def timing(self) -> Timing:
        """What the deployment fixed of time and of its price: the address book says the same."""
        return Timing(
            finality_seconds=self.finality(),
            transfer_allowance=self.transfer_allowance(),
            windows=self.minimum_windows(),
            hold_rate=Uint64(self.hold_rate()),
        )

    def paused(self) -> bool:
        """Whether the guardian has paused new matches."""
        return bool(self._value("paused"))

    def extension(self) -> Address:
        """The contract whose code the market runs for orders and money."""
        return Address(self._value("extension"))

    def endings(self) -> Address:
        """The contract whose code the market runs for the ends that few jobs have."""
        return Address(self._value("endings"))

    # --- money ------------------------------------------------------------------------------------------------

    def account(self, token: Address, holder: Address) -> Account:
        """A holder's balances in the market's ledger, and its record as a provider."""
        found = self._value("accountOf", token, holder)
        return Account(
            free=Wei(found["free"]),
            staked=Wei(found["staked"]),
            generation=found["generation"],
            settled=found["settled"],
            refused=found["refused"],
            expired=found["expired"],
            failed=found["failed"],
        )

    def unbonding(self, token: Address, holder: Address) -> Unbonding:
        """Stake on its way out."""
        found = self._value("unbondingOf", token, holder)
        return Unbonding(Wei(found["amount"]), found["ready_at"])

    def signature_fee(self, token: Address) -> Wei | None:
        """What one oracle signature costs in a token; None for a token that is not admitted."""
        found = self._market("tokenOf", token)
        return Wei(found["fee"]) if found["admitted"] else None

    def fee_book(self, epoch: int, token: Address) -> FeeBook | None:
        """What an epoch's signatures earned in a token and is not claimed yet; None before the first job."""
        found = self._market("feeBookOf", epoch, token)
        if not found["members"]:
            return None
        return FeeBook(Wei(found["fee"]), found["members"], found["threshold"], found["unclaimed"])

    def request_fee_factor(self) -> int:
        """What holding a job costs at least, as a multiple of one oracle signature's fee."""
        return int(self._value("requestFeeFactor"))

    def hold_rate(self) -> int:
        """What holding the amounts of a job costs besides, in parts of 10**18 for one second."""
        return int(self._value("holdRate"))

    def hold_fee(self, owners: Wei, min_penalty: Wei, quote_window: int, decide_window: int, fee: Wei) -> Wei:
        """What the payer sets aside for holding a job: ``owners`` is the sum of prices, ``min_penalty`` the
        request's, ``fee`` one signature's."""
        return Wei(self._value("holdFee", owners, min_penalty, quote_window, decide_window, fee))

    def finality(self) -> int:
        """Seconds that the market allows for a block to become final."""
        return int(self._value("finality"))

    def transfer_allowance(self) -> int:
        """Seconds that the market allows for moving inputs and results."""
        return int(self._value("transferAllowance"))

    # --- assets -----------------------------------------------------------------------------------------------

    def asset(self, asset_id: AssetId, version: int) -> AssetState:
        """One version of an asset. Raises :class:`Reverted` for one that was never published."""
        found = self._one("AssetRegistry", self._chain.book.registry, "versionOf", asset_id, version)
        if found["owner"] == ZERO_ADDRESS:
            arguments = {"asset_id": asset_id, "version": version}
            raise Reverted("UnknownVersion", arguments, *sentence_of("UnknownVersion", arguments))
        return AssetState(
            owner=found["owner"],
            seal_hash=found["seal_hash"],
            epoch=found["epoch"],
            terms=abi.to_shape(Terms, found["terms"]),
            terms_version=found["terms_version"],
            revoked=found["revoked"],
            suspended=found["suspended"],
            strict_version=found["strict_version"],
            uses_taken=found["uses_taken"],
            budget_taken=MicroEpsilon(found["budget_taken"]),
        )

    # --- committees -------------------------------------------------------------------------------------------

    def committee(self, epoch: int) -> CommitteeState | None:
        """What the chain stores of an epoch; None for one that was never announced."""
        try:
            found = self._one("OracleCommittee", self._chain.book.committee, "epochOf", epoch)
        except Reverted as error:
            if error.name != "UnknownEpoch":
                raise
            return None
        return CommitteeState(
            members_hash=found["members_hash"],
            active_at=found["active_at"],
            members=found["members"],
            threshold=found["threshold"],
            removed=frozenset(places(found["removed"])),
            ends_at=found["ends_at"],
        )

    def committee_hash(self, epoch: int) -> Bytes32:
        """What the chain stores of an epoch's members (compare :func:`members_hash`); zero for none."""
        state = self.committee(epoch)
        return state.members_hash if state else ZERO_HASH

    def removed_members(self, epoch: int) -> frozenset[int]:
        """Places of the members that were removed from an epoch's committee."""
        state = self.committee(epoch)
        return state.removed if state else frozenset()

    def epoch_end(self, epoch: int) -> int:
        """The last second of an epoch, as its owner announced it; 0 where none is announced."""
        state = self.committee(epoch)
        return state.ends_at if state else 0

    def advisory_anchors(self, statements: Sequence[Bytes32]) -> Mapping[Bytes32, int]:
        """When the hashes of statements about platforms were first anchored; 0: never. One call for each."""
        committee = self._chain.book.committee
        return {one: int(self._one("OracleCommittee", committee, "advisoryAnchoredAt", one)) for one in statements}

    # --- inside -----------------------------------------------------------------------------------------------

    def _market(self, function: str, *arguments: object) -> abi.Fields:
        return self._read("Market", self._chain.book.market, function, *arguments)

    def _value(self, function: str, *arguments: object) -> Any:
        return self._one("Market", self._chain.book.market, function, *arguments)

    def _one(self, contract: str, to: Address, function: str, *arguments: object) -> Any:
        # Whether an only result has a name is the contract's private matter.
        (value,) = self._read(contract, to, function, *arguments).values()
        return value

    def _read(self, contract: str, to: Address, function: str, *arguments: object) -> abi.Fields:
        entry = abi.load(contract).function(function, len(arguments))
        raw = self._chain.read(to, abi.encode_call(entry, arguments), self._block)
        return abi.decode(entry.outputs, raw, f"{contract}.{function}")
