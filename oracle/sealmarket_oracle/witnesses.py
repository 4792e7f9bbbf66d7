"""Whether a node may sign about a job, by what its peers hold of its journal. Pure.

A node that starts cannot tell by itself whether its journal is the one that it signed from: a disk may have been put
back as it was. Peers hold the furthest tail that each node announced to them, under that node's signature.

1. A tail that a peer holds and that is not a beginning of this journal ends all signing (``JournalLost``).
2. What a promise (release or stop) could contradict was signed after the quorum accepted. A job that was accepted after
   the node started is free of that. For an earlier one at least ``n - t + 1`` peers MUST have shown what they hold.
3. A promise is served once ``t - 1`` peers hold a tail with it. So each promise that was ever seen is known to one of
   any ``n - t + 1`` peers. It delays no job: without ``t - 1`` peers no ``t`` nodes release.
4. What a decision could contradict was signed after the quote. For a job that was quoted before the node started one
   peer MUST have shown what it holds: two decisions of one node are proven on chain, and open nothing by themselves.

Rules 2 to 4 take peers at their word: a peer that keeps back a tail, at the very time at which this node's disk is put
back, is a corrupt node beside one that has failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sealmarket.protocol.book import Committee


class Witnesses(Protocol):
    """What the peers hold of this node's journal."""

    def require_sound(self) -> None:
        """Raise :class:`JournalLost` once a peer has shown a tail that is not of this journal."""

    def holders(self, size: int) -> int:
        """How many peers hold a tail of at least this size."""

    @property
    def confirmed(self) -> int:
        """How many peers have shown, since this process started, that what they hold is of this journal."""


@dataclass(frozen=True, slots=True)
class Start:
    """When a process began to follow the chain: the newest block then, and its own clock."""

    number: int
    time: int

    def before(self, number: int, timestamp: int) -> bool:
        """Whether a block is certainly newer than anything that an earlier process can have acted on."""
        return number > self.number and timestamp >= self.time


def confirmations_for_promise(committee: Committee) -> int:
    """Rule 2."""
    return len(committee.members) - committee.threshold + 1


def holders_for_serving(committee: Committee) -> int:
    """Rule 3."""
    return committee.threshold - 1


CONFIRMATIONS_FOR_DECISION = 1
"""Rule 4."""
