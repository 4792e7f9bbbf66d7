"""What can go wrong on a host.

SealmarketError
└── HostError
    ├── ConfigInvalid
    ├── ImageIncomplete
    ├── DependencyMismatch
    ├── UnknownKind
    ├── EnclaveRefused
    ├── EnclaveLost
    ├── ServiceOver
    ├── InputMissing
    ├── JobOver
    └── JournalConflict
"""

from __future__ import annotations

from sealmarket_enclave.protocol.errors import SealmarketError


class HostError(SealmarketError):
    """The host could not go on."""


class ConfigInvalid(HostError):
    """The worker's configuration cannot be used."""

    def __init__(self, path: object, detail: str, remedy: str = "correct the file; see `sealmarket worker run --help`"):
        super().__init__(f"the worker's configuration {path}: {detail}", remedy=remedy)


class ImageIncomplete(HostError):
    """The running environment lacks a file that the enclave needs."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the enclave image lacks {what}", remedy="install the worker as its lock file says")
        self.what = what


class DependencyMismatch(HostError):
    """An installed distribution is not of the version that the enclave's lock names."""

    def __init__(self, name: str, found: str, expected: str) -> None:
        super().__init__(
            f"{name} is installed in version {found}, the enclave's lock names {expected}",
            remedy=f"install {name}=={expected}; with another version the measurement is not the one that owners allow",
        )
        self.name, self.found, self.expected = name, found, expected


class UnknownKind(HostError):
    """The enclave has no such kind of job."""

    def __init__(self, kind: str, known: tuple[str, ...]) -> None:
        super().__init__(
            f"the enclave has no kind of job {kind!r}, expected one of {', '.join(known)}",
            remedy="name one of these kinds, or install the release that has it",
        )
        self.kind, self.known = kind, known


class EnclaveRefused(HostError):
    """The enclave stopped; ``code`` is its own."""

    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(f"the enclave refused ({code}): {message}", remedy=remedy)
        self.code = code


class EnclaveLost(HostError):
    """The enclave's process or its device is gone."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            f"the enclave is gone: {detail}",
            remedy="before the quote another one is started; afterwards its keys are lost and so is the job",
        )


class ServiceOver(HostError):
    """A service takes no request now. ``kind`` is a type of :mod:`sealmarket.protocol.problems`."""

    def __init__(self, detail: str, kind: str = "service-over") -> None:
        super().__init__(f"the service cannot answer: {detail}", remedy="try again soon, or use another replica")
        self.kind = kind


class InputMissing(HostError):
    """Something that this host itself needs for the job is not available, or not in time."""

    def __init__(self, what: str, detail: str) -> None:
        super().__init__(
            f"{what} is not available: {detail}",
            remedy="see what this host lacks, and try again while the job's window is open",
        )
        self.what = what


class JobOver(HostError):
    """The job ended, or left the state that the host waits in."""

    def __init__(self, status: str, expected: str) -> None:
        super().__init__(f"the job is {status}, expected {expected}", remedy="read the decision's reasons on chain")
        self.status = status


class JournalConflict(HostError):
    """A journal entry is not in the state that a step starts from."""

    def __init__(self, job_id: object, found: str, expected: str) -> None:
        super().__init__(
            f"job {job_id} is {found} in the journal, expected {expected}",
            remedy="run one worker for one state folder",
        )
