"""Units, request numbers and leases of a service: a state machine without I/O (docs/spec/session.md, "The counter").

Rules:

1. ``served`` counts every unit that was charged or is reserved. A request is taken only while
   ``served + mostUnits <= redeemed + lease``, where ``redeemed`` is of the newest renewal.
2. A renewal answers the one nonce that is open. It lasts ``leaseSeconds`` from the moment when that nonce was made. Its
   block, its block's time and ``redeemed`` never fall, and ``redeemed`` is a total that was signed.
3. Time is what has passed for certain: the newest renewal's block time, and the clock since it was taken. Neither the
   clock nor that time goes back.
4. An account is served while the newest renewal has its tab, up to the tab's units, and never again once a renewal said
   that it closes.
5. Of a grant the requests count up from 1, one at a time, each naming the last receipt. A grant is forgotten when its
   ``until`` has passed for certain: no request of it is taken then.
6. Units in statements are multiples of ``bucket``, except of an account or a service that is over. They never fall, and
   a total is never below the sum of what entries said.

Bounds: :data:`MAX_ACCOUNTS` accounts, :data:`MAX_GRANTS` grants, of which one account has :data:`GRANTS_EACH`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32, Uint64
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.policy import Serving
from sealmarket_enclave.protocol.session import (
    MAX_TABS,
    Entry,
    Grant,
    Renewal,
    SessionCode,
    SessionRequest,
    SessionTerms,
    Statement,
    TabState,
)
from sealmarket_enclave.runtime.kinds.session.refusals import RenewalRefused, RequestRefused

MAX_ACCOUNTS = 16_384
MAX_GRANTS = 16_384
GRANTS_EACH = 64
_LARGEST = (1 << 64) - 1


@dataclass(slots=True)
class _Account:
    """One account: units that were charged and are reserved, what its newest entry said and whether that was its
    last, and grants that are held."""

    charged: int = 0
    reserved: int = 0
    stated: int = 0
    grants: int = 0
    closing: bool = False
    over: bool = False


@dataclass(slots=True)
class _Grant:
    """One grant: its owner and end, the last number and receipt, units that were charged, and whether it waits."""

    account: Address
    until: int
    number: int = 0
    receipt: Bytes32 = ZERO_HASH
    charged: int = 0
    running: bool = False


@dataclass(frozen=True, slots=True)
class Reservation:
    """A request that was taken. It is settled exactly once."""

    account: Address
    grant_hash: Bytes32
    number: int
    most: int


@dataclass(slots=True)
class _Lease:
    nonce: Bytes32
    made: float
    taken: float = 0.0
    block_number: int = 0
    block_time: int = 0
    redeemed: int = 0
    tabs: dict[Address, TabState] = field(default_factory=dict)


class Ledger:
    """The ledger of one service. Moments are seconds of the enclave's clock, which its host may stop or turn back."""

    def __init__(self, job_id: JobId, terms: SessionTerms, rules: Serving) -> None:
        self._job_id, self._terms, self._rules = job_id, terms, rules
        self._accounts: dict[Address, _Account] = {}
        self._grants: dict[Bytes32, _Grant] = {}
        self._charged = self._reserved = self._stated = self._total = 0
        self._open: _Lease | None = None
        self._lease: _Lease | None = None
        self._clock, self._time = float("-inf"), 0
        self._ended = False

    @property
    def served(self) -> int:
        """Units that were charged or are reserved."""
        return self._charged + self._reserved

    @property
    def charged(self) -> int:
        """Units that were charged."""
        return self._charged

    @property
    def idle(self) -> bool:
        """Whether no request runs."""
        return not self._reserved

    def open_nonce(self, nonce: Bytes32, now: float) -> None:
        """A fresh random nonce is the one that a renewal must answer; an earlier one no longer counts."""
        self._open = _Lease(nonce, self._tick(now))

    def renew(self, renewal: Renewal, now: float) -> tuple[Address, ...]:
        """Take a renewal whose signatures were checked. Returns the accounts that close, to be stated now.

        Raises:
            RenewalRefused: it answers no open nonce, or says what cannot be after what was said before.
        """
        opened, last = self._open, self._lease or _Lease(ZERO_HASH, 0.0)
        if opened is None or renewal.nonce != opened.nonce or renewal.job_id != self._job_id:
            raise RenewalRefused("nonce", str(renewal.nonce), str(opened.nonce) if opened else "none, ask for one")
        for what, found, least in (
            ("block number", renewal.block_number, last.block_number),
            ("block time", renewal.block_time, last.block_time),
            ("redeemed", renewal.redeemed, last.redeemed),
        ):
            if found < least:
                raise RenewalRefused(what, str(int(found)), f"{least} or more")
        if renewal.redeemed > self._total:
            raise RenewalRefused("redeemed", str(int(renewal.redeemed)), f"at most {self._total}, as was signed")
        tabs = {tab.account: tab for tab in renewal.tabs}
        if len(tabs) != len(renewal.tabs):
            raise RenewalRefused("tabs", "an account twice", "each account once")
        self._open = None
        self._lease = _Lease(
            opened.nonce,
            opened.made,
            self._tick(now),
            renewal.block_number,
            renewal.block_time,
            renewal.redeemed,
            tabs,
        )
        self._tick(now)
        return tuple(self._closing(tabs.values()))

    def reserve(self, account: Address, grant: Grant, request: SessionRequest, now: float) -> Reservation:
        """Take a request whose signatures were checked, and set aside the most that it may cost.

        Raises:
            RequestRefused: with the first rule that it misses. Nothing has changed then.
        """
        now = self._tick(now)
        self._require_service(grant, request, now)
        held = self._require_grant(account, grant, request)
        self._require_tab(account, request.most_units)
        if held.charged + request.most_units > grant.cap:
            raise RequestRefused(SessionCode.GRANT_SPENT, request.most_units, f"at most {grant.cap - held.charged}")
        self._require_room(account, request.grant_hash)
        entry = self._accounts.setdefault(account, _Account())
        entry.grants += request.grant_hash not in self._grants
        self._grants[request.grant_hash] = held
        held.number, held.running = request.number, True
        entry.reserved += request.most_units
        self._reserved += request.most_units
        return Reservation(account, request.grant_hash, request.number, request.most_units)

    def cumulative(self, reservation: Reservation, units: int) -> int:
        """What the grant costs in all if this request costs so many units: for the receipt."""
        return self._grants[reservation.grant_hash].charged + min(units, reservation.most)

    def settle(self, reservation: Reservation, units: int, receipt: Bytes32) -> None:
        """The request is over: charge ``units``, at most what was reserved. ``receipt``: its receipt's hash."""
        grant, account = self._grants[reservation.grant_hash], self._accounts[reservation.account]
        if not grant.running or grant.number != reservation.number:
            raise ValueError(f"request {reservation.number} of grant {reservation.grant_hash} is settled already")
        units = min(units, reservation.most)
        grant.charged += units
        grant.receipt, grant.running = receipt, False
        account.charged += units
        account.reserved -= reservation.most
        self._charged += units
        self._reserved -= reservation.most

    def statement(self, accounts: Iterable[Address], *, last: bool = False) -> Statement:
        """A statement with the entries of these accounts, of those that were ever served (rule 6).

        ``last``: the service is over. No request runs then, and none is taken afterwards.
        """
        if last and not self.idle:
            raise ValueError("a service ends when no request runs")
        self._ended = self._ended or last
        entries = []
        for address in list(dict.fromkeys(accounts))[:MAX_TABS]:
            if (account := self._accounts.get(address)) is not None:
                over = self._ended or (account.closing and not account.reserved)
                said = max(account.stated, account.charged if over else self._down(account.charged))
                self._stated, account.stated = self._stated + said - account.stated, said
                account.over = over
                entries.append(Entry(account=address, units=Uint64(account.stated), last=over))
        charged = self._charged if self._ended else self._down(self._charged)
        self._total = max(self._total, self._stated, charged)
        return Statement(job_id=self._job_id, total=Uint64(self._total), last=last, entries=tuple(entries))

    def unstated(self) -> list[Address]:
        """Accounts with most that no entry said yet first."""
        waiting = [(account.charged - account.stated, address) for address, account in self._accounts.items()]
        return [address for units, address in sorted(waiting, reverse=True) if units]

    def unclosed(self) -> list[Address]:
        """Accounts that had no last entry yet, with most that no entry said first."""
        waiting = [(one.charged - one.stated, address) for address, one in self._accounts.items() if not one.over]
        return [address for _, address in sorted(waiting, reverse=True)]

    def _tick(self, now: float) -> float:
        """Rule 3. Returns the clock as far as it ever went."""
        self._clock = max(self._clock, now)
        if self._lease is not None:
            self._time = max(self._time, self._lease.block_time + int(self._clock - self._lease.taken))
        return self._clock

    def _require_service(self, grant: Grant, request: SessionRequest, now: float) -> None:
        if self._ended or self._time >= self._terms.end:
            raise RequestRefused(SessionCode.ENDED, "a request", "none after the service's end")
        if self._lease is None or now - self._lease.made >= self._terms.lease_seconds:
            raise RequestRefused(SessionCode.NO_LEASE, "no renewal in force", "one that the host fetches from nodes")
        if self._time >= grant.until:
            raise RequestRefused(SessionCode.GRANT_OVER, grant.until, f"later than {self._time}")
        if request.endpoint not in self._rules.endpoints:
            raise RequestRefused(SessionCode.ENDPOINT_REFUSED, request.endpoint, ", ".join(self._rules.endpoints))
        if not 1 <= request.most_units <= self._rules.max_units:
            raise RequestRefused(SessionCode.UNITS_REFUSED, request.most_units, f"1 to {self._rules.max_units}")
        limit = min(self._lease.redeemed + self._terms.lease, _LARGEST)
        if self.served + request.most_units > limit:
            raise RequestRefused(SessionCode.LEASE_SPENT, request.most_units, f"at most {limit - self.served} now")

    def _require_grant(self, account: Address, grant: Grant, request: SessionRequest) -> _Grant:
        held = self._grants.get(request.grant_hash) or _Grant(account, grant.until)
        if held.account != account:
            raise RequestRefused(SessionCode.GRANT_REFUSED, str(account), "the account that signed it first")
        if held.running:
            raise RequestRefused(SessionCode.ANSWER_RUNS, request.number, "a request once the last answer ended")
        if request.number != held.number + 1:
            raise RequestRefused(SessionCode.NUMBER_UNEXPECTED, request.number, str(held.number + 1))
        if request.acknowledged != held.receipt:
            raise RequestRefused(SessionCode.NOT_ACKNOWLEDGED, str(request.acknowledged), "the last receipt's hash")
        return held

    def _require_tab(self, account: Address, most: int) -> None:
        assert self._lease is not None
        tab, known = self._lease.tabs.get(account), self._accounts.get(account) or _Account()
        if tab is None or tab.closing or known.closing:
            raise RequestRefused(SessionCode.NO_TAB, str(account), "an account with an open tab in the newest renewal")
        left = tab.units - known.charged - known.reserved
        if most > left:
            raise RequestRefused(SessionCode.TAB_SPENT, most, f"at most {max(0, left)}")

    def _require_room(self, account: Address, grant_hash: Bytes32) -> None:
        if account not in self._accounts and len(self._accounts) >= MAX_ACCOUNTS:
            raise RequestRefused(SessionCode.BUSY, "another account", f"at most {MAX_ACCOUNTS}")
        if grant_hash in self._grants or not self._crowded(account):
            return
        self._forget()
        if self._crowded(account):
            raise RequestRefused(SessionCode.BUSY, "another grant", f"at most {GRANTS_EACH} that are not over")

    def _crowded(self, account: Address) -> bool:
        known = self._accounts.get(account)
        return len(self._grants) >= MAX_GRANTS or (known is not None and known.grants >= GRANTS_EACH)

    def _forget(self) -> None:
        """Rule 5."""
        over = [name for name, grant in self._grants.items() if grant.until <= self._time and not grant.running]
        for name in over:
            self._accounts[self._grants.pop(name).account].grants -= 1

    def _closing(self, tabs: Iterable[TabState]) -> Iterator[Address]:
        for tab in tabs:
            account = self._accounts.get(tab.account)
            if tab.closing and account is not None:
                account.closing = True
                yield tab.account

    def _down(self, units: int) -> int:
        return units - units % max(1, self._terms.bucket)
