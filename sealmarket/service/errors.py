"""What can go wrong with a service of the market: the store, the market's API, an oracle node.

    SealmarketError
    └── ServiceError
        ├── ServiceUnavailable
        ├── ItemNotFound
        ├── ServiceRefused
        │   └── AnswerTooLong
        └── ContentMismatch

A reader that may ask again later waits on all but :class:`ServiceRefused`.
"""

from __future__ import annotations

from sealmarket_enclave.protocol.errors import SealmarketError


class ServiceError(SealmarketError):
    """A service did not do what was asked, or its answer cannot be used."""


class ServiceUnavailable(ServiceError):
    """The service does not answer, or asks to be called later."""

    def __init__(self, service: str, url: str, detail: str) -> None:
        super().__init__(
            f"the {service} at {url} does not answer: {detail}",
            remedy="check the URL and that the server runs; nothing is lost by trying again",
        )
        self.service, self.url, self.detail = service, url, detail


class ItemNotFound(ServiceError):
    """The service answers, and has nothing under that name."""

    def __init__(self, service: str, kind: str, name: str) -> None:
        super().__init__(f"the {service} has no {kind} {name}", remedy="ask its author to upload it again")
        self.service, self.kind, self.name = service, kind, name


class ServiceRefused(ServiceError):
    """The service refuses the request, or its answer has another shape than this release reads."""

    def __init__(self, service: str, what: str, detail: str, remedy: str) -> None:
        super().__init__(f"the {service} refused {what}: {detail}", remedy=remedy or "correct it and send it again")
        self.service, self.what, self.detail = service, what, detail


class AnswerTooLong(ServiceRefused):
    """The answer has more bytes than the caller takes."""

    def __init__(self, service: str, what: str, limit: int) -> None:
        super().__init__(service, what, f"the answer is longer than {limit} bytes", "ask another server")
        self.limit = limit


class ContentMismatch(ServiceError):
    """The service answers with content that its name does not commit to."""

    def __init__(self, service: str, kind: str, expected: object, found: object) -> None:
        super().__init__(
            f"the {service}'s {kind} {expected} is {found}",
            remedy=f"use another {service}; what this one holds under that name is altered or damaged",
        )
        self.service, self.kind, self.expected, self.found = service, kind, expected, found
