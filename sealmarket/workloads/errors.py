"""What can be wrong when a bundle is prepared.

EnvironmentRefused
├── WheelNotLocked
└── FetchFailed
"""

from __future__ import annotations

from sealmarket_enclave.workload.errors import EnvironmentRefused


class WheelNotLocked(EnvironmentRefused):
    """A wheel is not one of those that the lock names."""

    def __init__(self, filename: str, found: bytes) -> None:
        super().__init__(
            f"{filename} has SHA-256 {found.hex()}, which the lock does not name",
            remedy="download the wheels again with the bundle's requirements.lock, or lock the bundle again",
        )
        self.filename, self.found = filename, found


class FetchFailed(EnvironmentRefused):
    """The wheels of a lock could not be downloaded."""

    def __init__(self, got: str) -> None:
        super().__init__(
            f"the wheels could not be downloaded: {got}",
            remedy="check the network and that every requirement has a wheel for this interpreter, then try again",
        )
        self.got = got
