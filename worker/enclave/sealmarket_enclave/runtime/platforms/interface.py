"""What the runtime needs of a TEE: evidence over 64 bytes, and runtime registers where the platform has them.

PlatformError
├── PlatformUnknown       the launch names a platform that is not in the table
├── PlatformRefused       the platform refused the request
└── PlatformLost          the platform does not answer any more
"""

from __future__ import annotations

from typing import Protocol


class PlatformError(Exception):
    """The platform did not do what the enclave asked."""


class PlatformUnknown(PlatformError):
    """The launch names a platform that is not in the table."""


class PlatformRefused(PlatformError):
    """The platform refused the request."""


class PlatformLost(PlatformError):
    """The platform closed its channel or answered with something else."""


class Platform(Protocol):
    """One TEE, seen from inside."""

    def quote(self, report_data: bytes) -> bytes:
        """Evidence over 64 bytes. Raises :class:`PlatformError`."""

    def extend(self, index: int, digest: bytes) -> bytes:
        """Extend a runtime register by a 48-byte digest; returns its new value. Raises :class:`PlatformError`."""
