"""What failed waits before it is tried again, twice as long each time; what did not fail for a day is as new."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

FIRST_SECONDS, LONGEST_SECONDS = 60.0, 6 * 3600.0
"""How long the first failure has to wait, and any."""
FORGET_SECONDS = 86_400.0
"""After the last failure."""
MOST = 10_000
"""Keys that are remembered; the one that failed longest ago is forgotten first."""


@dataclass(frozen=True, slots=True)
class _Failures:
    """How many there were, and when the last one was."""

    count: int
    last: float


class Waits:
    """Counts failures by key, in memory: a restart forgets them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[Hashable, _Failures] = OrderedDict()

    def failed(self, key: Hashable) -> None:
        """Count a failure, and let the key wait."""
        self._failures[key] = _Failures(self.failures(key) + 1, self._clock())
        self._failures.move_to_end(key)
        if len(self._failures) > MOST:
            self._failures.popitem(last=False)

    def failures(self, key: Hashable) -> int:
        """How often it failed lately."""
        found = self._failures.get(key)
        if found is None or self._clock() > found.last + FORGET_SECONDS:
            return 0
        return found.count

    def left(self, key: Hashable) -> float:
        """Seconds for which it waits still; 0 where it may be tried."""
        if not (count := self.failures(key)):
            return 0.0
        pause: float = min(FIRST_SECONDS * 2 ** min(count - 1, 32), LONGEST_SECONDS)
        return max(0.0, self._failures[key].last + pause - self._clock())
