"""The state of the contracts at one block. Every read is pinned to that block's hash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sealmarket.chain import abi
from sealmarket.chain.errors import Reverted
from sealmarket.chain.model import (
    Account,
    AssetState,
    Block,
    CommitteeState,
    FeeBook,
    JobSlot,
    Unbonding,
    Windows,
)
from sealmarket.chain.reverts import sentence_of
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, Address, Bytes32, MicroEpsilon, Wei
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

    # --- jobs -------------------------------------------------------------------------------------------------

    def job(self, request_hash: Bytes32) -> JobSlot:
        """The slot of the job that consumed a request; ``Status.NONE`` when none did."""
        found = self._market("jobOf", request_hash)
        return JobSlot(
            status=Status(found["status"]),
            deadline=found["deadline"],
            commitment=found["commitment"].to_bytes(_COMMITMENT_BYTES),
        )

    def order_used(self, signer: Address, order_hash: Bytes32) -> int:
        """Jobs made under a compute or asset order; the largest number when it was cancelled."""
        return int(self._value("usedOf", signer, order_hash))

    def minimum_windows(self) -> Windows:
        """The shortest windows that a request may ask for."""
        return Windows(**self._value("minimumWindows"))

    def paused(self) -> bool:
        """Whether the guardian has paused new matches."""
        return bool(self._value("paused"))

    def extension(self) -> Address:
        """The contract that the market created and whose code it runs for orders and money."""
        return Address(self._value("extension"))

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
        """What a refused request costs, as a multiple of one oracle signature's fee."""
        return int(self._value("requestFeeFactor"))

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
        removed = found["removed"]
        return CommitteeState(
            members_hash=Bytes32(found["members_hash"].to_bytes(32)),
            active_at=found["active_at"],
            members=found["members"],
            threshold=found["threshold"],
            removed=frozenset(place for place in range(found["members"]) if removed >> place & 1),
        )

    def committee_hash(self, epoch: int) -> Bytes32:
        """What the chain stores of an epoch's members (compare :func:`members_hash`); zero for none."""
        state = self.committee(epoch)
        return state.members_hash if state else ZERO_HASH

    def latest_epoch(self) -> int:
        """The newest announced epoch, active or not."""
        return int(self._one("OracleCommittee", self._chain.book.committee, "latestEpoch"))

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
