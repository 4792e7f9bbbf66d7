"""Whether the provider's money covers what a report of missing shares sets aside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sealmarket.chain.view import View
from sealmarket.protocol.book import AddressBook
from sealmarket_enclave.protocol.codec import Address


def shortages(view: View, book: AddressBook, provider: Address, tokens: Iterable[Address]) -> Iterator[str]:
    """What to deposit, a sentence for each token in which too little is free or staked for the largest committee."""
    members = max((len(committee.members) for committee in book.committees), default=0)
    for token in tokens:
        fee = view.signature_fee(token)
        needed, account = members * int(fee or 0), view.account(token, provider)
        if (held := int(account.free) + int(account.staked)) < needed:
            yield (
                f"{held} of token {token} is free or staked beside the running jobs; a job whose shares do not come "
                f"takes {needed} for the nodes, and costs its stake without: deposit the difference"
            )
