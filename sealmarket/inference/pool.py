"""Several grants of one service, so that requests run side by side; each has one request under way at most."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import coincurve

from sealmarket.inference.asking import USELESS, Asking
from sealmarket.inference.errors import AllGrantsBusy, BudgetSpent, RequestRefused
from sealmarket.inference.grants import GrantFile, GrantShelf, new_grant
from sealmarket.inference.host import Carrier
from sealmarket.inference.receipts import KeptReceipt, ReceiptFile
from sealmarket.inference.service import Service
from sealmarket_enclave.protocol.codec import Bytes32, HexBytes, Uint64
from sealmarket_enclave.protocol.session import Grant

_GRANT_SECONDS = 86_400
WAIT_SECONDS = 30.0
"""How long a request waits for a grant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What the user allows, in units. ``grants`` have a request each under way; ``budget`` bounds all of them."""

    grants: int = 4
    cap: int = 100_000
    budget: int = 1_000_000


class Asker:
    """Asks one service. Threads may share it.

    Args:
        sign: the wallet's signature over a grant.
        wait: seconds for which a request waits for a grant.
    """

    def __init__(
        self,
        service: Service,
        shelf: GrantShelf,
        receipts: ReceiptFile,
        carrier: Carrier,
        sign: Callable[[Grant], HexBytes],
        spending: Spending,
        *,
        wait: float = WAIT_SECONDS,
    ) -> None:
        self.service, self.spending = service, spending
        self._shelf, self._receipts, self._carrier, self._sign = shelf, receipts, carrier, sign
        self._wait, self._free = wait, threading.Condition()
        self._busy: set[Bytes32] = set()

    @property
    def grants(self) -> int:
        """How many requests run side by side."""
        return self.spending.grants

    @property
    def free(self) -> int:
        """How many more could begin now."""
        with self._free:
            return self.spending.grants - len(self._busy)

    @property
    def most_units(self) -> int:
        """The most that one request may cost, by the owners' rules."""
        return self.service.serving.max_units

    def ask(self, endpoint: str, body: bytes, most_units: int, done: Callable[[KeptReceipt], None]) -> Iterator[bytes]:
        """The bytes of the response; ``done`` gets the receipt behind the last of them.

        A grant that the service takes no more is replaced once, before any byte: nothing was charged under it.

        Raises:
            AllGrantsBusy, BudgetSpent: nothing was sent.
            others: as :class:`Asking`.
        """
        try:
            yield from self._ask(endpoint, body, most_units, done)
        except RequestRefused as refused:
            if refused.code not in USELESS:
                raise
            yield from self._ask(endpoint, body, most_units, done)

    def _ask(self, endpoint: str, body: bytes, most: int, done: Callable[[KeptReceipt], None]) -> Iterator[bytes]:
        grant = self._take(most)
        try:
            asking = Asking(self.service, self._shelf, self._receipts, self._carrier)
            yield from asking.ask(grant, endpoint, body, most)
        finally:
            with self._free:
                self._busy.discard(grant.name)
                self._free.notify()
        if asking.kept is not None:
            done(asking.kept)

    def _take(self, most: int) -> GrantFile:
        """A grant with room for a request, now busy."""
        with self._free:
            if not self._free.wait_for(lambda: len(self._busy) < self.spending.grants, self._wait):
                raise AllGrantsBusy(self.spending.grants)
            grant = self._fitting(most) or self._fresh(most)
            self._busy.add(grant.name)
            return grant

    def _fitting(self, most: int) -> GrantFile | None:
        now = time.time()
        for name, grant in list(self._shelf.grants.items()):
            if grant.state != "idle" or name in self._busy:
                continue
            if not self._still_good(grant, now):
                self._shelf.retire(grant, "it is over, or of another enclave")
            elif grant.left >= most:
                return grant
        return None

    def _still_good(self, grant: GrantFile, now: float) -> bool:
        facts, of = self.service.facts, grant.grant
        same = (of.job_id, of.workload, of.weights) == (facts.job_id, facts.workload, facts.weights)
        return same and now < of.until

    def _fresh(self, most: int) -> GrantFile:
        """A new grant. One that is too small for the request makes room for it."""
        for name, grant in list(self._shelf.grants.items()):
            if grant.state == "idle" and name not in self._busy:
                self._shelf.retire(grant, "it had no room for a request")
        left = self.spending.budget - self._shelf.committed
        if left < most:
            raise BudgetSpent(self.spending.budget, max(0, left), most)
        cap = min(left, max(self.spending.cap, most))
        return self._shelf.make(partial(self._grant, cap), self._sign)

    def _grant(self, cap: int, key: coincurve.PrivateKey) -> Grant:
        facts = self.service.facts
        return Grant(
            **new_grant(key, facts.job_id, facts.workload, facts.weights),  # type: ignore[arg-type]
            cap=Uint64(cap),
            until=min(facts.end, int(time.time()) + _GRANT_SECONDS),
        )
