"""Whether the provider's free balance covers what a report of missing shares sets aside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sealmarket.chain.view import View
from sealmarket.protocol.book import AddressBook
from sealmarket_enclave.protocol.codec import Address


def shortages(view: View, book: AddressBook, provider: Address, tokens: Iterable[Address]) -> Iterator[str]:
    """What to deposit, a sentence for each token whose free balance is too low for the largest committee."""
    members = max((len(committee.members) for committee in book.committees), default=0)
    for token in tokens:
        fee = view.signature_fee(token)
        needed, free = members * int(fee or 0), int(view.account(token, provider).free)
        if free < needed:
            yield (
                f"the free balance in token {token} is {free}; a job whose shares do not come takes {needed} for the "
                "nodes, and costs the stake without: deposit the difference"
            )
