"""How old the view of the chain is, by a clock that the chain itself holds to account.

1. A block's time is not ahead of the present. So the present is not before the time of a block that enough endpoints
   have, nor before that and the seconds that have passed since it was seen.
2. A node takes the later of that and its own clock for the present. A clock that is behind, or was set back while the
   node runs, then takes no old head for a new one, once the node has seen a newer.
3. A clock that is ahead makes every head old: the node does nothing, and says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sealmarket.chain.model import Block
from sealmarket_oracle.errors import StaleChain


class HeadClock:
    """The present for one node. Threads may share it.

    Args:
        most: seconds; a newest block that is older is not relied on.
        clock: seconds since 1970.
        monotonic: seconds that only grow.
    """

    def __init__(
        self, most: int, clock: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._clock, self._monotonic = most, clock, monotonic
        self._start = float("-inf")

    def now(self) -> float:
        """Seconds since 1970."""
        return max(self._clock(), self._start + self._monotonic())

    def saw(self, head: Block) -> None:
        """Enough endpoints have reached this block."""
        self._start = max(self._start, head.timestamp - self._monotonic())

    def require_recent(self, timestamp: int) -> None:
        """Rely on a newest block of this time.

        Raises:
            StaleChain: it is too old.
        """
        age = int(self.now()) - timestamp
        if age > self._most:
            raise StaleChain(age, self._most)
