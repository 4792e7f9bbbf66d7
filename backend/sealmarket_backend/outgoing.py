"""What one turn of the keeper sends: all in a few batches, in which no entry can spoil another.

Each call is simulated when it is added. A batch gives every entry the same gas: what the simulation of its most
expensive entry took, with a margin. What takes more than a ceiling goes as a transaction of its own, so that one
account's wallet contract does not make the batches of all others expensive.

No turn waits for a block. What a turn sends is looked at in the turns after it, and until a block has it nothing is
sent again about the same request or job; all others go on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from sealmarket.chain import Mined, NotMined, Replaced, Reverted
from sealmarket.chain.calls import Call
from sealmarket.chain.contracts import BATCH_GAS, MarketContract
from sealmarket.chain.ledger_events import BatchEntryFailed
from sealmarket.chain.reverts import decode_revert
from sealmarket_backend.spending import NOBODY, Cause, Reserved, Spending
from sealmarket_enclave.protocol.codec import Bytes32
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


@dataclass(frozen=True, slots=True)
class _Entry:
    what: str
    call: Call
    gas: int
    failed: Callable[[], None]
    reserved: Reserved | None = None


@dataclass(slots=True)
class Outgoing:
    """The calls of one turn, and what earlier turns sent and no block has yet."""

    sender: Sends
    market: MarketContract
    spending: Spending | None = None
    entries: list[_Entry] = field(default_factory=list)
    under_way: dict[Bytes32, Sequence[_Entry]] = field(default_factory=dict)

    def look(self) -> None:
        """See what became of what earlier turns sent, and call off what one that broke off left unsent."""
        unsent, self.entries = self.entries, []
        self._call_off(unsent)
        for transaction, group in list(self.under_way.items()):
            with _told(group):
                try:
                    mined = self._ended(transaction)
                except (Reverted, Replaced, NotMined):
                    self._call_off(group)
                    raise
                if mined is not None:
                    self._settle(group, mined.cost)
                    _tell_failures(group, mined)

    def waits_for(self, what: str) -> bool:
        """Whether something about this was sent, and no block has it yet."""
        return any(entry.what == what for group in self.under_way.values() for entry in group)

    def add(self, what: str, call: Call, failed: Callable[[], None] = lambda: None, cause: Cause = NOBODY) -> None:
        """Take a call along; ``failed`` is called where it then does nothing: unsent, in no block, refused in its own.

        Raises:
            Reverted: the contract would refuse it now.
            NotEarned: nothing brings its gas back, and the operator gives no more today.
        """
        gas = self.sender.gas_of(call)
        reserved = self.spending.reserve(cause, gas) if self.spending is not None else None
        self.entries.append(_Entry(what, call, gas + gas * MARGIN_PERCENT // 100, failed, reserved))

    def send(self) -> None:
        """Hand in all of them. What fails is in the log, and tried again at a later turn. Raises
        :class:`StorageFailed`, and nothing was sent."""
        if self.spending is not None:
            self.spending.write()
        entries, self.entries = self.entries, []
        alone = [entry for entry in entries if entry.gas > MOST_GAS_EACH]
        together = [entry for entry in entries if entry.gas <= MOST_GAS_EACH]
        for group in [*([one] for one in alone), *_batches(together)]:
            with _told(group):
                try:
                    self.under_way[self.sender.submit(self._joined(group))] = group
                except SealmarketError:
                    self._call_off(group)
                    raise

    def _call_off(self, group: Sequence[_Entry]) -> None:
        self._settle(group, 0)
        for entry in group:
            entry.failed()

    def _settle(self, group: Sequence[_Entry], cost: int) -> None:
        """Each entry of a transaction bears its part of the cost, by its gas."""
        whole = sum(entry.gas for entry in group) or 1
        for entry in group:
            if self.spending is not None and entry.reserved is not None:
                self.spending.settle(entry.reserved, cost * entry.gas // whole)

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


def _tell_failures(group: Sequence[_Entry], mined: Mined) -> None:
    for event in mined.events:
        if isinstance(event, BatchEntryFailed):
            entry = group[event.index]
            log.info("%s: the contract refuses it for now: %s", entry.what, decode_revert(event.reason))
            entry.failed()


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
