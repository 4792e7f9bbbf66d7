"""Several services of one model, behind one proxy: each with a job, a key, a tab and grants of its own.

1. All of them run the same workload on the same weights: which of them answers changes nothing that a receipt does not
   name.
2. A request goes to the one with most grants free. It goes on to the next only where nothing of it was answered: its
   host refused it or gives no connection, or the enclave refused it for a reason of this one service
   (:data:`ELSEWHERE`). A connection that breaks later is the client's to judge, since the request may be charged.
3. One that refused rests for a while; one that is over is asked no more while another is not.

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
    """Asks whichever of some services has room. Threads may share it. ``now``: a clock that never goes back."""

    def __init__(self, askers: Sequence[Asker], now: Callable[[], float] = time.monotonic) -> None:
        """Raises :class:`ServicesDiffer` for services that are not of one model."""
        first = askers[0].service.facts
        for asker in askers[1:]:
            facts = asker.service.facts
            if (facts.workload, facts.weights) != (first.workload, first.weights):
                raise ServicesDiffer(first.job_id, facts.job_id)
        self._askers, self._now = list(askers), now
        self._rests = dict.fromkeys(range(len(self._askers)), 0.0)
        self._lock = threading.Lock()

    @property
    def grants(self) -> int:
        """How many requests run side by side."""
        return sum(asker.grants for asker in self._askers)

    @property
    def most_units(self) -> int:
        """The most that one request may cost at any of them."""
        return min(asker.most_units for asker in self._askers)

    def ask(self, endpoint: str, body: bytes, most_units: int, done: Callable[[KeptReceipt], None]) -> Iterator[bytes]:
        """As :meth:`Asker.ask`; where no service answers, the refusal that is most likely to pass is raised."""
        refusals: list[InferenceError] = []
        for place in self._order():
            answer = self._askers[place].ask(endpoint, body, most_units, done)
            try:
                piece = next(answer, None)
            except (HostRefused, RequestRefused, BudgetSpent) as error:
                if not self._passes_on(place, error):
                    raise
                refusals.append(error)
                continue
            if piece is not None:
                yield piece
                yield from answer
            return
        raise next((error for error in refusals if not _is_over(error)), refusals[-1])

    def _order(self) -> list[int]:
        """Those that do not rest, with most room first; all of them where each rests."""
        with self._lock:
            now = self._now()
            awake = [place for place, until in self._rests.items() if until <= now]
            chosen = awake or list(self._rests)
        return sorted(chosen, key=lambda place: -self._askers[place].free)

    def _passes_on(self, place: int, error: InferenceError) -> bool:
        """Whether another service is asked after this refusal. This one rests."""
        if isinstance(error, RequestRefused) and error.code not in ELSEWHERE:
            return False
        with self._lock:
            self._rests[place] = _FOR_GOOD if _is_over(error) else self._now() + REST_SECONDS
        return True


def _is_over(error: InferenceError) -> bool:
    return isinstance(error, RequestRefused) and error.code in OVER
