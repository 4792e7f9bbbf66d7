"""What the backend refuses, and with which problem one handler answers (:mod:`sealmarket.protocol.problems`).

BackendError
├── NotFound            nothing is stored under this name
├── Rejected            what was posted does not hold: wrong hash, out of date, used up
│   └── SignatureWrong  neither the account's key nor its contract signed it
├── TooLarge            more bytes than this kind of thing may have
├── OtherOffset         an upload goes on at another byte
├── TooMany             more, or more often, than one peer may ask for
├── StoreFull           the store, or this peer's part of it, has no room
├── CursorInvalid       a cursor is none of this list
├── SignInNeeded        what is private to an account is asked for without a session
│   └── SignInRefused   a sign-in is forged, replayed, out of time, or of another server
├── Private             the session is another account's
├── KeyInUse            another request goes under this idempotency key at this moment
├── KeyReused           an idempotency key belongs to another request
├── StorageFailed       the database does not answer, or takes no writes
│   └── DiskFailed      its disk takes no writes
└── Deposed             another process leads this market now
"""

import math
from typing import ClassVar

from sealmarket_enclave.protocol.errors import SealmarketError


class BackendError(SealmarketError):
    """The backend could not do what was asked. ``rule``, ``expected`` and ``found`` are empty where a type's own rule
    says enough."""

    type: ClassVar[str] = "internal"

    def __init__(
        self, message: str, *, remedy: str = "", rule: str = "", expected: object = "", found: object = ""
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.rule, self.expected, self.found = rule, expected, found


class NotFound(BackendError):
    """Nothing is stored under this name."""

    type = "not-found"


class Rejected(BackendError):
    """What was posted does not hold."""

    type = "rejected"


class SignatureWrong(Rejected):
    """Neither the account's key nor its contract signed it."""

    type = "signature-refused"


class TooLarge(BackendError):
    """More bytes than this kind of thing may have."""

    type = "too-large"


class OtherOffset(BackendError):
    """An upload goes on at another byte than the one that was named."""

    type = "offset-differs"


class TooMany(BackendError):
    """More, or more often, than one peer may ask for."""

    type = "too-many"

    def __init__(self, message: str, wait_seconds: float) -> None:
        self.retry_after = max(1, math.ceil(wait_seconds))
        super().__init__(message, remedy=f"try again in {self.retry_after} s")


class StoreFull(BackendError):
    """The store, or this peer's part of it, has no room."""

    type = "store-full"


class CursorInvalid(BackendError):
    """A cursor is none of this list."""

    type = "cursor-invalid"

    def __init__(self, why: str) -> None:
        super().__init__(f"the cursor is none of this list: {why}", remedy="ask for the first page, without a cursor")


class KeyInUse(BackendError):
    """Another request goes under this idempotency key at this moment."""

    type = "key-in-use"
    retry_after = 1

    def __init__(self) -> None:
        super().__init__("a request under this idempotency key is under way", remedy="send it again in 1 s")


class KeyReused(BackendError):
    """An idempotency key belongs to another request."""

    type = "key-reused"

    def __init__(self) -> None:
        super().__init__(
            "another body was posted under this idempotency key",
            remedy="draw a new key for each thing that is posted; send an old one with its own body only",
        )


class SignInNeeded(BackendError):
    """What is private to an account is asked for without a session."""

    type = "sign-in-needed"

    def __init__(self, message: str = "no session: the token is missing, unknown, ended or out of time") -> None:
        super().__init__(message, remedy="sign in (POST /v1/sign-in), and send the token as Authorization: Bearer")


class SignInRefused(SignInNeeded):
    """A sign-in is forged, replayed, out of time, or of another server."""

    type = "sign-in-refused"

    def __init__(self, rule: str, expected: object, found: object) -> None:
        super().__init__(f"the sign-in does not count: expected {expected}, found {str(found)[:200]}")
        self.rule, self.expected, self.found = rule, expected, str(found)[:200]
        self.remedy = "ask for a new nonce, and sign a new message for this server and chain"


class Private(BackendError):
    """The session is another account's."""

    type = "private"

    def __init__(self, owner: str, found: str) -> None:
        super().__init__(
            f"this is private to {owner}, and the session is of {found}",
            remedy="sign in with the account that it belongs to",
            expected=owner,
            found=found,
        )


class StorageFailed(BackendError):
    """The database does not answer, or takes no writes. It concerns everything that the backend does."""

    type = "storage-failed"
    retry_after = 5

    def __init__(self, detail: str) -> None:
        super().__init__(
            "the database does not take this just now", remedy="try again later; the operator's log says why"
        )
        self.detail = detail
        """For the operator alone."""


class DiskFailed(StorageFailed):
    """The database's disk takes no writes; nothing of it was kept."""

    type = "disk-failed"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.message = "the disk of the database takes no writes"
        self.remedy = "nothing was kept of it; try again when the operator has made room"


class Deposed(BackendError):
    """Another process leads this market now; this one goes on as a replica."""

    type = "deposed"
    retry_after = 1

    def __init__(self, mine: int, found: int) -> None:
        super().__init__(
            f"this process led in term {mine}, and term {found} is under way", remedy="nothing: the other one goes on"
        )
