"""How long tests wait for what has to come: so long that a broken program is told from a busy machine.

A limit under test is short only where the test is about reaching it, and then every other limit of that test is long.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE = 120.0
"""Seconds. What comes ends the wait at once; this long a test waits only to fail."""
POLL_SECONDS, SLOWEST_POLL_SECONDS = 0.02, 0.1
"""A wait asks often at first, and then at every tenth of what it waited: what it waits for needs the same machine."""


def until(what: str, found: Callable[[], T | None], timeout: float = PATIENCE) -> T:
    """Wait until something is there and return it; after ``timeout`` seconds fail with ``what`` and the last answer."""
    begun, pause = time.monotonic(), threading.Event()
    while not (answer := found()):
        waited = time.monotonic() - begun
        assert waited < timeout, f"not within {timeout:g} s: {what}; last: {answer!r}"
        pause.wait(min(max(POLL_SECONDS, waited / 10), SLOWEST_POLL_SECONDS))
    return answer
