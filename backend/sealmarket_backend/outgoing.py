"""What one turn of the keeper sends: all in a few batches, in which no entry can spoil another.

Each call is simulated when it is added. A batch gives every entry the same gas: what the simulation of its most
expensive entry took, with a margin. What takes more than a ceiling goes as a transaction of its own, so that one
account's wallet contract does not make the batches of all others expensive. What accounts without a part of the budget
have sent is in batches of its own: what their entries burn is theirs.

No turn waits for a block. What a turn sends is looked at in the turns after it, and until a block has it nothing is
sent again about the same request or job; all others go on. What failed in its block waits before it is tried again,
twice as long each time, and so does each account by whose doing a match failed (:mod:`blame`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from sealmarket.chain import ChainError, Mined, NotMined, Replaced, Reverted
from sealmarket.chain.calls import Call
from sealmarket.chain.contracts import BATCH_GAS, MarketContract
from sealmarket.chain.ledger_events import BatchEntryFailed
from sealmarket.chain.reverts import decode_revert
from sealmarket_backend.locked import HeldBack, Lock
from sealmarket_backend.spending import NOBODY, Cause, Reserved, Spending
from sealmarket_backend.waits import Waits
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.errors import SealmarketError

log = logging.getLogger(__name__)
MARGIN_PERCENT = 25
"""On what a simulation took: the state may be another one when the entry runs."""
MOST_GAS_EACH = BATCH_GAS
MOST_GAS = 8_000_000
"""Of one batch: well below what a block of any chain takes."""


class Sends(Protocol):
    """What is needed of the sender."""

    def gas_of(self, call: Call) -> int:
        """Gas that a call takes now. Raises :class:`Reverted`."""

    def submit(self, call: Call) -> Bytes32:
        """Hand in one call; returns its transaction's hash without waiting for a block."""

    def look(self, transaction: Bytes32) -> Mined | None:
        """What became of it; None while no block has it."""


Blame = Callable[[Reverted], Collection[Address]]
"""By whose doing a match failed. May raise :class:`ChainError`."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What is done where a call comes to nothing, by whose doing that is, and what it locks while it is under way.

    ``failed`` hears by whose doing it failed in its block, as far as is known, or None where it came to none.
    ``kind``: by which it is known again once it failed, and waits; without one its function.
    """

    failed: Callable[[Collection[Address] | None], None] = lambda _by: None
    blame: Blame = lambda _error: ()
    locks: tuple[Lock, ...] = ()
    kind: str = ""


UNWATCHED = Watched()


@dataclass(frozen=True, slots=True)
class _Entry:
    what: str
    call: Call
    gas: int
    watched: Watched
    reserved: Reserved | None = None

    @property
    def kind(self) -> tuple[str, str]:
        """What waits once it failed: the same step of the same job."""
        return self.what, self.watched.kind or self.call.function

    @property
    def is_shared(self) -> bool:
        """Whether no account's own part pays for it."""
        return self.reserved is not None and self.reserved.shared


@dataclass(slots=True)
class Outgoing:
    """The calls of one turn, and what earlier turns sent and no block has yet."""

    sender: Sends
    market: MarketContract
    spending: Spending | None = None
    waits: Waits = field(default_factory=Waits)
    entries: list[_Entry] = field(default_factory=list)
    under_way: dict[Bytes32, Sequence[_Entry]] = field(default_factory=dict)

    def look(self) -> None:
        """See what became of what earlier turns sent, and call off what one that broke off left unsent."""
        unsent, self.entries = self.entries, []
        self._call_off(unsent)
        failed = set[Address]()
        for transaction, group in list(self.under_way.items()):
            with _told(group):
                try:
                    mined = self._ended(transaction)
                except Reverted as error:
                    failed |= self._settle(group, error.cost, dict.fromkeys(range(len(group)), error))
                    raise
                except (Replaced, NotMined):
                    self._call_off(group)
                    raise
                if mined is not None:
                    failed |= self._settle(group, mined.cost, _failures(group, mined))
        for account in failed:  # once, however many of its matches failed at once
            self.waits.failed(account)

    def waits_for(self, what: str) -> bool:
        """Whether something about this was sent, and no block has it yet."""
        return any(entry.what == what for group in self.under_way.values() for entry in group)

    def has_failed(self, what: str, kind: str) -> bool:
        """Whether this step was refused in a block lately."""
        return self.waits.failures((what, kind)) > 0

    def locks(self) -> list[Lock]:
        """What all matches lock that are in no block yet."""
        groups = [self.entries, *self.under_way.values()]
        return [lock for group in groups for entry in group for lock in entry.watched.locks]

    def add(self, what: str, call: Call, watched: Watched = UNWATCHED, cause: Cause = NOBODY) -> None:
        """Take a call along. ``watched.failed`` is called where it then does nothing: unsent, in no block, refused in
        its own.

        Raises:
            Reverted: the contract would refuse it now.
            HeldBack: it failed in a block, and waits before it is tried again.
            NotEarned: nothing brings its gas back, and the operator gives no more now.
        """
        if left := self.waits.left((what, watched.kind or call.function)):
            raise HeldBack(
                f"{call.function} of {what} was refused in its block, and is tried again in {left:.0f} s",
                remedy="send the step yourself, as any account may",
            )
        gas = self.sender.gas_of(call)
        reserved = self.spending.reserve(cause, gas) if self.spending is not None else None
        self.entries.append(_Entry(what, call, gas + gas * MARGIN_PERCENT // 100, watched, reserved))

    def send(self) -> None:
        """Hand in all of them. What fails is in the log, and tried again at a later turn. Raises
        :class:`StorageFailed`, and nothing was sent."""
        if self.spending is not None:
            self.spending.write()
        entries, self.entries = self.entries, []
        alone = [entry for entry in entries if entry.gas > MOST_GAS_EACH]
        together = [entry for entry in entries if entry.gas <= MOST_GAS_EACH]
        own, shared = ([one for one in together if one.is_shared is kind] for kind in (False, True))
        for group in [*([one] for one in alone), *_batches(own), *_batches(shared)]:
            with _told(group):
                try:
                    self.under_way[self.sender.submit(self._joined(group))] = group
                except SealmarketError:
                    self._call_off(group)
                    raise

    def _call_off(self, group: Sequence[_Entry]) -> None:
        self._settle(group, 0, {})
        for entry in group:
            entry.watched.failed(None)

    def _settle(self, group: Sequence[_Entry], cost: int, failures: Mapping[int, Reverted]) -> set[Address]:
        """Each entry of a transaction bears its part of the cost, by its gas. Returns who made entries fail."""
        whole, all_failed = sum(entry.gas for entry in group) or 1, set[Address]()
        for place, entry in enumerate(group):
            error = failures.get(place)
            by = None if error is None else _blamed(entry, error)
            if self.spending is not None and entry.reserved is not None:
                self.spending.settle(entry.reserved, cost * entry.gas // whole, by)
            if by is not None:
                if not by:  # else the account waits, and a request gets another one's offer
                    self.waits.failed(entry.kind)
                all_failed |= by
                entry.watched.failed(by)
        return all_failed

    def _ended(self, transaction: Bytes32) -> Mined | None:
        try:
            mined = self.sender.look(transaction)
        except (Reverted, Replaced, NotMined):
            del self.under_way[transaction]
            raise
        if mined is not None:
            del self.under_way[transaction]
        return mined

    def _joined(self, group: Sequence[_Entry]) -> Call:
        if len(group) == 1:
            return group[0].call
        return self.market.batch([entry.call for entry in group], max(entry.gas for entry in group))


@contextmanager
def _told(group: Sequence[_Entry]) -> Iterator[None]:
    """One transaction's trouble concerns what is in it alone."""
    try:
        yield
    except SealmarketError as error:
        log.warning("%s: %s", ", ".join(entry.what for entry in group), error)


def _failures(group: Sequence[_Entry], mined: Mined) -> dict[int, Reverted]:
    """Why entries of a batch failed, by their places."""
    found = {int(one.index): decode_revert(one.reason) for one in mined.events if isinstance(one, BatchEntryFailed)}
    for place, error in found.items():
        log.info("%s: the contract refuses it for now: %s", group[place].what, error)
    return found


def _blamed(entry: _Entry, error: Reverted) -> set[Address]:
    try:
        return set(entry.watched.blame(error))
    except ChainError as unread:
        log.warning("%s: by whose doing it failed is not known: %s", entry.what, unread)
        return set()


def _batches(entries: Sequence[_Entry]) -> Iterator[list[_Entry]]:
    """Groups of which none may use more than one batch has, in their order."""
    group: list[_Entry] = []
    for entry in entries:
        if group and max(one.gas for one in [*group, entry]) * (len(group) + 1) > MOST_GAS:
            yield group
            group = []
        group.append(entry)
    if group:
        yield group
