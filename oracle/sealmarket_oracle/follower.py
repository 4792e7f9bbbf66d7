"""Follows the chain at final blocks and keeps what it told in the journal, cursor and content in one transaction.

Final blocks do not change. When one did, this chain node lies or the chain was started anew, and the follower stops the
node with :class:`ChainRewritten` rather than decide on two histories at once.
"""

from __future__ import annotations

import logging

from sealmarket.chain.errors import NodeDistrusted
from sealmarket.chain.events import (
    AssetPublished,
    ChainEvent,
    JobDecided,
    JobEnded,
    JobFailed,
    JobMatched,
    JobQuoted,
    JobSettled,
    JobStopped,
    UnreadableLog,
)
from sealmarket.chain.interface import ChainReader
from sealmarket.chain.model import Block, EventRef
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_oracle.errors import ChainRewritten
from sealmarket_oracle.gate.inputs import Moment
from sealmarket_oracle.journal import Journal

_log = logging.getLogger("sealmarket.oracle")

SPAN = 1000
"""Blocks that are read and written down at once."""


class Follower:
    """Reads the market's events up to the newest final block."""

    def __init__(self, chain: ChainReader, journal: Journal) -> None:
        self._chain = chain
        self._journal = journal
        self._timestamps: dict[Bytes32, int] = {}

    def advance(self) -> Block:
        """Read everything up to the newest final block; returns that block.

        Raises:
            ChainUnavailable, NodeDistrusted: try again later; nothing was skipped.
            ChainRewritten: a block that was final is another one now.
        """
        final = self._chain.final()
        number, known = self._journal.cursor() or (self._chain.book.deployed_at - 1, None)
        if final.number < number:
            raise NodeDistrusted("final block", f"{number} or later", final.number)
        if known is not None:
            found = final.hash if final.number == number else self._chain.block(number).hash
            if found != known:
                raise ChainRewritten(number, known, found)
        for first in range(number + 1, final.number + 1, SPAN):
            last = min(first + SPAN - 1, final.number)
            self._read(first, last, final)
        return final

    def _read(self, first: int, last: int, final: Block) -> None:
        events = self._chain.events(first, last)
        told = [(event, self._moment(event.at)) for event in events]
        end = final if last == final.number else self._chain.block(last)
        with self._journal.writing():
            for event, moment in told:
                self._keep(event, moment)
            self._journal.advance(last, end.hash)
        self._timestamps.clear()

    def _moment(self, at: EventRef) -> Moment:
        if at.block_hash not in self._timestamps:
            block = self._chain.block(at.block_number)
            if block.hash != at.block_hash:
                raise ChainRewritten(at.block_number, at.block_hash, block.hash)
            self._timestamps[at.block_hash] = block.timestamp
        return Moment(number=at.block_number, hash=at.block_hash, timestamp=self._timestamps[at.block_hash])

    def _keep(self, event: ChainEvent, moment: Moment) -> None:
        match event:
            case AssetPublished():
                self._journal.add_seal(event.asset_id, event.version, event.seal)
            case JobMatched():
                self._journal.add_job(event.job_id, event.spec, moment)
            case JobQuoted():
                self._keep_quote(event, moment)
            case JobDecided():
                self._journal.add_quorum(event.job_id, event.core)
            case JobStopped() | JobSettled() | JobFailed() | JobEnded():
                self._journal.end_job(event.job_id)
            case UnreadableLog():
                self._keep_unreadable(event)
            case _:
                pass  # terms and revocations are read from the state at a block, never from events

    def _keep_quote(self, event: JobQuoted, moment: Moment) -> None:
        record = self._journal.job(event.job_id)
        if record is None and self._journal.unreadable(event.job_id) is not None:
            return  # its match does not read, so this node has no part in it
        if record is None:
            raise NodeDistrusted(f"history of job {event.job_id}", "a match before the quote", "a quote alone")
        decide_by = event.deadline or moment.timestamp + record.spec.decide_window
        self._journal.add_quote(event.job_id, event.evidence_hash, moment, decide_by)

    def _keep_unreadable(self, event: UnreadableLog) -> None:
        why = f"{event.name} in block {event.at.block_number} does not read: {event.reason}"
        _log.warning("%s is left alone: %s", event.subject or "one log", why)
        if event.subject is not None:
            self._journal.add_unreadable(event.subject, why)
