"""What the keeper may spend on gas. The market pays no keeper: what it sends for others is the operator's gift.

1. A step that brings the operator's own accounts at least what it costs is sent: they provide the job, own its data, or
   sign its decisions. The operator names them. What a job brings counts once for all of its steps: what one of them
   cost is not there for the next. A restart counts anew. A match that fails brings nothing, so what such matches lose
   in a day is bounded, for all parties together; further ones are paid for as all others.
2. Everything else is paid out of a budget for each day (UTC), in billionths of the native coin. Accounts with settled
   jobs have a part of it of their own (:mod:`parts`), which no other account can use. All others share the rest, half
   of it for matches and half for jobs under way: a quarter at once, and what is left evenly over the day.
3. A step is paid out of the parts of both its parties, in halves, or else out of what all share.
4. What is not sent is left to the parties: any account may send each of these steps.

A step is counted when it is sent, at the price offered for its gas, and set right once a block has it. A match that
failed is paid for by who made it fail. The day's counts are in the database: neither a restart nor another leader
spends them twice.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from sealmarket_backend.parts import Parts
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.errors import MalformedDocument, SealmarketError

log = logging.getLogger(__name__)
GWEI = 10**9
DAY_SECONDS = 86_400
AT_ONCE_PERCENT = 25
"""Of what all share, at the beginning of a day; the rest comes evenly over the day."""
SHARED_MATCH_GAS = 600_000
"""Of one match that is paid out of what all share: one of two assets takes 190,000."""
PRICE_SECONDS = 10.0
"""How long a price of gas counts."""
MOST_JOBS = 10_000
"""Of which it is known what their income paid for already; the one whose step is longest ago is forgotten first."""
PREFIX = "SEALMARKET_KEEPER_"
"""Of the settings in the environment."""
_TOTAL, _SHARED_MATCHES, _SHARED_STEPS, _LOST = b"", b"\x01", b"\x02", b"\x03"
"""The rows of all accounts together, of what all share, and of matches that should have earned their gas and failed."""
_ADD = (
    "INSERT INTO gas_spent (day, account, gwei) VALUES (?, ?, ?)"
    " ON CONFLICT (day, account) DO UPDATE SET gwei = gas_spent.gwei + excluded.gwei"
)


class NotEarned(SealmarketError):
    """A step costs gas that nothing brings back, and the day's budget for such steps has no room for it."""

    def __init__(self, of: str, limit: int, *, shared: bool = False) -> None:
        self.of, self.shared = of, shared
        super().__init__(
            f"the market's keeper has spent what it gives for gas today{of}: {limit} gwei",
            remedy="send the step yourself, as any account may, or wait: more is given as the day goes on",
        )


class NoRoomOfItsOwn(NotEarned):
    """The parts of the parties do not pay for a match, and what all share is not for it now."""


@dataclass(frozen=True, slots=True)
class KeeperSettings:
    """``gas_gwei_per_day``: what the operator gives for others' steps in a day, 1 coin by default. ``shared_percent``
    of it is for accounts without a part of their own. ``own_accounts``: whose income counts as the operator's, in
    hex."""

    gas_gwei_per_day: int = GWEI
    matching_percent: int = 50
    shared_percent: int = 25
    own_accounts: tuple[str, ...] = ()

    def own(self) -> frozenset[Address]:
        """The operator's accounts. Raises :class:`MalformedDocument`."""
        try:
            return frozenset(Address.parse(text.lower()) for text in self.own_accounts)
        except MalformedDocument as error:
            raise MalformedDocument(f"{PREFIX}OWN_ACCOUNTS: {error}") from error


@dataclass(frozen=True, slots=True)
class Cause:
    """For whom a step is: the accounts that it counts for, consumer first, and what it brings the operator's own, in
    wei."""

    accounts: tuple[Address, ...] = ()
    earned: int = 0
    matching: bool = False
    request: Bytes32 | None = None
    """Whose job brings it: that income counts once."""
    payer: Address | None = None
    shares: bool = True
    """Whether what all share may pay for it."""

    @property
    def parties(self) -> frozenset[Address]:
        """All whose coin or stake it needs."""
        return frozenset(self.accounts) | ({self.payer} if self.payer is not None else set())


NOBODY = Cause()


@dataclass(slots=True)
class Reserved:
    """What was counted for one step: on a day, gwei by row; none where it earns what it costs."""

    cause: Cause
    day: int
    rows: dict[bytes, int]
    from_income: int = 0
    """Wei, of what the job brings."""

    @property
    def gwei(self) -> int:
        """Of all rows."""
        return self.rows.get(_TOTAL, 0)

    @property
    def shared(self) -> bool:
        """Whether it is no account's own part that pays."""
        return not any(account in self.rows for account in map(bytes, self.cause.accounts))


class Priced(Protocol):
    """What is needed of the sender."""

    def price(self) -> int:
        """The most that one gas of a new transaction may cost now, in wei."""


class Spending:
    """The budget of one market."""

    def __init__(
        self,
        database: Database,
        settings: KeeperSettings,
        sender: Priced,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self._database, self._sender, self._clock = database, sender, clock
        self._parts = Parts(database, clock)
        self._open: Counter[tuple[int, bytes]] = Counter()
        self._from_income: OrderedDict[Bytes32, int] = OrderedDict()
        """By request, what the steps of its job cost so far that were paid by what it brings, in wei."""
        self._known: tuple[float, int] = (float("-inf"), 0)
        self._said = 0

    def part(self, account: Address) -> int:
        """What of a day's budget is this account's own, in gwei."""
        whole = self.settings.gas_gwei_per_day
        return self._parts.of(account, whole - self._shared(whole))

    def reserve(self, cause: Cause, gas: int) -> Reserved:
        """Count a step that is about to be sent.

        Raises:
            NotEarned: it earns less than it costs, and the budget has no room.
            ChainError: the price of gas cannot be read.
        """
        day, cost = int(self._clock()) // DAY_SECONDS, gas * self._gas_price()
        gwei = -(-cost // GWEI)
        rows = self._at_risk(cause, day, gwei)
        if rows is not None and cause.earned - self._spent_of_income(cause) >= cost:
            self._spend_income(cause, cost)
            return self._counted(Reserved(cause, day, rows, cost))
        whole = self.settings.gas_gwei_per_day
        self._require(day, _TOTAL, gwei, whole, "")
        rows = self._own(cause, day, gwei) or self._of_all(cause, day, gwei, gas)
        return self._counted(Reserved(cause, day, {_TOTAL: gwei, **rows}))

    def _own(self, cause: Cause, day: int, gwei: int) -> dict[bytes, int]:
        """The rows of the parties, where each of their parts has room for its half."""
        accounts = dict.fromkeys(cause.accounts)  # a service's provider is its consumer too
        each = -(-gwei // max(len(accounts), 1))
        percent = self.settings.matching_percent if cause.matching else 100
        if all(self._spent(day, one) + each <= self.part(one) * percent // 100 for one in accounts):
            return {bytes(one): each for one in accounts}
        return {}

    def _of_all(self, cause: Cause, day: int, gwei: int, gas: int) -> dict[bytes, int]:
        """The row of what all share. Raises :class:`NotEarned`."""
        whole = self._shared(self.settings.gas_gwei_per_day)
        for_matches = whole * self.settings.matching_percent // 100
        key, most = (_SHARED_MATCHES, for_matches) if cause.matching else (_SHARED_STEPS, whole - for_matches)
        of = " for accounts without a part of their own"
        if not cause.shares:
            raise NoRoomOfItsOwn(of, most)
        if cause.matching and gwei > most:
            raise NotEarned(f"{of}: a match of {gwei} gwei, expected at most a day's; of others", most)
        if cause.matching and gas > SHARED_MATCH_GAS:
            raise NotEarned(f"{of}: a match of {gas} gas, expected at most {SHARED_MATCH_GAS}; of others", most)
        self._require(day, key, gwei, self._until_now(most), of, shared=True)
        return {key: gwei}

    def _shared(self, whole: int) -> int:
        return whole * self.settings.shared_percent // 100

    def _until_now(self, most: int) -> int:
        at_once = most * AT_ONCE_PERCENT // 100
        return at_once + (most - at_once) * (int(self._clock()) % DAY_SECONDS) // DAY_SECONDS

    def _at_risk(self, cause: Cause, day: int, gwei: int) -> dict[bytes, int] | None:
        """A match that would earn its gas counts while it is under way, and where it fails: it costs its payer nothing
        to have it fail. None where such matches lost as much as they may: it is paid for as any other."""
        if not cause.matching:
            return {}
        has_room = self._spent(day, _LOST) <= self._shared(self.settings.gas_gwei_per_day)
        return {_LOST: gwei} if has_room else None

    def settle(self, reserved: Reserved, cost: int, failed_by: Collection[Address] | None = None) -> None:
        """Set a count right: what the step did cost, in wei. ``failed_by``: it failed, and by whose doing; the consumer
        pays where no party is named."""
        if reserved.from_income:
            self._spend_income(reserved.cause, cost - reserved.from_income)
        gwei = -(-cost // GWEI)
        if _LOST in reserved.rows:
            actual = {_LOST: 0} if failed_by is None else {_LOST: gwei, _TOTAL: gwei}
        elif reserved.shared:
            actual = dict.fromkeys(reserved.rows, gwei)
        else:
            rows = [one for one in reserved.rows if one != _TOTAL]
            paying = [one for one in rows if failed_by and one in set(map(bytes, failed_by))]
            if failed_by is not None and reserved.cause.matching:
                paying = paying or rows[:1]
            actual = {_TOTAL: gwei, **{one: -(-gwei // len(paying or rows)) for one in paying or rows}}
        for row in reserved.rows | actual:
            self._open[reserved.day, row] += actual.get(row, 0) - reserved.rows.get(row, 0)

    def write(self) -> None:
        """Bring what was counted to the database, before anything is sent. Raises :class:`StorageFailed`."""
        counted = Counter({key: gwei for key, gwei in self._open.items() if gwei})
        if not counted:
            return
        with self._database.lead() as connection:
            connection.executemany(_ADD, [(*key, gwei) for key, gwei in counted.items()])
            connection.execute("DELETE FROM gas_spent WHERE day < ?", (max(day for day, _ in counted) - 1,))
        self._open = Counter()

    def today(self) -> int:
        """What was given today, in gwei."""
        return self._spent(int(self._clock()) // DAY_SECONDS, _TOTAL)

    def _spent_of_income(self, cause: Cause) -> int:
        return self._from_income.get(cause.request, 0) if cause.request is not None else 0

    def _spend_income(self, cause: Cause, wei: int) -> None:
        if cause.request is None:
            return
        self._from_income[cause.request] = self._spent_of_income(cause) + wei
        self._from_income.move_to_end(cause.request)
        if len(self._from_income) > MOST_JOBS:
            self._from_income.popitem(last=False)

    def _require(self, day: int, row: bytes, gwei: int, limit: int, of: str, *, shared: bool = False) -> None:
        if self._spent(day, row) + gwei > limit:
            if self._said != day and row == _TOTAL:
                self._said = day
                log.warning("the keeper's gas for today is used up%s: %d gwei; others may send its steps", of, limit)
            raise NotEarned(of, limit, shared=shared)

    def _spent(self, day: int, account: bytes) -> int:
        row = self._database.row("SELECT gwei FROM gas_spent WHERE day = ? AND account = ?", day, account)
        return (row["gwei"] if row else 0) + self._open[day, bytes(account)]

    def _counted(self, reserved: Reserved) -> Reserved:
        for row, gwei in reserved.rows.items():
            self._open[reserved.day, row] += gwei
        return reserved

    def _gas_price(self) -> int:
        read_at, price = self._known
        if self._clock() - read_at > PRICE_SECONDS:
            price = self._sender.price()
            self._known = (self._clock(), price)
        return price
