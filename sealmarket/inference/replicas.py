"""Several services of one model, behind one proxy: each with a job, a key, a tab and grants of its own.

1. All of them run the same workload on the same weights: which of them answers changes nothing that a receipt does not
   name.
2. A request goes to the one with most grants free. It goes on to the next only where nothing of it was answered: its
   host refused it or gives no connection, or the enclave refused it for a reason of this one service
   (:data:`ELSEWHERE`). A connection that breaks later is the client's to judge, since the request may be charged.
3. One that refused rests for a while; one that is over is asked no more while another is not.
4. Further ones can be added while it is asked (:mod:`.watching`): ``most`` at once.

A host that refuses a request and delivers it all the same has the user pay twice for one answer: once for each such
host, and never more than one request may cost, since that much stays reserved of the grant.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence

from sealmarket.inference.errors import BudgetSpent, HostRefused, InferenceError, RequestRefused, ServicesDiffer
from sealmarket.inference.pool import Asker
from sealmarket.inference.receipts import KeptReceipt
from sealmarket_enclave.protocol.session import SessionCode

OVER = frozenset({SessionCode.ENDED, SessionCode.STOPPED})
ELSEWHERE = OVER | {
    SessionCode.NO_LEASE,
    SessionCode.LEASE_SPENT,
    SessionCode.BUSY,
    SessionCode.NO_TAB,
    SessionCode.TAB_SPENT,
    SessionCode.GRANT_SPENT,
}
"""Refusals of one service that say nothing of another."""
REST_SECONDS = 5.0
_FOR_GOOD = float("inf")


class Replicas:
    """Asks whichever of some services has room. Threads may share it.

    Args:
        now: a clock that never goes back.
        most: how many services there may be; as many as are given where it is left out.
    """

    def __init__(
        self, askers: Sequence[Asker], now: Callable[[], float] = time.monotonic, *, most: int | None = None
    ) -> None:
        """Raises :class:`ServicesDiffer` for services that are not of one model."""
        self._askers, self._now, self._most = [askers[0]], now, max(most or 0, len(askers))
        self._rests: dict[Asker, float] = {}
        self._lock = threading.Lock()
        self.refused = threading.Event()
        """Set when a service refused for a reason of its own; who looks for others clears it."""
        for asker in askers[1:]:
            self.add(asker)

    @property
    def askers(self) -> list[Asker]:
        """The services that are asked now."""
        with self._lock:
            return list(self._askers)

    def has_room(self) -> bool:
        """Whether another service may be added."""
        return len(self.askers) < self._most

    def add(self, asker: Asker) -> None:
        """Ask a further service from now on. Raises :class:`ServicesDiffer` for one of another model."""
        with self._lock:
            first, facts = self._askers[0].service.facts, asker.service.facts
            if (facts.workload, facts.weights) != (first.workload, first.weights):
                raise ServicesDiffer(first.job_id, facts.job_id)
            self._askers.append(asker)

    def drop_over(self) -> None:
        """Ask those that are over no more. One stays, whose refusal says why."""
        with self._lock:
            left = [one for one in self._askers if self._rests.get(one, 0.0) < _FOR_GOOD]
            self._askers = left or self._askers[:1]
            self._rests = {one: until for one, until in self._rests.items() if one in self._askers}

    @property
    def grants(self) -> int:
        """How many requests run side by side, once there are as many services as may be."""
        askers = self.askers
        return sum(asker.grants for asker in askers) + (self._most - len(askers)) * askers[0].grants

    @property
    def most_units(self) -> int:
        """The most that one request may cost at any of them."""
        return min(asker.most_units for asker in self.askers)

    def ask(self, endpoint: str, body: bytes, most_units: int, done: Callable[[KeptReceipt], None]) -> Iterator[bytes]:
        """As :meth:`Asker.ask`; where no service answers, the refusal that is most likely to pass is raised."""
        refusals: list[InferenceError] = []
        for asker in self._order():
            answer = asker.ask(endpoint, body, most_units, done)
            try:
                piece = next(answer, None)
            except (HostRefused, RequestRefused, BudgetSpent) as error:
                if not self._passes_on(asker, error):
                    raise
                refusals.append(error)
                continue
            if piece is not None:
                yield piece
                yield from answer
            return
        raise next((error for error in refusals if not _is_over(error)), refusals[-1])

    def _order(self) -> list[Asker]:
        """Those that do not rest, with most room first; all of them where each rests."""
        with self._lock:
            now = self._now()
            awake = [asker for asker in self._askers if self._rests.get(asker, 0.0) <= now]
            chosen = awake or list(self._askers)
        return sorted(chosen, key=lambda asker: -asker.free)

    def _passes_on(self, asker: Asker, error: InferenceError) -> bool:
        """Whether another service is asked after this refusal. This one rests."""
        if isinstance(error, RequestRefused) and error.code not in ELSEWHERE:
            return False
        with self._lock:
            self._rests[asker] = _FOR_GOOD if _is_over(error) else self._now() + REST_SECONDS
        self.refused.set()
        return True


def _is_over(error: InferenceError) -> bool:
    return isinstance(error, RequestRefused) and error.code in OVER
