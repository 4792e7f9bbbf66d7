"""The state of the contracts at one block, proven under that block's hash, whatever the endpoint says.

1. The header that an endpoint shows must hash to the block's hash, and name its number and time.
2. Each contract's proof names the hash of its code. Code that an endpoint shows and that hashes to it must be the code
   that this library carries, with the immutables of the address book: other code keeps other values in these slots.
3. What is read comes from storage proofs (:mod:`sealmarket.chain.proof`) at the places that the compiler assigned
   (:mod:`sealmarket.chain.layout`). Absence is proven too.
4. What the constructor fixed stands in the code: the address book's value counts if the proven code holds it.

A read costs one call for each contract of which something is not known yet; :meth:`ProvenView.prepare` asks for what
belongs together at once, and nothing is asked for twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from sealmarket.chain.errors import NodeDistrusted, Reverted
from sealmarket.chain.layout import Variable, variable
from sealmarket.chain.model import AssetState, Block, Interruption, JobSlot, places
from sealmarket.chain.proof import ProofRefused, ProvenAccount, StateHeader, proven_account, proven_block_header
from sealmarket.chain.reverts import sentence_of
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32, MicroEpsilon, Wei
from sealmarket_enclave.protocol.hashing import keccak, words
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import AssetId, Grade
from sealmarket_enclave.protocol.terms import Terms

if TYPE_CHECKING:
    from sealmarket.chain.chain import Chain
    from sealmarket.chain.proven_code import ProvenCodes

_COMMITMENT_BYTES = 26
_REVOKED = 2
"""``Access.Revoked`` of the registry."""
_METER = {
    "max_uses": (0, 32),
    "uses_taken": (32, 32),
    "budget": (64, 40),
    "budget_taken": (104, 40),
    "per_job_cap": (144, 32),
    "epoch": (176, 16),
    "terms_version": (192, 16),
    "max_hold": (208, 32),
    "timeout_share": (240, 8),
    "suspended": (248, 8),
}
"""Bits of ``Meter``, which the compiler sees as one number: from the lowest, and how many."""
_SLOT = {"status": (0, 8), "deadline": (8, 40), "commitment": (48, 208)}
"""Bits of ``JobSlot``."""


def slot_of(word: int) -> JobSlot:
    """The slot of a job from the word that the market stores.

    Raises:
        ProofRefused: a status that the library does not know.
    """
    fields = bits(word, _SLOT)
    if fields["status"] not in set(Status):
        raise ProofRefused("a job's slot", "a status", fields["status"])
    commitment = fields["commitment"].to_bytes(_COMMITMENT_BYTES)
    return JobSlot(Status(fields["status"]), fields["deadline"], commitment)


class ProvenView:
    """Reads at one block. All raise :class:`ProofRefused` where an endpoint's proof does not hold.

    Further: :class:`ChainUnavailable`, :class:`RpcRefused` from an endpoint without proofs or without that state.
    """

    def __init__(self, chain: Chain, block: Block, codes: ProvenCodes) -> None:
        self._chain, self._block, self._codes = chain, block, codes
        self._words: dict[tuple[Address, Bytes32], int] = {}
        self._header: StateHeader | None = None

    @property
    def block(self) -> Block:
        """The block that every read is proven under."""
        return self._block

    def prepare(self, specs: Iterable[JobSpec]) -> None:
        """Read what belongs to jobs by one call for each contract: their slots, assets and committees."""
        book, jobs = self._chain.book, tuple(specs)
        self._know(book.market, "Market", [slot for spec in jobs for slot in _JOBS.slots(spec.request_hash)])
        keys = [_version_key(use.asset_id, use.version) for spec in jobs for use in spec.assets]
        self._know(book.registry, "AssetRegistry", [slot for key in keys for slot in _VERSIONS.slots(key)])
        self._know(book.committee, "OracleCommittee", [slot for spec in jobs for slot in _EPOCHS.slots(spec.epoch)])

    def job(self, request_hash: Bytes32) -> JobSlot:
        """As :meth:`sealmarket.chain.view.View.job`."""
        return slot_of(self._read(self._chain.book.market, "Market", _JOBS, request_hash)[""])

    def asset(self, asset_id: AssetId, version: int) -> AssetState:
        """As :meth:`sealmarket.chain.view.View.asset`."""
        key = _version_key(asset_id, version)
        found = self._read(self._chain.book.registry, "AssetRegistry", _VERSIONS, key)
        if not found["rules.owner"]:
            arguments = {"asset_id": asset_id, "version": version}
            raise Reverted("UnknownVersion", arguments, *sentence_of("UnknownVersion", arguments))
        return _asset_state(found)

    def interruption(self, request_hash: Bytes32) -> Interruption:
        """As :meth:`sealmarket.chain.view.View.interruption`."""
        found = self._read(self._chain.book.market, "Market", _INTERRUPTIONS, request_hash)
        return Interruption(
            provider=_address(found["provider"]),
            shares_deadline=found["sharesDeadline"],
            posted=frozenset(places(found["posted"])),
            excluded=frozenset(places(found["excluded"])),
            stopped=bool(found["stopped"]),
            token=_address(found["token"]),
            unspent=Wei(found["unspent"]),
        )

    def committee_hash(self, epoch: int) -> Bytes32:
        """As :meth:`sealmarket.chain.view.View.committee_hash`."""
        return Bytes32(self._epoch(epoch)["membersHash"].to_bytes(32)) if self._epoch(epoch)["members"] else ZERO_HASH

    def removed_members(self, epoch: int) -> frozenset[int]:
        """As :meth:`sealmarket.chain.view.View.removed_members`."""
        return frozenset(places(self._epoch(epoch)["removed"]))

    def epoch_end(self, epoch: int) -> int:
        """As :meth:`sealmarket.chain.view.View.epoch_end`."""
        return self._epoch(epoch)["endsAt"]

    def advisory_anchors(self, statements: Sequence[Bytes32]) -> Mapping[Bytes32, int]:
        """As :meth:`sealmarket.chain.view.View.advisory_anchors`, by one call for all; absence is proven too."""
        slots = {one: _ANCHORS.slots(one) for one in statements}
        book = self._chain.book
        self._know(book.committee, "OracleCommittee", [slot for found in slots.values() for slot in found])
        return {one: self._read(book.committee, "OracleCommittee", _ANCHORS, one)[""] for one in statements}

    def finality(self) -> int:
        """The address book's value, which the market's proven code holds."""
        return self._fixed(self._chain.book.timing.finality_seconds, "finality")

    def transfer_allowance(self) -> int:
        """The address book's value, which the market's proven code holds."""
        return self._fixed(self._chain.book.timing.transfer_allowance, "transfer allowance")

    def words(self, address: Address, contract: str, slots: Sequence[Bytes32]) -> tuple[int, ...]:
        """The words of one of the market's contracts, asked for together where they are not known yet."""
        self._know(address, contract, slots)
        return tuple(self._words[address, slot] for slot in slots)

    # --- inside -----------------------------------------------------------------------------------------------

    def _epoch(self, epoch: int) -> Mapping[str, int]:
        return self._read(self._chain.book.committee, "OracleCommittee", _EPOCHS, epoch)

    def _fixed(self, seconds: int, what: str) -> int:
        self._know(self._chain.book.market, "Market", _PAUSED.slots())
        if seconds.to_bytes(32) not in self._codes.fixed("Market"):
            raise NodeDistrusted(f"the market's {what}", f"{seconds} s, as the address book says", "another value")
        return seconds

    def _read(self, address: Address, contract: str, kept: Variable, *keys: int | Bytes32) -> Mapping[str, int]:
        slots = kept.slots(*keys)
        self._know(address, contract, slots)
        return kept.read(tuple(self._words[address, slot] for slot in slots))

    def _know(self, address: Address, contract: str, slots: Iterable[Bytes32]) -> None:
        missing = [slot for slot in dict.fromkeys(slots) if (address, slot) not in self._words]
        if not missing:
            return
        account = self._chain.prove(lambda: self._account(address, contract, missing), self._block)
        self._words |= {(address, slot): word for slot, word in zip(missing, account.words, strict=True)}

    def _account(self, address: Address, contract: str, slots: list[Bytes32]) -> ProvenAccount:
        if self._header is None:
            self._header = proven_block_header(self._chain.rpc, self._block)
        found = proven_account(self._chain.rpc, self._header, address, slots)
        self._codes.require(contract, found.code_hash, self._block)
        return found


_JOBS = variable("Market", "_slots")
_INTERRUPTIONS = variable("Market", "_interruptions")
_PAUSED = variable("Market", "_paused")
_VERSIONS = variable("AssetRegistry", "_versions")
_EPOCHS = variable("OracleCommittee", "_epochs")
_ANCHORS = variable("OracleCommittee", "_anchors")


def _version_key(asset_id: AssetId, version: int) -> Bytes32:
    return keccak(words(asset_id, version))


def bits(word: int, fields: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    """The fields of a packed word: each from its lowest bit, and how many."""
    return {name: word >> start & (1 << length) - 1 for name, (start, length) in fields.items()}


def _asset_state(found: Mapping[str, int]) -> AssetState:
    meter = bits(found["meter"], _METER)
    return AssetState(
        owner=_address(found["rules.owner"]),
        seal_hash=Bytes32(found["sealHash"].to_bytes(32)),
        epoch=meter["epoch"],
        terms=_terms(found, meter),
        terms_version=meter["terms_version"],
        revoked=found["rules.access"] == _REVOKED,
        suspended=bool(meter["suspended"]),
        strict_version=found["rules.strictVersion"],
        uses_taken=meter["uses_taken"],
        budget_taken=MicroEpsilon(meter["budget_taken"]),
    )


def _terms(found: Mapping[str, int], meter: Mapping[str, int]) -> Terms:
    if found["price.minGrade"] not in set(Grade):
        raise ProofRefused("an asset's lowest grade", "a grade", found["price.minGrade"])
    return Terms(
        token=_address(found["price.token"]),
        price=Wei(found["price.amount"]),
        expiry=found["rules.expiry"],
        max_uses=meter["max_uses"],
        purposes=found["rules.purposes"],
        min_grade=Grade(found["price.minGrade"]),
        budget=MicroEpsilon(meter["budget"]),
        per_job_cap=MicroEpsilon(meter["per_job_cap"]),
        allow_root=Bytes32(found["allowRoot"].to_bytes(32)),
        consumer_root=Bytes32(found["consumerRoot"].to_bytes(32)),
        max_hold=meter["max_hold"],
        timeout_share=meter["timeout_share"],
    )


def _address(number: int) -> Address:
    return Address(number.to_bytes(20))
