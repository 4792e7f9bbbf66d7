"""The times of one wait for a transaction."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sealmarket.chain.errors import (
    ChainError,
)

if TYPE_CHECKING:
    pass

POLL_SECONDS = 0.1
SLOWEST_POLL_SECONDS = 0.5
RELOOK_SECONDS = 2.0
"""How often a transaction without a receipt is looked up: nodes forget what is in no block when they restart."""
STUCK_SECONDS = 30.0
"""After which a transaction that the node holds, while blocks go by without it, is replaced by one that offers more."""


class Watch:
    """The times of one wait."""

    def __init__(self, timeout: float) -> None:
        self._begun = self._looked = time.monotonic()
        self._end = self._begun + timeout
        self._every = POLL_SECONDS / 1.5
        self._since: tuple[float, int] | None = None
        self.last: ChainError | None = None

    def over(self) -> bool:
        """Whether the time of this wait has passed."""
        return time.monotonic() > self._end

    def next_pause(self) -> float:
        """Seconds until the next look, longer each time."""
        self._every = min(SLOWEST_POLL_SECONDS, self._every * 1.5)
        return self._every

    def due(self) -> bool:
        """Whether to look beyond the receipt."""
        if time.monotonic() < self._looked + RELOOK_SECONDS:
            return False
        self._looked = time.monotonic()
        return True

    def stuck(self, head: int) -> bool:
        """Whether it has been long, and blocks went by; asked again, only after as long again."""
        now = time.monotonic()
        if self._since is None:
            self._since = (now, head)
        since, seen = self._since
        if now < since + STUCK_SECONDS or head <= seen + 1:
            return False
        self._since = (now, head)
        return True
