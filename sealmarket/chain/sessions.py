"""Sessions on chain: what can be sent to the contract, and what it has recorded (docs/spec/session.md).

The contract is `contracts/Sessions.sol`; money reaches it by the ledger's ``transferAndCall`` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sealmarket.chain import abi
from sealmarket.chain.calls import Call, Contract
from sealmarket.chain.committees import NONE_REMOVED, compact, members_of
from sealmarket.chain.contracts import MarketContract, Proof
from sealmarket.chain.errors import AbiMismatch
from sealmarket.chain.model import Enclave
from sealmarket.protocol.book import Committee
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, Address, Bytes32, HexBytes, Uint64, Wei
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.session import Entry, Renewal, SessionTerms, SignedRenewal, SignedStatement

if TYPE_CHECKING:
    from sealmarket.chain.chain import Chain
    from sealmarket.chain.model import Block

KIND = 2
"""The kind of a job that is a service. `contracts/sessions/Services.sol` has the same number."""
CLOSED = (1 << 40) - 1
"""``closes_at`` of a tab of which everything was returned."""
_MOST_UNITS = (1 << 64) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceState:
    """One service as the chain has it; the fields of `ServiceState` in `contracts/types/Sessions.sol`.

    ``end``, ``renewed_at``: block times. ``redeemed``, ``credited``, ``lease``: units. Amounts are in the token's
    smallest unit.
    """

    provider: Address
    enclave_signer: Address
    token: Address
    lease: Uint64
    lease_seconds: int
    redemption_window: int
    end: int
    epoch: int
    unit_price: Wei
    royalties: Wei
    renewal_fee: Wei
    renewed_at: int
    renewed_block: int
    redeemed: Uint64
    credited: Uint64
    bond: Wei
    last: bool

    @property
    def exists(self) -> bool:
        """Whether the service was opened."""
        return self.enclave_signer != ZERO_ADDRESS

    @property
    def least_bond(self) -> Wei:
        """What stays in the bond while tabs may open: the royalties of a lease."""
        return Wei(self.lease * self.royalties)

    @property
    def last_second(self) -> int:
        """The last block time at which a statement counts."""
        return self.end + self.redemption_window


@dataclass(frozen=True, slots=True, kw_only=True)
class Tab:
    """What one account has locked for a service, and what of it is paid; all zero where it has no tab."""

    limit: Wei
    paid: Wei
    requested_block: int
    closes_at: int

    @property
    def closing(self) -> bool:
        """Whether its account asked to close it, or it closes for another reason."""
        return bool(self.requested_block or self.closes_at)

    @property
    def left(self) -> Wei:
        """What returns to the account when it closes now."""
        return Wei(0 if self.closes_at == CLOSED else self.limit - self.paid)

    def units(self, unit_price: Wei) -> Uint64:
        """Units that the limit pays for: what a renewal says of it."""
        return Uint64(min(self.limit // unit_price, _MOST_UNITS))


_NONE = Uint64(0)
NO_SERVICE = ServiceState(
    provider=ZERO_ADDRESS,
    enclave_signer=ZERO_ADDRESS,
    token=ZERO_ADDRESS,
    lease=_NONE,
    lease_seconds=0,
    redemption_window=0,
    end=0,
    epoch=0,
    unit_price=Wei(0),
    royalties=Wei(0),
    renewal_fee=Wei(0),
    renewed_at=0,
    renewed_block=0,
    redeemed=_NONE,
    credited=_NONE,
    bond=Wei(0),
    last=False,
)
NO_TAB = Tab(limit=Wei(0), paid=Wei(0), requested_block=0, closes_at=0)


@dataclass(frozen=True, slots=True)
class _Opening:
    spec: JobSpec
    terms: SessionTerms
    account: Address
    proofs: Sequence[Proof]


@dataclass(frozen=True, slots=True)
class _NodeSignature:
    index: int
    detail: Bytes32
    r: Bytes32
    vs: Bytes32


class SessionsContract(Contract):
    """The contract that keeps the money of services. ``market`` is where its ledger is."""

    NAME = "Sessions"

    def __init__(self, address: Address, market: MarketContract) -> None:
        super().__init__(address)
        self._market = market

    def open_service(self, spec: JobSpec, enclave: Enclave, terms: SessionTerms) -> Call:
        """Record an accepted job as a service. Anyone."""
        arguments = (spec, enclave.evidence_hash, enclave.enclave_signer, enclave.enclave_key_hash, terms)
        return self._call("openService", *arguments)

    def end_service(self, spec: JobSpec) -> Call:
        """Make now the end of a service whose job is over. Anyone."""
        return self._call("endService", spec)

    def bond(self, token: Address, job_id: JobId, amount: Wei) -> Call:
        """Add to a service's bond. Its provider."""
        return self._market.transfer_and_call(token, self.address, amount, bytes(job_id))

    def fund_tab(
        self, spec: JobSpec, terms: SessionTerms, account: Address, amount: Wei, proofs: Sequence[Proof] = ()
    ) -> Call:
        """Open the tab of an account, or add to it. ``proofs``: the account in each asset's consumer set, in order."""
        data = encode_opening(spec, terms, account, proofs)
        return self._market.transfer_and_call(spec.token, self.address, amount, data)

    def redeem(self, signed: SignedStatement) -> Call:
        """Take a statement of the enclave's. Anyone."""
        made = signed.statement
        entries = [_packed(entry) for entry in made.entries]
        return self._call("redeem", made.job_id, made.total, made.last, entries, signed.signature)

    def request_close(self, job_id: JobId) -> Call:
        """Ask to close the sender's tab."""
        return self._call("requestClose", job_id)

    def confirm_close(
        self, signed: Sequence[tuple[int, SignedRenewal]], committee: Committee, removed: frozenset[int] = NONE_REMOVED
    ) -> Call:
        """Let the tabs close whose requests a threshold of nodes saw. ``signed``: member's place and renewal."""
        return self._call("confirmClose", *_renewal(signed, committee, removed))

    def close_tab(self, job_id: JobId, account: Address) -> Call:
        """Return what a tab has not paid. Anyone."""
        return self._call("closeTab", job_id, account)

    def claim_renewal(
        self, signed: Sequence[tuple[int, SignedRenewal]], committee: Committee, removed: frozenset[int] = NONE_REMOVED
    ) -> Call:
        """Pay the signers of a renewal from the bond. Anyone. ``signed``: member's place and renewal."""
        return self._call("claimRenewal", *_renewal(signed, committee, removed))

    def pay_royalties(self, spec: JobSpec, terms: SessionTerms) -> Call:
        """Credit the owners with the royalties that are due. Anyone."""
        return self._call("payRoyalties", spec, terms)

    def take_bond(self, job_id: JobId, amount: Wei) -> Call:
        """Credit the provider from the bond. Its provider."""
        return self._call("takeBond", job_id, amount)


_KINDS: dict[str, Callable[[int], object]] = dict.fromkeys(
    ("unit_price", "royalties", "renewal_fee", "bond"), Wei
) | dict.fromkeys(("lease", "redeemed", "credited"), Uint64)
"""Documents spell these as decimal text: a bare number in one would be another document."""


def _as_is(value: object) -> object:
    return value


class SessionsView:
    """What the contract has recorded at one block."""

    def __init__(self, chain: Chain, block: Block, address: Address) -> None:
        self._chain, self._block, self.address = chain, block, address

    def prepare(self, job_id: JobId, accounts: Iterable[Address]) -> None:
        """Nothing: each tab is a call of its own."""

    def service(self, job_id: JobId) -> ServiceState:
        """A service; :attr:`ServiceState.exists` says whether there is one."""
        found = self._read("serviceOf", job_id)
        fields: dict[str, Any] = {name: _KINDS.get(name, _as_is)(value) for name, value in found.items()}
        return ServiceState(**fields)

    def tab(self, job_id: JobId, account: Address) -> Tab:
        """The tab of an account."""
        found = self._read("tabOf", job_id, account)
        return Tab(
            limit=Wei(found["limit"]),
            paid=Wei(found["paid"]),
            requested_block=found["requested_block"],
            closes_at=found["closes_at"],
        )

    def _read(self, function: str, *arguments: object) -> abi.Fields:
        entry = abi.load("Sessions").function(function, len(arguments))
        raw = self._chain.read(self.address, abi.encode_call(entry, arguments), self._block)
        (found,) = abi.decode(entry.outputs, raw, f"Sessions.{function}").values()
        return dict(found)


def encode_opening(spec: JobSpec, terms: SessionTerms, account: Address, proofs: Sequence[Proof] = ()) -> HexBytes:
    """The data of a transfer that opens a tab: ``abi.encode(TabOpening)``. Without proofs every set is open.

    Raises:
        AbiMismatch: another number of proofs than of assets.
    """
    given = tuple(proofs) or ((),) * len(spec.assets)
    if len(given) != len(spec.assets):
        raise AbiMismatch(
            "TabOpening.proofs", f"{len(given)} proofs, expected one for each of {len(spec.assets)} assets"
        )
    opening = abi.load("Sessions").function("openService", 5)
    parts = (
        opening.inputs[0],
        opening.inputs[4],
        abi.Parameter("account", "address", False, ()),
        abi.Parameter("proofs", "bytes32[][]", False, ()),
    )
    whole = abi.Parameter("opening", "tuple", False, parts)
    return HexBytes(abi.encode((whole,), (_Opening(spec, terms, account, given),), "TabOpening"))


def _packed(entry: Entry) -> Bytes32:
    """An entry as calls carry it; `contracts/libraries/EntryWords.sol` has the same form."""
    return Bytes32(entry.account + entry.units.to_bytes(11) + bytes([entry.last]))


def _renewal(
    signed: Sequence[tuple[int, SignedRenewal]], committee: Committee, removed: frozenset[int]
) -> tuple[Renewal, object, list[_NodeSignature]]:
    """One renewal, the committee, and a threshold of signatures, the first by place. Raises :class:`AbiMismatch`."""
    renewals = {one.renewal for _, one in signed}
    if len(renewals) != 1:
        raise AbiMismatch("Renewal", f"the nodes signed {len(renewals)} renewals, expected one")
    by_place = {place: one for place, one in signed if place not in removed}
    chosen = sorted(by_place.items())[: committee.threshold]
    signatures = [_NodeSignature(place, ZERO_HASH, *compact(one.signature)) for place, one in chosen]
    return renewals.pop(), members_of(committee, removed), signatures
