"""The versions that an owner has published, and what each job paid for them: all of it read from the chain.

What a job paid follows from its events alone: a settlement pays each owner its price; another end pays what its row of
the fault table says, divided as the market divides it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from sealmarket.chain import AssetState, Block, Reverted
from sealmarket.chain.events import ChainEvent, JobEnded, JobMatched, JobSettled, VersionPublished
from sealmarket.chain.interface import ChainReader
from sealmarket.client.errors import UnknownAsset
from sealmarket.protocol.owner_shares import owner_shares
from sealmarket_enclave.protocol.codec import Address, Bytes32, Wei
from sealmarket_enclave.protocol.job import AssetUse
from sealmarket_enclave.protocol.numbers import AssetId

T = TypeVar("T")
Progress = Callable[[int, int], None]
"""Receives how many of how many jobs have been read."""


class HistoryReader(ChainReader, Protocol):
    """A chain whose events can be found by owner, asset and job."""

    def about_job(self, job_id: Bytes32, last: Block, first: int | None = None) -> list[ChainEvent]:
        """All events of one job up to a block."""

    def about_asset(self, asset_id: Bytes32, last: Block) -> list[ChainEvent]:
        """All events of one asset up to a block."""

    def published_by(self, owner: Address, last: Block) -> list[VersionPublished]:
        """What one owner has published up to a block."""

    def matches(self, first: int, last: Block) -> list[JobMatched]:
        """All jobs that were matched from block ``first`` on."""


@dataclass(frozen=True, slots=True)
class OwnedVersion:
    """One version that an owner has published, as it stands at a block."""

    published: VersionPublished
    state: AssetState

    def standing(self, now: int) -> str:
        """Why it can be matched no more, or ``on sale``."""
        if self.state.revoked:
            return "revoked"
        if self.state.terms.expiry <= now:
            return "expired"
        if self.uses_left <= 0:
            return "used up"
        return "suspended" if self.state.suspended else "on sale"

    @property
    def uses_left(self) -> int:
        """Uses that no job has taken."""
        return max(0, self.state.terms.max_uses - self.state.uses_taken)


@dataclass(frozen=True, slots=True)
class UsedAsset:
    """One use of an owner's asset by a job. ``paid_by`` is the event that credited ``paid``; None so far."""

    matched: JobMatched
    place: int
    history: tuple[ChainEvent, ...]
    paid: Wei
    paid_by: ChainEvent | None

    @property
    def use(self) -> AssetUse:
        """The asset as the job names it."""
        return self.matched.spec.assets[self.place]


def asset_state(chain: ChainReader, block: Block, asset_id: AssetId, version: int) -> AssetState:
    """One version of an asset at a block. Raises :class:`UnknownAsset` for one that was never published."""
    try:
        return chain.at(block).asset(asset_id, version)
    except Reverted as error:
        if error.name != "UnknownVersion":
            raise
        raise UnknownAsset(asset_id, version, chain.book.market.checksum) from error


def owned_versions(chain: HistoryReader, owner: Address, at: Block) -> list[OwnedVersion]:
    """All versions of all assets that an account has published, the oldest first."""
    view = chain.at(at)
    return [OwnedVersion(event, view.asset(event.asset_id, event.version)) for event in chain.published_by(owner, at)]


def uses_of(
    chain: HistoryReader, owner: Address, at: Block, progress: Progress = lambda _done, _all: None
) -> Iterator[UsedAsset]:
    """Every use of an owner's assets up to a block, in the order of the matches."""
    published = chain.published_by(owner, at)
    if not published:
        return
    first = min(event.at.block_number for event in published)
    jobs = [job for job in chain.matches(first, at) if any(use.owner == owner for use in job.spec.assets)]
    for done, matched in enumerate(jobs, 1):
        history = tuple(chain.about_job(matched.job_id, at, matched.at.block_number))
        progress(done, len(jobs))
        for place, use in enumerate(matched.spec.assets):
            if use.owner == owner:
                yield UsedAsset(matched, place, history, *paid_for(matched, place, history))


def paid_for(matched: JobMatched, place: int, history: tuple[ChainEvent, ...]) -> tuple[Wei, ChainEvent | None]:
    """What a job has paid for the asset at one place, exactly, and by which event."""
    for event in history:
        if isinstance(event, JobSettled):
            return matched.spec.assets[place].price, event
        if isinstance(event, JobEnded) and place in event.payout.owners_paid:
            shares = owner_shares(matched.spec, event.payout.owners_paid, int(event.payout.owners_total))
            return shares[place], event
    return Wei(0), None
