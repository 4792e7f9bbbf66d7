"""The committee of a job, held against the chain: an address book is a file, and files are wrong sometimes."""

from __future__ import annotations

from sealmarket.chain import ChainReader
from sealmarket.chain.committees import members_hash
from sealmarket.protocol.book import Committee
from sealmarket_worker.errors import InputMissing


def committee_of(chain: ChainReader, epoch: int) -> Committee:
    """The committee of an epoch. Raises :class:`InputMissing` when the book has none, or another than the chain."""
    found = next((committee for committee in chain.book.committees if committee.epoch == epoch), None)
    if found is None:
        raise InputMissing(f"the committee of epoch {epoch}", "the address book does not name it")
    view = chain.at(chain.final())
    if members_hash(found, view.removed_members(epoch)) != view.committee_hash(epoch):
        raise InputMissing(f"the committee of epoch {epoch}", "the address book names others than the chain")
    return found
