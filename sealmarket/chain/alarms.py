"""What is wrong with a chain's endpoints now: for logs, health and status. An alarm ends when its cause does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Alarm:
    """One endpoint, what it says, and what was expected. ``since`` in seconds since 1970, by our clock."""

    endpoint: str
    what: str
    expected: str
    found: str
    since: int

    def __str__(self) -> str:
        return f"{self.endpoint}: {self.what}: expected {self.expected}, found {self.found}"


class Alarms:
    """The alarms that stand, one for each endpoint and thing. Each is logged once."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._standing: dict[tuple[str, str], tuple[Alarm, float]] = {}

    def sound(self, endpoint: str, what: str, expected: object, found: object, seconds: float) -> None:
        """Let an alarm stand for so many seconds, counted anew each time."""
        now = self._clock()
        before = self._standing.get((endpoint, what))
        since = before[0].since if before and before[1] > now else int(now)
        alarm = Alarm(endpoint, what, str(expected), str(found), since)
        if before is None or before[1] <= now:
            _log.error("ALARM %s", alarm)
        self._standing[endpoint, what] = (alarm, now + seconds)

    def standing(self) -> tuple[Alarm, ...]:
        """Those whose time is not over."""
        now = self._clock()
        return tuple(alarm for alarm, until in self._standing.values() if until > now)
