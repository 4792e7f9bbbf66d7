"""The requests that an account has signed on a market, a file each: what may still be matched, and can be voided.

The files hold what the book has as well, and no secret.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from sealmarket.chain import Chain
from sealmarket.client.pending import Pending, PendingRequest
from sealmarket.client.requests import RequestHandle
from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import PostedRequest
from sealmarket_enclave.protocol.codec import Address, Bytes32

State = Literal["matched", "voided", "expired", "open"]


class SentRequests:
    """The requests of one account on one market."""

    def __init__(self, home: Path, book: AddressBook, account: Address) -> None:
        self._folder = home / "requests" / f"{book.chain_id}-{book.market}-{account}"

    def keep(self, handle: RequestHandle) -> None:
        """Note a request, on disk when this returns."""
        posted = PostedRequest(request=handle.signed, parameters=handle.parameters)
        self._file(handle.request_hash).write(PendingRequest(posted=posted, since=handle.since))

    def find(self, request_hash: Bytes32) -> RequestHandle | None:
        """One request; None if it was not signed here."""
        noted = self._file(request_hash).read()
        return None if noted is None else RequestHandle.noted(noted)

    def __iter__(self) -> Iterator[RequestHandle]:
        """All of them, the latest first."""
        paths = self._folder.glob("0x*.json") if self._folder.is_dir() else ()
        for path in sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True):
            if (noted := Pending(path, PendingRequest).read()) is not None:
                yield RequestHandle.noted(noted)

    def _file(self, request_hash: Bytes32) -> Pending[PendingRequest]:
        return Pending(self._folder / f"{request_hash}.json", PendingRequest)


def state_of(chain: Chain, handle: RequestHandle) -> State:
    """What became of a request, at the newest block. An open one may be matched, and charges then."""
    head = chain.head()
    status = chain.at(head).job(handle.request_hash).status
    if status is Status.CANCELLED:
        return "voided"
    if status is not Status.NONE:
        return "matched"
    return "expired" if handle.request.expiry <= head.timestamp else "open"
