"""Further services of one model, looked for while a proxy runs: at an interval, and soon after a service refused.

1. A service that is found is verified as at the start, by the same function, before anything is asked of it. One that
   is not proven, or of another model, is left out and named, and not tried again for :data:`RETRY_SECONDS`.
2. Looking never stops the proxy: what a search or a check raises is said, and the next look comes in its time. Where
   there is no room nothing is looked for.
3. A service that is over makes room; the last one stays, so that its refusal is what a client learns.
4. Looks are :data:`SOONEST_SECONDS` apart at least, whatever services refuse; a proxy opens :data:`MOST_OPENED`
   services in its life, and asks as many side by side as its :class:`Replicas` take.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Self

from sealmarket.inference.pool import Asker
from sealmarket.inference.replicas import Replicas
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.numbers import JobId

LOOK_SECONDS = 300.0
SOONEST_SECONDS = 30.0
RETRY_SECONDS = 1800.0
MOST_OPENED = 64
_STOP_SECONDS = 5.0


class Watch:
    """Looks, in a thread of its own, while it is entered.

    Args:
        find: where each service that the user means is reached.
        open_one: verifies one and holds it open, or raises.
        say: tells the user.
        now: a clock that never goes back.
    """

    def __init__(
        self,
        replicas: Replicas,
        find: Callable[[], Mapping[JobId, str]],
        open_one: Callable[[JobId, str], Asker],
        say: Callable[[str], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._replicas, self._find, self._open, self._say, self._now = replicas, find, open_one, say, now
        self._known = {asker.service.facts.job_id for asker in replicas.askers}
        self._left_out: dict[JobId, float] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="services", daemon=True)

    def look(self) -> None:
        """Look once."""
        self._replicas.drop_over()
        if not self._replicas.has_room():
            return
        try:
            found = dict(self._find())
        except SealmarketError as error:
            self._say(f"services were not looked for: {error}")
            return
        now = self._now()
        self._left_out = {job_id: until for job_id, until in self._left_out.items() if job_id in found and now < until}
        for job_id, url in found.items():
            if self._stopped.is_set() or not self._replicas.has_room() or len(self._known) >= MOST_OPENED:
                return
            if job_id not in self._known and job_id not in self._left_out:
                self._try(job_id, url)

    def _try(self, job_id: JobId, url: str) -> None:
        """Rule 1."""
        try:
            asker = self._open(job_id, url)
            self._known.add(job_id)
            self._replicas.add(asker)
        except Exception as error:  # noqa: BLE001 - whatever one service has happen, the others are looked at
            self._left_out[job_id] = self._now() + RETRY_SECONDS
            kind = "" if isinstance(error, SealmarketError) else f"{type(error).__name__}: "
            self._say(f"WARNING: service {job_id} is left out: {kind}{error}")
        else:
            self._say(f"service {job_id} at {url} is verified, and asked from now on")

    def _run(self) -> None:
        while not self._stopped.wait(SOONEST_SECONDS):
            self._replicas.refused.wait(LOOK_SECONDS - SOONEST_SECONDS)
            self._replicas.refused.clear()
            if not self._stopped.is_set():
                self._look_again()

    def _look_again(self) -> None:
        """Rule 2."""
        try:
            self.look()
        except Exception as error:  # noqa: BLE001 - the proxy goes on with what it has
            self._say(f"services were not looked for: {type(error).__name__}: {error}")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._replicas.refused.set()
        self._thread.join(_STOP_SECONDS)
