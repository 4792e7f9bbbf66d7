"""What a host does while an enclave serves: it fetches renewals, keeps statements, and ends the service in time.

1. Every statement is on disk before any other party learns of it.
2. A renewal is asked for when half a lease's seconds are over, when :meth:`ServiceRun.renew_soon` says so, when an
   account has asked that has no tab in the last one, and again soon where the last one did not come.
3. A statement is taken as often as the host looks. It is posted when half a lease of units, or half a lease's seconds
   with any unit, is not posted yet, and at once for an account whose tab closes: with an entry for each account that no
   posted statement has, 256 in each statement. Then a renewal is due.
4. The service ends when its terms say so, when an asset is revoked, when the host drains, or when
   :attr:`ServiceRun.over` is set. A chain or an enclave that does not answer for a moment ends nothing.
5. The service is opened on chain before the first renewal, since nodes renew no other.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from sealmarket.chain.errors import ChainError
from sealmarket.client.consumer_sets import Paths
from sealmarket.client.renewals import Ask, SignedRenewals, fetch_renewal
from sealmarket.protocol.book import AddressBook, Committee
from sealmarket.protocol.renewals import RenewalRequest
from sealmarket_enclave.protocol.codec import Address, Bytes32, Uint64, decode_canonical
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.session import MAX_TABS, SessionTerms, SignedStatement
from sealmarket_worker.errors import EnclaveLost, ServiceOver
from sealmarket_worker.link import ServiceLink

log = logging.getLogger(__name__)
_RETRY_SECONDS = 2.0
LOOK_SECONDS = 5.0
MOST_GROWTH = 1 << 20
NEWCOMERS = 64
"""Places of a renewal that accounts without a tab in the last one have in any case."""


class StatementLog:
    """The statements of one service, one a line. A line that a crash cut off is left out.

    Kept is what the chain may still need: the newest, and before it each one that has an account's newest entry. The
    rest is removed whenever the file has grown by :data:`MOST_GROWTH` bytes.
    """

    def __init__(self, folder: Path, job_id: JobId) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = folder / f"{job_id.hex()}.jsonl"
        self._last: SignedStatement | None = None
        self._kept = 0
        """Bytes of the file when it was last shortened."""

    def keep(self, signed: SignedStatement) -> None:
        """Write one down, for good, unless it is the last one again. Raises ``OSError``."""
        if signed == self._last:
            return
        with self._path.open("ab") as file:
            file.write(b"\n" + signed.canonical())
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        self._last = signed
        if size - self._kept > MOST_GROWTH:
            self._shorten()

    def needed(self) -> list[SignedStatement]:
        """What the chain may still need, in the order in which it came."""
        found: list[SignedStatement] = []
        seen: set[Address] = set()
        for place, signed in enumerate(reversed(list(self.all()))):
            accounts = {entry.account for entry in signed.statement.entries}
            if not place or accounts - seen:
                found.append(signed)
            seen |= accounts
        return found[::-1]

    def remove(self) -> None:
        """Nothing of the service's money is left on chain."""
        self._path.unlink(missing_ok=True)

    def _shorten(self) -> None:
        """Keep what is needed; a crash leaves the old file or the new one."""
        written = self._path.with_suffix(".new")
        with written.open("wb") as file:
            for signed in self.needed():
                file.write(b"\n" + signed.canonical())
            file.flush()
            os.fsync(file.fileno())
            self._kept = file.tell()
        written.replace(self._path)

    def all(self) -> Iterator[SignedStatement]:
        """Every statement, in the order in which they came."""
        if not self._path.exists():
            return
        for line in self._path.read_bytes().split(b"\n"):
            try:
                yield decode_canonical(SignedStatement, line)
            except MalformedDocument:
                continue


class Renewals(Protocol):
    """Where renewals come from."""

    def fetch(self, nonce: Bytes32, wanted: Sequence[Address]) -> SignedRenewals | None:
        """A renewal that answers the nonce, for these accounts and those whose tabs are known; None for now."""


Prove = Callable[[Sequence[Address]], Paths]
"""The paths of accounts into consumer sets."""


class NodeRenewals:
    """Renewals of the oracle nodes of a committee, by HTTP. ``block``: the final block that is asked about.
    ``removed``: the places of members whose signatures the chain does not take.

    Accounts are those of the last renewal, and those that asked for a tab to be looked at, the newest first. Anyone may
    ask so, with a tab or without: where a renewal has no room for all, :data:`NEWCOMERS` places are theirs, and the
    others belong to accounts with a tab, of which the oldest is left out until it asks again.
    """

    def __init__(
        self,
        book: AddressBook,
        committee: Committee,
        job_id: JobId,
        block: Callable[[], int],
        ask: Ask,
        prove: Prove = lambda _accounts: (),
        removed: Callable[[], frozenset[int]] = frozenset,
    ) -> None:
        self._book, self._committee, self._job_id = book, committee, job_id
        self._block, self._ask, self._prove, self._removed = block, ask, prove, removed
        self._known: list[Address] = []

    def fetch(self, nonce: Bytes32, wanted: Sequence[Address]) -> SignedRenewals | None:
        """Ask every node. Enough of them must say the same. Raises :class:`ChainError` where the chain is silent."""
        accounts = self._accounts(wanted)
        block, proofs = Uint64(self._block()), self._prove(accounts)
        request = RenewalRequest(nonce=nonce, block_number=block, accounts=tuple(accounts), proofs=proofs)
        found = fetch_renewal(self._book, self._committee, self._job_id, request, self._ask, removed=self._removed())
        if found is not None:
            shown = {tab.account for tab in found.read().tabs}
            self._known = [account for account in accounts if account in shown]
        return found

    def _accounts(self, wanted: Sequence[Address]) -> list[Address]:
        """Whose tabs the next renewal is to show."""
        known = set(self._known)
        newcomers = [account for account in dict.fromkeys(reversed(wanted)) if account not in known]
        return [*newcomers[: max(NEWCOMERS, MAX_TABS - len(known))], *self._known][:MAX_TABS]


Post = Callable[[SignedStatement], bool]
"""Has the chain take a statement. False: not now, and it is tried again."""


class Money(Protocol):
    """What is sent to the chain for a service. Nothing here raises; what is not taken now is tried again."""

    def open(self) -> bool:
        """Record the service, and fill up its bond. Whether that is done."""

    def post(self, signed: SignedStatement) -> bool:
        """As :data:`Post`."""

    def claim(self, found: SignedRenewals, committee: Committee) -> None:
        """Pay the nodes that signed a renewal, where that is due."""


class OthersMoney:
    """Of a host for which another program sends what belongs on chain."""

    def open(self) -> bool:
        """It is open."""
        return True

    def post(self, _signed: SignedStatement) -> bool:
        """Not by this host."""
        return False

    def claim(self, _found: SignedRenewals, _committee: Committee) -> None:
        """Not by this host."""


class Redeeming:
    """Which statements are posted, and when (rule 3).

    A statement has at most :data:`MAX_TABS` entries: of more accounts several are posted, one behind the other, those
    first whose tabs close.
    """

    def __init__(self, link: ServiceLink, terms: SessionTerms, post: Post) -> None:
        self._link, self._terms, self._post = link, terms, post
        self._waiting: dict[Address, None] = {}
        self._closed: set[Address] = set()
        self._posted, self._due, self._behind = 0, 0.0, False

    def turn(self, now: float) -> bool:
        """Look once. Whether a statement was posted."""
        total, closing = self._look()
        rise = total - self._posted
        if not closing and not self._behind and (not rise or (rise * 2 < self._terms.lease and now < self._due)):
            return False
        accounts = [*closing, *(account for account in self._waiting if account not in closing)]
        posted = 0
        for start in range(0, max(1, len(accounts)), MAX_TABS):
            if not self._post_part(accounts[start : start + MAX_TABS], now):
                break
            posted += 1
        self._behind = bool(posted and self._waiting)
        return posted > 0

    def _look(self) -> tuple[int, dict[Address, None]]:
        """Note which accounts wait. The newest total, and those of them whose tabs close."""
        brought = self._link.statement  # by the last renewal, where tabs close in it
        entries = list(brought.statement.entries) if brought is not None else []
        while True:
            shown = self._link.state().statement
            entries += shown.entries
            before = len(self._waiting)
            self._waiting |= dict.fromkeys(entry.account for entry in entries if entry.account not in self._closed)
            if len(shown.entries) < MAX_TABS or len(self._waiting) == before:
                break
        closing = (entry.account for entry in entries if entry.last and entry.account not in self._closed)
        return shown.total, dict.fromkeys(closing)

    def _post_part(self, accounts: Sequence[Address], now: float) -> bool:
        """Post one statement with these accounts' entries. Whether the chain took it."""
        whole = self._link.state(accounts)
        if not self._post(whole):
            return False
        self._posted, self._due = whole.statement.total, now + self._terms.lease_seconds / 2
        self._closed |= {entry.account for entry in whole.statement.entries if entry.last}
        for account in accounts:
            del self._waiting[account]
        return True


class ServiceRun:
    """Keeps one service going, in a thread of its own: usable as a context manager.

    Args:
        chain_time: the time of the chain's newest block, in seconds.
        drain: set when the host ends.
        money: what is sent to the chain.
        committee: whose members are paid for renewals.
        stands: whether the service may still go on by what the chain says of its assets.
        look_seconds: how often the enclave is asked which accounts have no tab, which costs it a nonce.
    """

    def __init__(
        self,
        link: ServiceLink,
        renewals: Renewals,
        terms: SessionTerms,
        chain_time: Callable[[], int],
        drain: threading.Event,
        *,
        money: Money | None = None,
        committee: Committee | None = None,
        stands: Callable[[], bool] = lambda: True,
        poll_seconds: float = 0.5,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._link, self._renewals, self._terms = link, renewals, terms
        self._chain_time, self._drain = chain_time, drain
        self._poll, self._look = poll_seconds, look_seconds
        self._money, self._committee, self._stands = money or OthersMoney(), committee, stands
        self._redeeming = Redeeming(link, terms, self._money.post)
        self._soon = threading.Event()
        self._named: set[Address] = set()
        self.over = threading.Event()
        self.renewed = 0
        """How many renewals the enclave took."""
        self._thread = threading.Thread(target=self._run, name="service", daemon=True)

    def __enter__(self) -> ServiceRun:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._link.close()
        self._thread.join()

    def renew_soon(self) -> None:
        """Ask for a renewal at the next turn: a statement was redeemed, or a tab was opened."""
        self._soon.set()

    def _run(self) -> None:
        due = looked = 0.0
        opened = False
        while not self.over.is_set():
            now = time.monotonic()
            try:
                looks = now >= due or self._soon.is_set() or now >= looked
                if self._is_over() or (looks and not self._stands()):
                    self._link.end()
                    return
                if not opened:
                    opened = self._money.open()
                    self.over.wait(0 if opened else _RETRY_SECONDS)
                elif looks:
                    looked = now + self._look
                    due = self._looked(now, due)
            except ServiceOver as error:
                log.warning("the service ends here: %s", error)
                return
            except (ChainError, EnclaveLost) as error:
                # A service that is neither renewed nor ended costs its provider the penalty, so this goes on.
                log.warning("the service goes on while its lease lasts; it is looked after again soon: %s", error)
                self._soon.clear()
                due = now + _RETRY_SECONDS
            self.over.wait(self._poll)

    def _looked(self, now: float, due: float) -> float:
        """Post and renew where that is due. When the next renewal is due."""
        if self._redeeming.turn(now):
            self.renew_soon()
        renewed = self._turn(due=now >= due or self._soon.is_set())
        if renewed is None:
            return due
        self._soon.clear()
        return now + (self._terms.lease_seconds / 2 if renewed else _RETRY_SECONDS)

    def _turn(self, *, due: bool) -> bool | None:
        """Renew, if that is due or an account asks for it. Whether the enclave took one; None where none is due."""
        nonce = self._link.nonce()
        wanted = [Address(account) for account in nonce.wanted]
        fresh, self._named = set(wanted) - self._named, set(wanted)
        if not due and not fresh:
            return None
        found = self._renewals.fetch(Bytes32(nonce.nonce), wanted)
        if found is None:
            log.warning("no renewal of enough oracle nodes came; the service goes on while its lease lasts")
            return False
        if refused := self._link.renew(found.renewal, found.signatures):
            log.warning("the enclave does not take a renewal: %s", refused)
            return False
        self.renewed += 1
        if self._committee is not None:
            self._money.claim(found, self._committee)
        return True

    def _is_over(self) -> bool:
        return self._drain.is_set() or self._chain_time() >= self._terms.end
