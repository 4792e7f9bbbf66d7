"""Which committee a key is dealt to: the address book's, held against what the chain stores."""

from __future__ import annotations

from sealmarket.chain import ChainReader
from sealmarket.chain.contracts import members_hash
from sealmarket.client.errors import CommitteeMismatch
from sealmarket.protocol.book import Committee


def current_committee(chain: ChainReader) -> Committee:
    """The newest committee of the address book, if the chain knows exactly these members.

    An address book may come from anywhere. A member exchanged in it would be sent a share of every key, so nothing is
    dealt to a list that does not hash to the chain's.

    Raises:
        CommitteeMismatch: the chain stores other members for that epoch, or none.
    """
    committee = max(chain.book.committees, key=lambda known: known.epoch, default=None)
    if committee is None:
        raise CommitteeMismatch(0, "that of some epoch", "empty")
    view = chain.at(chain.final())
    stored, ours = view.committee_hash(committee.epoch), members_hash(committee, view.removed_members(committee.epoch))
    if stored != ours:
        raise CommitteeMismatch(committee.epoch, stored, ours)
    return committee
