"""A user's tab at a service: what is locked for it, what of that is paid, and how the rest returns."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum

from sealmarket.chain import IN_MEMORY, Chain, Mined, Sending
from sealmarket.chain.errors import NoSessions
from sealmarket.chain.sessions import CLOSED, ServiceState, SessionsContract, Tab
from sealmarket.client.consumer_sets import ConsumerSets, LeavesStore
from sealmarket.client.errors import ClientError, CommitteeMismatch
from sealmarket.client.party import Party
from sealmarket.client.renewals import Ask, fetch_renewal
from sealmarket.client.signing import Signer
from sealmarket.protocol.renewals import RenewalRequest
from sealmarket_enclave.protocol.codec import Address, Bytes32, Uint64, Wei
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.session import SessionTerms


class TabRefused(ClientError):
    """The tab is not one for which this can be done."""

    def __init__(self, expected: str, found: object, remedy: str) -> None:
        super().__init__(f"expected {expected}, found {found}", remedy=remedy)


class Closing(StrEnum):
    """What became of a wish to close a tab.

    ``waits``: it was asked before, and no node confirmed it yet. ``confirmed``: it returns at a known time whatever
    the service's host does, and as soon as that posts the last entry.
    """

    RETURNED = "returned"
    REQUESTED = "requested"
    WAITS = "waits"
    CONFIRMED = "confirmed"


@dataclass(frozen=True, slots=True)
class TabStatus:
    """A service and an account's tab at the head. ``now``: the time of that block."""

    service: ServiceState
    tab: Tab
    now: int

    @property
    def closable_at(self) -> int:
        """From which block time on the rest returns to the account, by what the chain has now."""
        over = self.service.last_second + 1
        return min(self.tab.closes_at, over) if self.tab.closes_at else over

    @property
    def returned(self) -> bool:
        """Whether the rest has returned."""
        return self.tab.closes_at == CLOSED


class Tabs:
    """One account's tabs on one market."""

    def __init__(
        self,
        chain: Chain,
        account: Signer,
        store: LeavesStore,
        *,
        development: bool = False,
        sending: Sending = IN_MEMORY,
    ) -> None:
        """Arguments as for :class:`sealmarket.client.consumer.Consumer`. Raises :class:`NoSessions`."""
        if chain.book.sessions is None:
            raise NoSessions(chain.book.market)
        self._chain, self._store = chain, store
        self._party = Party(chain, account, development=development, sending=sending)
        self._contract = SessionsContract(chain.book.sessions, chain.market)

    @property
    def address(self) -> Address:
        """The account."""
        return self._party.address

    def status(self, job_id: JobId) -> TabStatus:
        """A service and the account's tab there, at the head. Raises :class:`TabRefused` for no service."""
        return tab_status(self._chain, job_id, self.address)

    def open(self, spec: JobSpec, terms: SessionTerms, amount: Wei) -> Mined:
        """Lock an amount of the free balance for a service, where the account has no tab.

        Raises:
            TabRefused: it has one, the terms are others than the job's, or the amount is less than they ask for.
            MarketNotVerified, ChainError: nothing was locked.
        """
        found = self._checked(spec, terms)
        if found.tab.limit:
            raise TabRefused("no tab of this account", f"one of {found.tab.limit}", "add to it: consumer tab add")
        if amount < terms.least_tab:
            raise TabRefused(f"{terms.least_tab} or more, by the terms", amount, "lock more")
        return self._fund(spec, terms, amount)

    def add(self, spec: JobSpec, terms: SessionTerms, amount: Wei) -> Mined:
        """Lock more for a tab that no one has asked to close. Raises as :meth:`open`."""
        found = self._checked(spec, terms)
        if not found.tab.limit:
            raise TabRefused("a tab of this account", "none", "open one: consumer tab open")
        if found.tab.closing:
            raise TabRefused("a tab that stays open", "one that closes", "use another account")
        return self._fund(spec, terms, amount)

    def close(self, job_id: JobId) -> tuple[Closing, TabStatus]:
        """Take the rest back where that is possible now, or ask for it: called again, it goes on.

        Raises:
            TabRefused: the account has no tab there, or its rest has returned.
            ChainError: as :meth:`Sender.send`.
        """
        found = self.status(job_id)
        if not found.tab.limit or found.returned:
            shown = "one that is closed" if found.returned else "none"
            raise TabRefused("an open tab", shown, "see consumer tab status")
        if found.now >= found.closable_at:
            self._party.take(self._contract.close_tab(job_id, self.address))
            return Closing.RETURNED, self.status(job_id)
        if found.tab.closing:
            return Closing.CONFIRMED if found.tab.closes_at else Closing.WAITS, found
        self._party.take(self._contract.request_close(job_id))
        return Closing.REQUESTED, self.status(job_id)

    def confirm(self, spec: JobSpec, ask: Ask) -> bool:
        """Have t nodes confirm a wish to close that is in a final block. Whether the chain has that now.

        ``False``: the wish is not final yet, or too few nodes see it; try again. Without a confirmation the tab closes
        by the service's own statement, or with the service. The nodes renew nothing here: their answer is to a nonce of
        this account's, which no enclave takes.

        Raises:
            TabRefused: no wish to close is on chain.
            ChainError: as :meth:`Sender.send`.
        """
        book = self._chain.book
        job_id = spec.job_id(book.chain_id, book.market)
        tab, final = self.status(job_id).tab, self._chain.final()
        if tab.closes_at:
            return True
        if not tab.requested_block:
            raise TabRefused("a wish to close on chain", "none", "ask first: consumer tab close")
        if final.number < tab.requested_block:
            return False
        committee = next((one for one in book.committees if one.epoch == spec.epoch), None)
        if committee is None:
            raise CommitteeMismatch(spec.epoch, "a committee of the address book", "none")
        request = RenewalRequest(
            nonce=Bytes32(os.urandom(32)),
            block_number=Uint64(final.number),
            accounts=(self.address,),
            proofs=ConsumerSets(self._chain, self._store, spec).paths([self.address]),
        )
        removed = self._chain.at(self._chain.head()).removed_members(committee.epoch)
        found = fetch_renewal(book, committee, job_id, request, ask, removed=removed)
        if found is None or not any(one.account == self.address and one.closing for one in found.read().tabs):
            return False
        self._party.take(self._contract.confirm_close(found.by_place(), committee, removed))
        return True

    def _checked(self, spec: JobSpec, terms: SessionTerms) -> TabStatus:
        if (found := terms.struct_hash()) != spec.extension_hash:
            raise TabRefused(f"terms with hash {spec.extension_hash}", found, "ask the service's own host")
        return self.status(spec.job_id(self._chain.chain_id, self._chain.book.market))

    def _fund(self, spec: JobSpec, terms: SessionTerms, amount: Wei) -> Mined:
        proofs = ConsumerSets(self._chain, self._store, spec).paths([self.address])
        return self._party.give(self._contract.fund_tab(spec, terms, self.address, amount, proofs[0] if proofs else ()))


def opened_terms(chain: Chain, job_id: JobId) -> SessionTerms:
    """The terms under which a service was opened, as the chain tells them up to its head.

    Raises:
        TabRefused: it was not opened.
        NoSessions, ChainError: nothing can be said.
    """
    opened = chain.service_opened(job_id, chain.head())
    if opened is None:
        raise TabRefused(f"an open service {job_id}", "none", "check the id; its provider opens it after acceptance")
    return opened.terms


def tab_status(chain: Chain, job_id: JobId, account: Address) -> TabStatus:
    """A service and an account's tab there, at the head. Raises :class:`TabRefused`, :class:`NoSessions`."""
    head = chain.head()
    sessions = chain.sessions_at(head)
    service = sessions.service(job_id)
    if not service.exists:
        raise TabRefused(f"an open service {job_id}", "none", "check the id; its provider opens it after acceptance")
    return TabStatus(service, sessions.tab(job_id, account), head.timestamp)
