"""The root of every error that Sealmarket raises on purpose.

    SealmarketError
    └── MalformedDocument      bytes that are not the shape they claim to be
        └── NotCanonical       the right content, but not in its one canonical spelling

Each package roots its own branch here. An error says what was expected, what was found, and what to do.
"""


class SealmarketError(Exception):
    """Something was refused or could not be done; the message says why and what to do next."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} ({self.remedy})" if self.remedy else self.message


class MalformedDocument(SealmarketError):
    """A document is not of the shape that it claims to be."""


class NotCanonical(MalformedDocument):
    """A document is not written in its one canonical spelling (RFC 8785)."""
