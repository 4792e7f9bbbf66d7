"""What can go wrong on a client's side.

    SealmarketError
    └── ClientError
        ├── RequestInvalid      what was asked for cannot be signed or matched
        ├── PolicyMismatch      a policy draft and the data, committee or chain do not fit each other
        ├── CommitteeMismatch   the address book names other oracle nodes than the chain
        ├── AccountFileRefused  (accounts)
        ├── AddressBookRefused  a file is no address book
        ├── JobNotFound
        ├── JobEndedOtherwise   a job that was waited for ended without a result
        ├── WaitedTooLong
        └── ProofInvalid        a proof bundle contradicts itself

The first line of each docstring is the message's pattern.
"""

from __future__ import annotations

from pathlib import Path

from sealmarket_enclave.protocol.errors import SealmarketError


class ClientError(SealmarketError):
    """Something on the client's side was refused or did not work."""


class AddressBookRefused(ClientError):
    """{path} is no address book: {detail}"""

    def __init__(self, path: Path, detail: str) -> None:
        super().__init__(
            f"{path} is no address book: {detail}",
            remedy="name the file that scripts/deploy wrote, or ask whoever deployed the market for it",
        )
        self.path, self.detail = path, detail


class RequestInvalid(ClientError):
    """this cannot be asked for: {detail}"""

    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(f"this cannot be asked for: {detail}", remedy=remedy)
        self.detail = detail


class PolicyMismatch(ClientError):
    """the policy's {field} is {found}, expected {expected}"""

    def __init__(self, field: str, expected: object, found: object) -> None:
        super().__init__(
            f"the policy's {field} is {found}, expected {expected}",
            remedy="correct the draft, and seal again",
        )
        self.field, self.expected, self.found = field, expected, found


class CommitteeMismatch(ClientError):
    """the chain's committee of epoch {epoch} is {expected}, the address book's {found}"""

    def __init__(self, epoch: int, expected: object, found: object) -> None:
        super().__init__(
            f"the chain's committee of epoch {epoch} is {expected}, the address book's {found}",
            remedy="do not deal keys to these nodes; get the address book from its publisher again",
        )
        self.epoch, self.expected, self.found = epoch, expected, found


class JobNotFound(ClientError):
    """no job {job_id} is on this chain"""

    def __init__(self, job_id: object) -> None:
        super().__init__(
            f"no job {job_id} is on this chain",
            remedy="check the id and the chain; a match is seen once its block is in the chain",
        )
        self.job_id = job_id


class JobEndedOtherwise(ClientError):
    """job {job_id} ended as {status}: {reason}"""

    def __init__(self, job_id: object, status: str, reason: str, remedy: str) -> None:
        super().__init__(f"job {job_id} ended as {status}: {reason}", remedy=remedy)
        self.job_id, self.status, self.reason = job_id, status, reason


class WaitedTooLong(ClientError):
    """{what} did not happen within {seconds} seconds: {detail}"""

    def __init__(self, what: str, seconds: float, detail: str) -> None:
        super().__init__(
            f"{what} did not happen within {seconds:g} seconds: {detail}",
            remedy="wait on; ask for the job's status to see whose turn it is",
        )
        self.what, self.seconds, self.detail = what, seconds, detail


class ProofInvalid(ClientError):
    """the proof bundle is not one: {detail}"""

    def __init__(self, detail: str) -> None:
        super().__init__(f"the proof bundle is not one: {detail}", remedy="fetch it again from whoever made it")
        self.detail = detail
