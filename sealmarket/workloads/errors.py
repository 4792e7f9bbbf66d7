"""What can be wrong when a bundle is prepared.

EnvironmentRefused
├── WheelNotLocked
├── FetchFailed
├── LockRefused
├── NotCompiled
├── NoResolver
└── ResolveFailed
BundleError
├── NotLocked
├── FolderTaken
├── TemplateUnknown
├── InputsRefused
├── StepUnknown
├── StepTooLarge
├── ReaderFailed
└── ContentUnfit
"""

from __future__ import annotations

import shlex
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


class NotLocked(BundleError):
    """A folder has no ``environment.json`` yet."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"the workload in {folder} has no environment.json: it is not locked for an interpreter",
            remedy=f"run `sealmarket workload lock {shlex.quote(str(folder))}`",
        )


class LockRefused(EnvironmentRefused):
    """A lock asks for something else than pinned packages."""

    def __init__(self, line: str) -> None:
        shown = ascii(line[:60])
        super().__init__(
            f"requirements.lock has the line {shown}, expected name==version with a SHA-256 of each file, and no option"
            " or address",
            remedy="do not fetch what it names; lock your own bundle again with `sealmarket workload lock`",
        )
        self.line = line


class NotCompiled(EnvironmentRefused):
    """The sources of wheels could not be compiled: one of them ended the compiler, or took too long."""

    def __init__(self, how: str) -> None:
        super().__init__(
            f"the bytecode of the wheels' sources could not be made ({how})",
            remedy="lock the bundle without --compiled, or without the package that cannot be compiled",
        )


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


class StepUnknown(BundleError):
    """A card or policy names a step that is not here."""

    def __init__(self, what: str, known: Sequence[str]) -> None:
        super().__init__(
            f"there is no step {what}, expected one of those that come with Sealmarket: {', '.join(known)}",
            remedy="name the folder that holds its bundle, or describe the data again with this version",
        )
        self.what, self.known = what, known


class StepTooLarge(BundleError):
    """A reader or validator is larger than an enclave takes."""

    def __init__(self, name: str, found: int, most: int) -> None:
        super().__init__(
            f"step {name} has an archive of {found} bytes, expected at most {most}",
            remedy="leave what is no code out of its folder: libraries come in locked wheels",
        )
        self.name, self.found, self.most = name, found, most


class ReaderFailed(BundleError):
    """A reader gave no report that counts."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"the reader gave no report: {found}",
            remedy="check that the file is whole and fits this machine's memory; an enclave would refuse it too",
        )
        self.found = found


class ContentUnfit(BundleError):
    """Data is not what its card promises."""

    def __init__(self, code: str, column: str | None, detail: str) -> None:
        where = f" (column {column[:60]!r})" if column else ""
        super().__init__(
            f"the data does not fit its card: {code}{where}; {detail}"[:1000],
            remedy="correct the data, or describe it again with `sealmarket owner describe`",
        )
        self.code, self.column, self.detail = code, column, detail
