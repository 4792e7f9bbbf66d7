"""What can go wrong on a host.

    SealmarketError
    └── HostError
        ├── ConfigInvalid
        ├── ImageIncomplete        the running environment lacks a file that the enclave needs
        ├── DependencyMismatch     an installed distribution is not of the locked version
        ├── UnknownKind            the enclave has no such kind of job
        ├── EnclaveRefused         the enclave stopped, with its own code
        ├── EnclaveLost            the enclave's process or its device is gone
        ├── InputMissing           something that this host itself needs for the job is not available, or not in time
        ├── JobOver                the job ended or left the state that the host waits in
        └── JournalConflict        a journal entry is not in the state that a step starts from

The first line of each docstring is the message's pattern.
"""

from __future__ import annotations

from sealmarket_enclave.protocol.errors import SealmarketError


class HostError(SealmarketError):
    """The host could not go on."""


class ConfigInvalid(HostError):
    """the worker's configuration {path}: {detail}"""

    def __init__(self, path: object, detail: str, remedy: str = "correct the file; see `sealmarket worker run --help`"):
        super().__init__(f"the worker's configuration {path}: {detail}", remedy=remedy)


class ImageIncomplete(HostError):
    """the enclave image lacks {what}"""

    def __init__(self, what: str) -> None:
        super().__init__(f"the enclave image lacks {what}", remedy="install the worker as its lock file says")
        self.what = what


class DependencyMismatch(HostError):
    """{name} is installed in version {found}, the enclave's lock names {expected}"""

    def __init__(self, name: str, found: str, expected: str) -> None:
        super().__init__(
            f"{name} is installed in version {found}, the enclave's lock names {expected}",
            remedy=f"install {name}=={expected}; with another version the measurement is not the one that owners allow",
        )
        self.name, self.found, self.expected = name, found, expected


class UnknownKind(HostError):
    """the enclave has no kind of job {kind}, expected one of {known}"""

    def __init__(self, kind: str, known: tuple[str, ...]) -> None:
        super().__init__(
            f"the enclave has no kind of job {kind!r}, expected one of {', '.join(known)}",
            remedy="name one of these kinds, or install the release that has it",
        )
        self.kind, self.known = kind, known


class EnclaveRefused(HostError):
    """the enclave refused ({code}): {message}"""

    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(f"the enclave refused ({code}): {message}", remedy=remedy)
        self.code = code


class EnclaveLost(HostError):
    """the enclave is gone: {detail}"""

    def __init__(self, detail: str) -> None:
        super().__init__(
            f"the enclave is gone: {detail}",
            remedy="before the quote another one is started; afterwards its keys are lost and so is the job",
        )


class InputMissing(HostError):
    """{what} is not available: {detail}"""

    def __init__(self, what: str, detail: str) -> None:
        super().__init__(
            f"{what} is not available: {detail}",
            remedy="see what this host lacks, and try again while the job's window is open",
        )
        self.what = what


class JobOver(HostError):
    """the job is {status}, expected {expected}"""

    def __init__(self, status: str, expected: str) -> None:
        super().__init__(f"the job is {status}, expected {expected}", remedy="read the decision's reasons on chain")
        self.status = status


class JournalConflict(HostError):
    """job {job_id} is {found} in the journal, expected {expected}"""

    def __init__(self, job_id: object, found: str, expected: str) -> None:
        super().__init__(
            f"job {job_id} is {found} in the journal, expected {expected}",
            remedy="run one worker for one state folder",
        )
