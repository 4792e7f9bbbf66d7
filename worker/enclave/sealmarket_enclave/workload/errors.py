"""What can be wrong with a workload.

SealmarketError
└── WorkloadError
    ├── BundleError
    │   ├── ForbiddenEntry
    │   ├── PathCollision
    │   ├── BundleTooLarge
    │   ├── BundleFileMissing
    │   ├── InvalidManifest
    │   ├── InvalidArchive
    │   └── DigestMismatch
    ├── EnvironmentRefused
    │   ├── UnlistedFile
    │   ├── ListedFileMissing
    │   ├── FileAltered
    │   ├── WheelRefused
    │   └── InterpreterMismatch
    ├── ParametersRefused
    └── RunTooLong
"""

from __future__ import annotations

from sealmarket_enclave.protocol.errors import SealmarketError


class WorkloadError(SealmarketError):
    """A workload was refused."""


class BundleError(WorkloadError):
    """A workload bundle was refused."""


class ForbiddenEntry(BundleError):
    """The bundle has an entry that is no plain file under a plain name."""

    def __init__(self, path: str, got: str, expected: str) -> None:
        super().__init__(
            f"{path!r} is {got}, expected {expected}",
            remedy="remove it from the bundle, or replace it with a plain file under a plain name",
        )
        self.path, self.got, self.expected = path, got, expected


class PathCollision(BundleError):
    """Two paths of the bundle are one path on some file systems."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(
            f"{first!r} and {second!r} are one path on some file systems, expected distinct paths",
            remedy="rename one of the two",
        )
        self.first, self.second = first, second


class BundleTooLarge(BundleError):
    """The bundle exceeds a limit of its format."""

    def __init__(self, what: str, got: int, expected: int) -> None:
        super().__init__(
            f"the bundle's {what} is {got}, expected at most {expected}",
            remedy="put data into an asset, and dependencies into the lockfile",
        )
        self.what, self.got, self.expected = what, got, expected


class BundleFileMissing(BundleError):
    """The bundle lacks a file that each bundle has."""

    def __init__(self, path: str) -> None:
        super().__init__(f"the bundle has no {path}", remedy="see docs/spec/workload.md for what a bundle holds")
        self.path = path


class InvalidManifest(BundleError):
    """A field of workload.toml is not as the format requires."""

    def __init__(self, field: str, got: object, expected: object) -> None:
        super().__init__(
            f"workload.toml's {field} is {got}, expected {expected}",
            remedy="correct workload.toml and lock again",
        )
        self.field, self.got, self.expected = field, got, expected


class InvalidArchive(BundleError):
    """The workload's archive is malformed."""

    def __init__(self, got: object, expected: object) -> None:
        super().__init__(
            f"the workload's archive has {got}, expected {expected}", remedy="fetch the workload again by its digest"
        )
        self.got, self.expected = got, expected


class DigestMismatch(BundleError):
    """The workload is not the one of the expected digest."""

    def __init__(self, expected: bytes, found: bytes) -> None:
        super().__init__(
            f"the workload's digest is 0x{found.hex()}, expected 0x{expected.hex()}",
            remedy="fetch the bundle that the job names; some file, name or executable bit differs",
        )
        self.expected, self.found = expected, found


class EnvironmentRefused(WorkloadError):
    """A workload's environment was refused."""


class UnlistedFile(EnvironmentRefused):
    """The environment holds a file that no locked wheel lists."""

    def __init__(self, path: str, got: str = "a file") -> None:
        super().__init__(
            f"the environment holds {path} ({got}), which no locked wheel lists",
            remedy="install the environment again into an empty directory, and run Python with -B",
        )
        self.path, self.got = path, got


class ListedFileMissing(EnvironmentRefused):
    """The environment lacks a file that a locked wheel lists."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"the environment lacks {path}, which a locked wheel lists",
            remedy="install the environment again",
        )
        self.path = path


class FileAltered(EnvironmentRefused):
    """A file of the environment is not the one that its wheel lists."""

    def __init__(self, path: str, expected: bytes, found: bytes) -> None:
        super().__init__(
            f"{path} has SHA-256 {found.hex()}, expected {expected.hex()}",
            remedy="install the environment again",
        )
        self.path, self.expected, self.found = path, expected, found


class WheelRefused(EnvironmentRefused):
    """A wheel holds an entry that an environment must not have."""

    def __init__(self, filename: str, path: str, got: str) -> None:
        super().__init__(f"{filename} holds {path!r}: {got}", remedy="choose another version of this dependency")
        self.filename, self.path, self.got = filename, path, got


class InterpreterMismatch(EnvironmentRefused):
    """The environment was locked for another interpreter."""

    def __init__(self, expected: object, got: object) -> None:
        super().__init__(
            f"the environment was locked for {expected}, this is {got}",
            remedy="run it with that interpreter, or lock the bundle again with this one (its digest changes)",
        )
        self.expected, self.got = expected, got


class ParametersRefused(WorkloadError):
    """A parameter does not fit the workload's schema."""

    def __init__(self, name: str, got: object, expected: object) -> None:
        super().__init__(
            f"parameter {name} is {got!r}, expected {expected}",
            remedy="correct the job's parameters after the workload's schema",
        )
        self.name, self.got, self.expected = name, got, expected


class RunTooLong(WorkloadError):
    """The workload declares more time than the job allows for running it."""

    def __init__(self, got: int, expected: int) -> None:
        super().__init__(
            f"the job allows {got} s for running the workload, which declares {expected} s",
            remedy="ask for more run seconds, or declare less wall_seconds in workload.toml (its digest changes)",
        )
        self.got, self.expected = got, expected
