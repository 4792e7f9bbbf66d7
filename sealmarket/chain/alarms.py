"""What is wrong with a chain's endpoints now: for logs, health and status. An alarm ends when its cause does."""

from __future__ import annotations

import logging
import threading
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
    """The alarms that stand, one for each endpoint and thing. Each is logged once. Threads may share it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._standing: dict[tuple[str, str], tuple[Alarm, float]] = {}
        self._turn = threading.Lock()

    def sound(self, endpoint: str, what: str, expected: object, found: object, seconds: float) -> None:
        """Let an alarm stand for so many seconds, counted anew each time."""
        now = self._clock()
        with self._turn:
            self._standing = {key: one for key, one in self._standing.items() if one[1] > now}
            before = self._standing.get((endpoint, what))
            alarm = Alarm(endpoint, what, str(expected), str(found), before[0].since if before else int(now))
            self._standing[endpoint, what] = (alarm, now + seconds)
        if before is None:
            _log.error("ALARM %s", alarm)

    def standing(self) -> tuple[Alarm, ...]:
        """Those whose time is not over."""
        now = self._clock()
        with self._turn:
            return tuple(alarm for alarm, until in self._standing.values() if until > now)
