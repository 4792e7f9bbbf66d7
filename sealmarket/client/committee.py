"""Which committee a key is dealt to: the address book's, held against what the chain stores."""

from __future__ import annotations

from sealmarket.chain import ChainReader
from sealmarket.chain.contracts import members_hash
from sealmarket.client.errors import CommitteeEnding, CommitteeMismatch
from sealmarket.protocol.book import Committee


def current_committee(chain: ChainReader) -> Committee:
    """The newest committee of the address book that goes on, if the chain knows exactly these members.

    An address book may come from anywhere. A member exchanged in it would be sent a share of every key, so nothing is
    dealt to a list that does not hash to the chain's. Nor is anything dealt to a committee whose end is announced.

    Raises:
        CommitteeMismatch: the chain stores other members for that epoch, or none.
        CommitteeEnding: the end of each committee's epoch is announced.
    """
    newest_first = sorted(chain.book.committees, key=lambda known: known.epoch, reverse=True)
    if not newest_first:
        raise CommitteeMismatch(0, "that of some epoch", "empty")
    view, head = chain.at(chain.final()), chain.at(chain.head())
    ends = {known.epoch: head.epoch_end(known.epoch) for known in newest_first}
    committee = next((known for known in newest_first if not ends[known.epoch]), None)
    if committee is None:
        newest = newest_first[0].epoch
        remedy = "get the address book from its publisher again: it names the next committee once there is one"
        raise CommitteeEnding(newest, ends[newest], remedy)
    stored, ours = view.committee_hash(committee.epoch), members_hash(committee, view.removed_members(committee.epoch))
    if stored != ours:
        raise CommitteeMismatch(committee.epoch, stored, ours)
    return committee
