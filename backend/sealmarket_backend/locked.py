"""How many matches of one account may be under way at once: so many as its balance pays for, and few of a stranger's.

Each match is simulated alone, so any number of them holds while the account has the coin, or the stake, of one. All but
one would fail in their block, at the keeper's cost. So a further match goes only while the balance covers all that are
under way, at the most that each can lock, and what a balance cannot show (it may be moved away) is bounded by number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sealmarket.chain.interface import ChainReader
from sealmarket.client.escrow import escrow_of, hold_of, owners_limit
from sealmarket.protocol.fitting import Rules
from sealmarket.protocol.matching import Proposal
from sealmarket_enclave.protocol.codec import Address
from sealmarket_enclave.protocol.errors import SealmarketError

MOST_KNOWN, MOST_STRANGER = 64, 4
"""Matches under way of an account that has a part of the budget, and of any other."""


class HeldBack(SealmarketError):
    """A step is not tried now, although the contract may take it. ``account``: whose doing that is."""

    def __init__(self, why: str, *, remedy: str, account: Address | None = None) -> None:
        self.account = account
        super().__init__(why, remedy=remedy)


@dataclass(frozen=True, slots=True)
class Lock:
    """The most that a match takes of an account's free balance, or of its stake."""

    account: Address
    token: Address
    amount: int
    staked: bool


class Locks:
    """Compares what is under way with balances at the head. ``is_known``: whose failures are its own loss."""

    def __init__(
        self,
        chain: ChainReader,
        rules: Rules,
        is_known: Callable[[Address], bool],
        failures: Callable[[Address], int],
    ) -> None:
        self._chain, self._rules = chain, rules
        self._is_known, self._failures = is_known, failures

    def of(self, found: Proposal, epoch: int) -> tuple[Lock, Lock]:
        """What a match locks, of its payer and its provider. Raises :class:`ChainError`."""
        request, order = found.request.request, found.compute.order
        view = self._chain.at(self._chain.head())
        escrow = escrow_of(request, self._rules, epoch, hold_of(request, self._rules, view))
        return (
            Lock(request.payer, request.token, escrow.total, staked=False),
            Lock(order.provider, order.token, order.penalty + owners_limit(request), staked=True),
        )

    def require(self, wanted: Lock, under_way: Iterable[Lock]) -> None:
        """Refuse one more match of an account.

        Raises:
            HeldBack: its balance may not pay for all, or there are as many as there may be.
            ChainError: the balance cannot be read.
        """
        kind = (wanted.account, wanted.token, wanted.staked)
        others = [one for one in under_way if (one.account, one.token, one.staked) == kind]
        if not others:
            return
        name = wanted.account.checksum
        if len(others) >= self._most(wanted.account):
            raise HeldBack(
                f"{len(others)} matches of {name} are under way: the next one waits for their blocks",
                remedy="wait some blocks, or submit the match yourself, as any account may",
                account=wanted.account,
            )
        needed = wanted.amount + sum(one.amount for one in others)
        account = self._chain.at(self._chain.head()).account(wanted.token, wanted.account)
        has = account.staked if wanted.staked else account.free
        if has < needed:
            where = "staked and unlocked" if wanted.staked else "free"
            raise HeldBack(
                f"{name} has {has} {where}, and its matches under way may take {needed}: this one waits for them",
                remedy="deposit or stake the difference, or wait some blocks",
                account=wanted.account,
            )

    def _most(self, account: Address) -> int:
        if self._failures(account):
            return 1
        return MOST_KNOWN if self._is_known(account) else MOST_STRANGER
