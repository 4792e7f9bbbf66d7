"""What was signed and may be under way: written down before it leaves, so that a repeated call pays nothing twice.

One file for each kind, account and market. It goes when the outcome is known; it holds no secret.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Generic, TypeVar

from sealmarket.client.errors import PendingElsewhere
from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.wire import PostedRequest
from sealmarket_enclave.protocol.codec import Address, Shape, decode
from sealmarket_enclave.protocol.errors import MalformedDocument

T = TypeVar("T", bound=Shape)


class PendingRequest(Shape, frozen=True, kw_only=True):
    """A signed request. ``since``: its job is matched after this block."""

    posted: PostedRequest
    since: int


class Pending(Generic[T]):
    """One such file; ``path`` may not exist."""

    def __init__(self, path: Path, kind: type[T]) -> None:
        self.path, self._kind = path, kind

    def read(self) -> T | None:
        """What is under way, or None.

        Raises:
            PendingElsewhere: the file cannot be understood, so its state is unknown.
        """
        try:
            return decode(self._kind, self.path.read_bytes())
        except FileNotFoundError:
            return None
        except MalformedDocument as error:
            raise PendingElsewhere(self.path, error.message) from error

    def write(self, value: T) -> None:
        """Note it, on disk when this returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = self.path.with_suffix(".partial")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(value.canonical())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path)

    def clear(self) -> None:
        """Its outcome is known."""
        self.path.unlink(missing_ok=True)


def pending_request(folder: Path, book: AddressBook, account: Address) -> Pending[PendingRequest]:
    """The request of an account on a market that may be under way."""
    return Pending(folder / f"request-{book.chain_id}-{book.market}-{account}.json", PendingRequest)
