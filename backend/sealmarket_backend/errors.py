"""What the backend refuses, and with which HTTP status one handler answers.

BackendError
├── NotFound            nothing is stored under this name
├── Rejected            what was posted does not hold: wrong hash, wrong signature, out of date
├── TooLarge            more bytes than this kind of thing may have
├── OtherOffset         an upload goes on at another byte
├── TooMany             more, or more often, than one peer may ask for
├── StoreFull           the store, or this peer's part of it, has no room
├── StorageFailed       the database does not answer, or takes no writes
└── Deposed             another process leads this market now
"""

import math
from typing import ClassVar

from sealmarket_enclave.protocol.errors import SealmarketError


class BackendError(SealmarketError):
    """The backend could not do what was asked."""

    status: ClassVar[int] = 500


class NotFound(BackendError):
    """Nothing is stored under this name."""

    status = 404


class Rejected(BackendError):
    """What was posted does not hold."""

    status = 422


class TooLarge(BackendError):
    """More bytes than this kind of thing may have."""

    status = 413


class OtherOffset(BackendError):
    """An upload goes on at another byte than the one that was named."""

    status = 409


class TooMany(BackendError):
    """More, or more often, than one peer may ask for."""

    status = 429

    def __init__(self, message: str, wait_seconds: float) -> None:
        self.retry_after = max(1, math.ceil(wait_seconds))
        super().__init__(message, remedy=f"try again in {self.retry_after} s")


class StoreFull(BackendError):
    """The store, or this peer's part of it, has no room."""

    status = 507


class StorageFailed(BackendError):
    """The database does not answer, or takes no writes. It concerns everything that the backend does."""

    status = 503

    def __init__(self, detail: str) -> None:
        super().__init__(
            "the database does not take this just now", remedy="try again later; the operator's log says why"
        )
        self.detail = detail
        """For the operator alone."""


class Deposed(BackendError):
    """Another process leads this market now; this one goes on as a replica."""

    status = 503

    def __init__(self, mine: int, found: int) -> None:
        super().__init__(
            f"this process led in term {mine}, and term {found} is under way", remedy="nothing: the other one goes on"
        )
