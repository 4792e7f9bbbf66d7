"""What `Sessions` has recorded at one block, by the storage proofs of :mod:`sealmarket.chain.proven`.

The contract's account is proven like those of the market: its code must be the code that this library carries, and name
the address book's market, so that no other contract's storage is read in its place. A tab that was never opened is
proven absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sealmarket.chain.layout import variable
from sealmarket.chain.model import Block
from sealmarket.chain.proven import ProvenView, bits
from sealmarket.chain.sessions import NO_SERVICE, ServiceState, Tab
from sealmarket_enclave.protocol.codec import Address, Uint64, Wei
from sealmarket_enclave.protocol.numbers import JobId

_ACCRUAL = {"redeemed": (0, 64), "credited": (64, 64), "bond": (128, 88), "last": (216, 40)}
"""Bits of ``AccrualWord``: from the lowest, and how many."""
_TAB = {"limit": (0, 88), "paid": (88, 88), "requested_block": (176, 40), "closes_at": (216, 40)}
"""Bits of ``TabWord``."""
_SERVICES = variable("Sessions", "_services")
_TABS = variable("Sessions", "_tabs")


class ProvenSessions:
    """Reads at the block of a view, with what that view has proven already. They raise as its reads do."""

    def __init__(self, view: ProvenView, address: Address) -> None:
        self._view, self._address = view, address

    @property
    def block(self) -> Block:
        """The block that every read is proven under."""
        return self._view.block

    def prepare(self, job_id: JobId, accounts: Iterable[Address]) -> None:
        """Read a service and tabs of it together: one call for each
        :data:`~sealmarket.chain.proof.MOST_SLOTS` slots."""
        tabs = [slot for account in accounts for slot in _TABS.slots(job_id, account)]
        self._view.words(self._address, "Sessions", [*_SERVICES.slots(job_id), *tabs])

    def service(self, job_id: JobId) -> ServiceState:
        """As :meth:`sealmarket.chain.sessions.SessionsView.service`."""
        return service_of(_SERVICES.read(self._view.words(self._address, "Sessions", _SERVICES.slots(job_id))))

    def tab(self, job_id: JobId, account: Address) -> Tab:
        """As :meth:`sealmarket.chain.sessions.SessionsView.tab`."""
        (word,) = self._view.words(self._address, "Sessions", _TABS.slots(job_id, account))
        return tab_of(word)


def service_of(found: Mapping[str, int]) -> ServiceState:
    """A service from the fields that the contract stores."""
    if not found["enclaveSigner"]:
        return NO_SERVICE
    accrued = bits(found["accrued"], _ACCRUAL)
    return ServiceState(
        provider=_address(found["provider"]),
        enclave_signer=_address(found["enclaveSigner"]),
        token=_address(found["token"]),
        lease=Uint64(found["lease"]),
        lease_seconds=found["leaseSeconds"],
        redemption_window=found["redemptionWindow"],
        end=found["end"],
        epoch=found["epoch"],
        unit_price=Wei(found["unitPrice"]),
        royalties=Wei(found["royalties"]),
        renewal_fee=Wei(found["renewalFee"]),
        renewed_at=found["renewedAt"],
        renewed_block=found["renewedBlock"],
        redeemed=Uint64(accrued["redeemed"]),
        credited=Uint64(accrued["credited"]),
        bond=Wei(accrued["bond"]),
        last=bool(accrued["last"]),
    )


def tab_of(word: int) -> Tab:
    """A tab from the word that the contract stores; all zero for one that was never opened."""
    found = bits(word, _TAB)
    return Tab(
        limit=Wei(found["limit"]),
        paid=Wei(found["paid"]),
        requested_block=found["requested_block"],
        closes_at=found["closes_at"],
    )


def _address(number: int) -> Address:
    return Address(number.to_bytes(20))
