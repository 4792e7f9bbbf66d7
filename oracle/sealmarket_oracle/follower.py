"""Records in the journal what final blocks say about assets and jobs, and the cursor with it.

Final blocks do not change. When one does, this chain node lies or the chain was started anew, and the node stops with
:class:`ChainRewritten` rather than decide on two histories at once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sealmarket.chain.contracts import SettledResult
from sealmarket.chain.errors import NodeDistrusted
from sealmarket.chain.events import (
    ChainEvent,
    ChallengeAnswered,
    JobChallenged,
    JobDecided,
    JobEnded,
    JobFailed,
    JobMatched,
    JobQuoted,
    JobSettled,
    UnreadableLog,
    VersionPublished,
)
from sealmarket.chain.follow import Cursor, EventRange, Rewound
from sealmarket.chain.model import Block
from sealmarket_oracle.errors import ChainRewritten, JournalLost
from sealmarket_oracle.gate.inputs import EventBlock
from sealmarket_oracle.journal import Journal

_log = logging.getLogger("sealmarket.oracle")


class JournalReader:
    """Reads events for a node's journal: an :class:`~sealmarket.chain.follow.EventReader`."""

    def __init__(self, journal: Journal, place: int | None = None) -> None:
        """``place``: the node's own in the committee of its epoch, whose signatures its journal must know."""
        self._journal, self._place = journal, place

    def cursor(self) -> Cursor | None:
        """The last final block that is in the journal."""
        return self._journal.cursor()

    def store(self, read: EventRange) -> None:
        """Record events and cursor in one transaction. What a power cut takes of it is read from the chain again."""
        with self._journal.writing(durable=False):
            for event in read.events:
                self._keep(event, _event_block(read.block_of(event)))
            self._require_known([event for event in read.events if isinstance(event, JobDecided)])
            self._journal.advance(read.end)

    def earlier(self) -> tuple[Cursor, ...]:
        """None: a node does not rewind."""
        return ()

    def rewind(self, rewound: Rewound) -> None:
        """Stop: decisions that this node signed rest on the blocks that are gone.

        Raises:
            ChainRewritten: always.
        """
        raise ChainRewritten(rewound.cursor.number, rewound.cursor.hash, rewound.found)

    def _keep(self, event: ChainEvent, block: EventBlock) -> None:
        match event:
            case VersionPublished():
                self._journal.add_seal(event.asset_id, event.version, event.seal)
            case JobMatched():
                self._journal.add_job(event.job_id, event.spec, block)
            case JobQuoted():
                self._keep_quote(event, block)
            case JobDecided():
                self._journal.add_quorum(event.job_id, event.core, block)
            case JobSettled():
                self._journal.end_job(event.job_id)
                result = SettledResult(event.result_hash, event.receipt_hash, event.units)
                self._journal.add_result(event.job_id, result)
            case JobFailed() | JobEnded():
                self._journal.end_job(event.job_id)
            case JobChallenged():
                self._journal.add_challenge(event.job_id, event.challenger, block.timestamp, event.deadline)
            case ChallengeAnswered():
                self._journal.close_challenge(event.job_id)
            case UnreadableLog():
                self._keep_unreadable(event)
            case _:
                pass  # terms and revocations are read from the state at a block, never from events

    def _require_known(self, events: Sequence[JobDecided]) -> None:
        """A decision that took effect with this node's signature stands in its journal, or this is another journal.

        Raises:
            JournalLost: it does not.
        """
        epoch = self._journal.identity.epoch
        signed = [event for event in events if self._place in event.signers]
        known = self._journal.decided([event.job_id for event in signed])
        for event in signed:
            if (event.job_id, event.core.evidence_hash, epoch) in known:
                continue
            record = self._journal.job(event.job_id)
            if record is None or record.spec.epoch != epoch:
                continue  # what was signed under other keys is in another journal
            raise JournalLost(
                f"it has no decision on job {event.job_id}",
                f"the one that block {event.at.block_number} has with this node's signature",
            )

    def _keep_quote(self, event: JobQuoted, block: EventBlock) -> None:
        record = self._journal.job(event.job_id)
        if record is None and self._journal.unreadable(event.job_id) is not None:
            return  # its match does not read, so this node has no part in it
        if record is None:
            raise NodeDistrusted(f"history of job {event.job_id}", "a match before the quote", "a quote alone")
        decide_by = event.deadline or block.timestamp + record.spec.decide_window
        self._journal.add_quote(event.job_id, event.evidence_hash, block, decide_by)

    def _keep_unreadable(self, event: UnreadableLog) -> None:
        why = f"{event.name} in block {event.at.block_number} does not read: {event.reason}"
        _log.warning("%s is left alone: %s", event.subject or "one log", why)
        if event.subject is not None:
            self._journal.add_unreadable(event.subject, why)


def _event_block(block: Block) -> EventBlock:
    return EventBlock(number=block.number, hash=block.hash, timestamp=block.timestamp)
