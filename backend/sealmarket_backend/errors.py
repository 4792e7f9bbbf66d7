"""What the backend refuses, and with which HTTP status one handler answers.

BackendError
├── NotFound            nothing is stored under this name
├── Rejected            what was posted does not hold: wrong hash, wrong signature, out of date
└── TooLarge            more bytes than this kind of thing may have
"""

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
