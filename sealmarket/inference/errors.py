"""What a user's side of a service refuses.

    SealmarketError
    └── InferenceError
        ├── ServiceNotProven
        ├── HostRefused
        ├── RequestRefused
        ├── AnswerAborted
        ├── ReceiptRefused
        ├── AllGrantsBusy
        ├── ServicesDiffer
        └── BudgetSpent

Frames that do not belong are refused by :mod:`sealmarket_enclave.sealed.session`. No message holds a prompt, an answer,
a secret or a key.
"""

from __future__ import annotations

from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.session import SessionCode


class InferenceError(SealmarketError):
    """A service was not asked, or gave no answer that can be taken."""


class ServiceNotProven(InferenceError):
    """A check of the service failed, or could not be made: nothing is asked of it."""

    def __init__(self, what: str, expected: object, found: object, remedy: str = "") -> None:
        super().__init__(
            f"the service is not proven: {what}: expected {expected}, found {found}",
            remedy=remedy or "ask nothing of this service; name another, or ask its provider",
        )
        self.what, self.expected, self.found = what, expected, found


class HostRefused(InferenceError):
    """The provider's host refused a sealed request before any enclave saw it, as it says."""

    def __init__(self, status: int, detail: str, retry_after: int | None = None) -> None:
        super().__init__(
            f"the provider's host answers {status}: {detail[:200]}",
            remedy="try again later, or ask the provider; nothing was charged as far as the host says",
        )
        self.status, self.detail, self.retry_after = status, detail, retry_after


class RequestRefused(InferenceError):
    """The enclave refused a request. Nothing was charged."""

    def __init__(self, code: SessionCode, message: str, remedy: str) -> None:
        why = message.removeprefix(f"{code.value}: ")
        super().__init__(f"the service refuses ({code.value}): {why}", remedy=remedy)
        self.code = code


class AnswerAborted(InferenceError):
    """The enclave broke an answer off. What was released is charged, and its receipt is kept."""

    def __init__(self, code: SessionCode) -> None:
        super().__init__(
            f"the service broke its answer off ({code.value})",
            remedy="ask for less, or ask again; the receipt says what was charged",
        )
        self.code = code


class ReceiptRefused(InferenceError):
    """A receipt that does not stand for the answer that came with it, or that the accepted enclave did not sign."""

    def __init__(self, field: str, expected: object, found: object) -> None:
        super().__init__(
            f"the receipt's {field} is {found}, expected {expected}",
            remedy="do not use this answer, and keep the receipt's file as proof; the grant is used no further",
        )
        self.field, self.expected, self.found = field, expected, found


class AllGrantsBusy(InferenceError):
    """Every grant has a request under way."""

    def __init__(self, grants: int) -> None:
        super().__init__(
            f"all {grants} grants have a request under way",
            remedy="try again when an answer has ended, or start with more grants (--grants)",
        )


class BudgetSpent(InferenceError):
    """The user's own limit for this service is reached: no further grant is signed."""

    def __init__(self, budget: int, left: int, needed: int) -> None:
        super().__init__(
            f"the budget of {budget} units has {left} left, and this request may cost {needed}",
            remedy="ask for less, or start with a larger --budget",
        )


class ServicesDiffer(InferenceError):
    """Services of several models behind one proxy."""

    def __init__(self, first: object, other: object) -> None:
        super().__init__(
            f"service {other} has another workload or other weights than {first}, expected the same of all",
            remedy="start a proxy of its own for each model",
        )
