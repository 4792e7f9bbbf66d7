"""The whole state of the sessions contract, rebuilt from its events alone by the rules of its interface."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sealmarket.chain.sessions import CLOSED
from sealmarket_enclave.protocol.codec import Address, Bytes32

Fields = dict[str, Any]


@dataclass
class Service:
    """One service: what its events say."""

    terms: Fields
    provider: Address
    token: Address
    enclave_signer: Address
    epoch: int
    end: int
    redeemed: int = 0
    credited: int = 0
    bond: int = 0
    last: bool = False
    renewed_at: int = 0
    renewed_block: int = 0

    @property
    def royalties(self) -> int:
        """Of all owners, for a unit."""
        return sum(int(royalty["per_unit"]) for royalty in self.terms["royalties"])


@dataclass
class Tab:
    """One account's tab."""

    limit: int = 0
    paid: int = 0
    requested_block: int = 0
    closes_at: int = 0


@dataclass
class Sessions:
    """Everything; filled by :meth:`apply`, one event after the other."""

    services: dict[Bytes32, Service] = field(default_factory=dict)
    tabs: dict[tuple[Bytes32, Address], Tab] = field(default_factory=lambda: defaultdict(Tab))

    def apply(self, name: str, f: Fields, time: int) -> None:
        """Apply one event of a block with this time. Raises KeyError for an event that has no rule."""
        _RULES[name](self, f, time)

    def held(self, token: Address) -> int:
        """What the contract's account in the ledger holds of a token."""
        of_token = {job_id: one for job_id, one in self.services.items() if one.token == token}
        bonds = sum(one.bond + (one.redeemed - one.credited) * one.royalties for one in of_token.values())
        open_tabs = (tab for (job_id, _), tab in self.tabs.items() if job_id in of_token and tab.closes_at != CLOSED)
        return bonds + sum(tab.limit - tab.paid for tab in open_tabs)


def _opened(state: Sessions, f: Fields, _time: int) -> None:
    state.services[f["job_id"]] = Service(
        f["terms"], f["provider"], f["token"], f["enclave_signer"], f["epoch"], f["terms"]["end"]
    )


def _ended(state: Sessions, f: Fields, _time: int) -> None:
    state.services[f["job_id"]].end = f["end"]


def _bonded(state: Sessions, f: Fields, _time: int) -> None:
    state.services[f["job_id"]].bond += f["amount"]


def _bond_taken(state: Sessions, f: Fields, _time: int) -> None:
    state.services[f["job_id"]].bond -= f["amount"]


def _funded(state: Sessions, f: Fields, _time: int) -> None:
    tab = state.tabs[f["job_id"], f["account"]]
    tab.limit += f["amount"]
    assert tab.limit == f["limit"]


def _redeemed(state: Sessions, f: Fields, time: int) -> None:
    service = state.services[f["job_id"]]
    service.redeemed, service.last = f["redeemed"], service.last or f["last"]
    service.bond -= f["royalties"]
    for packed in f["payments"]:
        account, paid, last = Address(packed[:20]), int.from_bytes(packed[20:31]), packed[31]
        tab = state.tabs[f["job_id"], account]
        tab.paid += paid
        service.bond += paid
        if last:
            tab.closes_at = time


def _requested(state: Sessions, f: Fields, _time: int) -> None:
    state.tabs[f["job_id"], f["account"]].requested_block = f["block_number"]


def _confirmed(state: Sessions, f: Fields, _time: int) -> None:
    state.tabs[f["job_id"], f["account"]].closes_at = f["closes_at"]


def _closed(state: Sessions, f: Fields, _time: int) -> None:
    tab = state.tabs[f["job_id"], f["account"]]
    assert f["returned"] == tab.limit - tab.paid
    tab.closes_at = CLOSED


def _renewed(state: Sessions, f: Fields, time: int) -> None:
    service = state.services[f["job_id"]]
    service.bond -= f["fee"] * f["signers"].bit_count()
    service.renewed_at, service.renewed_block = time, f["block_number"]


def _royalties(state: Sessions, f: Fields, _time: int) -> None:
    state.services[f["job_id"]].credited += f["units"]


_RULES: dict[str, Callable[[Sessions, Fields, int], None]] = {
    "ServiceOpened": _opened,
    "ServiceEnded": _ended,
    "BondAdded": _bonded,
    "BondTaken": _bond_taken,
    "TabFunded": _funded,
    "StatementRedeemed": _redeemed,
    "CloseRequested": _requested,
    "CloseConfirmed": _confirmed,
    "TabClosed": _closed,
    "RenewalPaid": _renewed,
    "RoyaltiesPaid": _royalties,
}
