"""Which committee a key is dealt to: the address book's, held against what the chain stores."""

from __future__ import annotations

from sealmarket.chain import ChainReader
from sealmarket.chain.committees import members_hash
from sealmarket.client.errors import CommitteeEnding, CommitteeMismatch
from sealmarket.protocol.book import Committee


def current_committee(chain: ChainReader, epoch: int | None = None) -> Committee:
    """The newest committee of the address book, or the one of ``epoch``, if the chain knows exactly these members.

    An address book may come from anywhere. A member exchanged in it would be sent a share of every key, so nothing is
    dealt to a list that does not hash to the chain's. Nor is anything dealt to a committee whose end is announced. No
    other committee takes its place: an older one is dealt to only where its epoch is named. Members and ends are read
    at a final block, proven as far as the reader demands it; an end that is announced since counts too.

    Raises:
        CommitteeMismatch: the chain stores other members for that epoch, or none, or the book has no such epoch.
        CommitteeEnding: the end of that committee's epoch is announced.
    """
    known = {committee.epoch: committee for committee in chain.book.committees}
    chosen = max(known, default=0) if epoch is None else epoch
    if (committee := known.get(chosen)) is None:
        raise CommitteeMismatch(chosen, "that of some epoch", "empty" if not known else f"of epochs {sorted(known)}")
    view = chain.trusted(chain.final())
    if ends_at := view.epoch_end(chosen) or chain.at(chain.head()).epoch_end(chosen):
        raise CommitteeEnding(chosen, ends_at, _instead(set(known) - {chosen}))
    stored, ours = view.committee_hash(chosen), members_hash(committee, view.removed_members(chosen))
    if stored != ours:
        raise CommitteeMismatch(chosen, stored, ours)
    return committee


def _instead(others: set[int]) -> str:
    remedy = "get the address book from its publisher again: it names the next committee once there is one"
    if others:
        named = ", ".join(map(str, sorted(others)))
        remedy += f"; or name another of its epochs ({named}) with --epoch, if you trust its nodes"
    return remedy
