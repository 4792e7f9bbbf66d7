"""``sealmarket oracle end-epoch``: the committee's owner says on chain when an epoch ends."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sealmarket.chain import Chain, Sender
from sealmarket.client.written import moment_of
from sealmarket.protocol.book import AddressBook
from sealmarket_oracle import keys


def end_epoch(
    book: AddressBook,
    rpc: str,
    key: Path,
    epoch: int,
    at: str,
    agreed: Callable[[int], None],
    *,
    development: bool = False,
) -> int:
    """Announce the end of an epoch, and return its last second. ``agreed`` is asked with it before anything is sent.

    Raises:
        KeyFileRefused: the key file is absent, open to others, or holds no key.
        MalformedDocument: ``at`` is no moment.
        Reverted: another account owns the committee, the end is announced already, or too near or too far.
        ChainError: the chain cannot be reached.
    """
    with closing(Chain(book, rpc)) as chain:
        sender = Sender(chain, keys.account(key), development=development)
        ends_at = moment_of(at, chain.head().timestamp)
        agreed(ends_at)
        sender.send(chain.committee_contract.end(epoch, ends_at))
        return ends_at
