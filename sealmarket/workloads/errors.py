"""What can be wrong when a bundle is prepared.

EnvironmentRefused
├── WheelNotLocked
├── FetchFailed
├── NoResolver
└── ResolveFailed
BundleError
├── FolderTaken
├── TemplateUnknown
└── InputsRefused
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sealmarket_enclave.workload.errors import BundleError, EnvironmentRefused


class WheelNotLocked(EnvironmentRefused):
    """A wheel is not one of those that the lock names, or is not there (``found`` is then empty)."""

    def __init__(self, filename: str, found: bytes) -> None:
        what = f"has SHA-256 {found.hex()}, which the lock does not name" if found else "is not in the folder of wheels"
        super().__init__(
            f"{filename} {what}",
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


class FolderTaken(BundleError):
    """A new project would overwrite what is there."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder} is there already", remedy="name a folder that does not exist, or an empty one")
        self.folder = folder


class TemplateUnknown(BundleError):
    """No template has that name."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(f"there is no template {name!r}", remedy=f"name one of {', '.join(known)}")
        self.name, self.known = name, known


class NoResolver(EnvironmentRefused):
    """Nothing here can pin requirements."""

    def __init__(self) -> None:
        super().__init__(
            "neither uv nor pip is here to pin requirements.in",
            remedy="install one (python -m ensurepip, or the package uv), or write requirements.lock elsewhere: "
            "uv pip compile --generate-hashes requirements.in -o requirements.lock",
        )


class ResolveFailed(EnvironmentRefused):
    """A resolver ended without a lock."""

    def __init__(self, tool: str, got: str) -> None:
        super().__init__(
            f"{tool} could not pin requirements.in: {got}",
            remedy="check names and versions in requirements.in and the network; every package must have a wheel",
        )
        self.tool, self.got = tool, got


class InputsRefused(BundleError):
    """The files of a local run do not fill the slots of the manifest."""

    def __init__(self, got: str, expected: str) -> None:
        super().__init__(f"{got}; expected {expected}", remedy="pass --input NAME=FILE for each file")
        self.got, self.expected = got, expected
