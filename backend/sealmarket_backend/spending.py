"""What the keeper may spend on gas. The market pays no keeper: what it sends for others is the operator's gift.

1. A step that brings the operator's own accounts at least what it costs is always sent: they provide the job, own its
   data, or sign its decisions. The operator names them. What a job brings counts once for all of its steps: what one of
   them cost is not there for the next. A restart counts anew.
2. Everything else is paid out of a budget for each day (UTC), in billionths of the native coin. Matches may use half of
   it, so that jobs which are under way come to their end; one account, as consumer or provider, a tenth.
3. What is not sent is left to the parties: any account may send each of these steps.

A step is counted when it is sent, at the price offered for its gas, and set right once a block has it. The day's counts
are in the database: neither a restart nor another leader spends them twice.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.errors import MalformedDocument, SealmarketError

log = logging.getLogger(__name__)
GWEI = 10**9
DAY_SECONDS = 86_400
PRICE_SECONDS = 10.0
"""How long a price of gas counts."""
MOST_JOBS = 10_000
"""Of which it is known what their income paid for already; the one whose step is longest ago is forgotten first."""
PREFIX = "SEALMARKET_KEEPER_"
"""Of the settings in the environment."""
_TOTAL = b""
"""The row of all accounts together."""
_ADD = (
    "INSERT INTO gas_spent (day, account, gwei) VALUES (?, ?, ?)"
    " ON CONFLICT (day, account) DO UPDATE SET gwei = gas_spent.gwei + excluded.gwei"
)


class NotEarned(SealmarketError):
    """A step costs gas that nothing brings back, and the day's budget for such steps has no room for it."""

    def __init__(self, of: str, limit: int) -> None:
        self.of = of
        super().__init__(
            f"the market's keeper has spent what it gives for gas today{of}: {limit} gwei",
            remedy="send the step yourself, as any account may, or wait until the next day (UTC)",
        )


@dataclass(frozen=True, slots=True)
class KeeperSettings:
    """``gas_gwei_per_day``: what the operator gives for others' steps in a day, 1 coin by default. ``own_accounts``:
    whose income counts as the operator's, in hex."""

    gas_gwei_per_day: int = GWEI
    matching_percent: int = 50
    account_percent: int = 10
    own_accounts: tuple[str, ...] = ()

    def own(self) -> frozenset[Address]:
        """The operator's accounts. Raises :class:`MalformedDocument`."""
        try:
            return frozenset(Address.parse(text.lower()) for text in self.own_accounts)
        except MalformedDocument as error:
            raise MalformedDocument(f"{PREFIX}OWN_ACCOUNTS: {error}") from error


@dataclass(frozen=True, slots=True)
class Cause:
    """For whom a step is: the accounts that it counts for, and what it brings the operator's own, in wei."""

    accounts: tuple[Address, ...] = ()
    earned: int = 0
    matching: bool = False
    request: Bytes32 | None = None
    """Whose job brings it: that income counts once."""


NOBODY = Cause()


@dataclass(slots=True)
class Reserved:
    """What was counted for one step: gwei, on a day; zero where it earns what it costs."""

    cause: Cause
    day: int
    gwei: int
    from_income: int = 0
    """Wei, of what the job brings."""


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
        self._open: Counter[tuple[int, bytes]] = Counter()
        self._from_income: OrderedDict[Bytes32, int] = OrderedDict()
        """By request, what the steps of its job cost so far that were paid by what it brings, in wei."""
        self._known: tuple[float, int] = (float("-inf"), 0)
        self._said = 0

    def reserve(self, cause: Cause, gas: int) -> Reserved:
        """Count a step that is about to be sent.

        Raises:
            NotEarned: it earns less than it costs, and the budget has no room.
            ChainError: the price of gas cannot be read.
        """
        day, cost = int(self._clock()) // DAY_SECONDS, gas * self._gas_price()
        if cause.earned - self._spent_of_income(cause) >= cost:
            self._spend_income(cause, cost)
            return Reserved(cause, day, 0, cost)
        gwei = -(-cost // GWEI)
        whole = self.settings.gas_gwei_per_day
        self._require(day, _TOTAL, gwei, whole, "")
        if cause.matching:
            self._require(day, _TOTAL, gwei, whole * self.settings.matching_percent // 100, " for new jobs")
        for account in cause.accounts:
            share = whole * self.settings.account_percent // 100
            self._require(day, account, gwei, share, f" for {account.checksum}")
        reserved = Reserved(cause, day, gwei)
        self._count(reserved, gwei)
        return reserved

    def settle(self, reserved: Reserved, cost: int) -> None:
        """Set a count right: what the step did cost, in wei."""
        if reserved.from_income:
            self._spend_income(reserved.cause, cost - reserved.from_income)
        if reserved.gwei:
            self._count(reserved, -(-cost // GWEI) - reserved.gwei)

    def write(self) -> None:
        """Bring what was counted to the database, before anything is sent. Raises :class:`StorageFailed`."""
        if not self._open:
            return
        counted = self._open
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

    def _require(self, day: int, account: bytes, gwei: int, limit: int, of: str) -> None:
        if self._spent(day, account) + gwei > limit:
            if self._said != day and account == _TOTAL:
                self._said = day
                log.warning("the keeper's gas for today is used up%s: %d gwei; others may send its steps", of, limit)
            raise NotEarned(of, limit)

    def _spent(self, day: int, account: bytes) -> int:
        row = self._database.row("SELECT gwei FROM gas_spent WHERE day = ? AND account = ?", day, account)
        return (row["gwei"] if row else 0) + self._open[day, bytes(account)]

    def _count(self, reserved: Reserved, gwei: int) -> None:
        for account in {_TOTAL, *map(bytes, reserved.cause.accounts)}:  # a service's provider is its consumer too
            self._open[reserved.day, account] += gwei

    def _gas_price(self) -> int:
        read_at, price = self._known
        if self._clock() - read_at > PRICE_SECONDS:
            price = self._sender.price()
            self._known = (self._clock(), price)
        return price
