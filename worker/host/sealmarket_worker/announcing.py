"""Tells the market where the services of this host are reached: signed once for each, posted until it is kept.

The market's backend takes the address of a service once a final block has its acceptance, and may lose it again: it is
posted anew from time to time. A service that the backend lists nowhere serves all the same.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sealmarket.protocol.services import ServiceAddress, SignedServiceAddress
from sealmarket_enclave.protocol.codec import HexBytes
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.numbers import JobId

log = logging.getLogger(__name__)
RETRY_SECONDS, AGAIN_SECONDS = 5.0, 1800.0
WARNS_AT = 12
"""Failures in a row: a backend that is a few final blocks behind takes no address yet, and that is nothing to say."""

Post = Callable[[SignedServiceAddress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcer:
    """What announcing needs. ``post`` raises :class:`ServiceError` where the backend does not keep an address."""

    url: str
    post: Post
    sign: Callable[[ServiceAddress], HexBytes]
    clock: Callable[[], float] = time.time
    retry_seconds: float = RETRY_SECONDS
    again_seconds: float = AGAIN_SECONDS

    def of(self, job_id: JobId) -> Announcing:
        """Announces one service while it is entered."""
        return Announcing(self, job_id)


class Announcing:
    """One service, in a thread of its own: usable as a context manager. Nothing here raises or is waited for."""

    def __init__(self, announcer: Announcer, job_id: JobId) -> None:
        self._announcer, self._job_id = announcer, job_id
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="announcing", daemon=True)

    def __enter__(self) -> Announcing:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _run(self) -> None:
        signed: SignedServiceAddress | None = None
        failures = 0
        while not self._over.is_set():
            pause = self._announcer.again_seconds
            try:
                signed = signed or self._signed()
                self._announcer.post(signed)
            except SealmarketError as error:
                pause, failures = self._announcer.retry_seconds, failures + 1
                if failures == WARNS_AT:
                    log.warning("the market does not list service %s yet: %s", self._job_id, error)
            except RuntimeError:
                if not self._over.is_set():
                    raise
                return  # the host ended, and closed the connection under this request
            else:
                failures = 0
            self._over.wait(pause)

    def _signed(self) -> SignedServiceAddress:
        made = ServiceAddress(job_id=self._job_id, url=self._announcer.url, signed_at=int(self._announcer.clock()))
        return SignedServiceAddress(address=made, signature=self._announcer.sign(made))
