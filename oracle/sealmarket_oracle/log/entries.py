"""What stands in the audit log: one entry for each thing that a node decided, promised, or refused to do.

An entry has hashes of what concerns a job, never the thing itself: the log may be shown to an auditor.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from sealmarket.protocol.wire import LogHead, LogSize
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32, HexBytes, Shape
from sealmarket_enclave.protocol.eip712 import TypedShape
from sealmarket_enclave.protocol.numbers import U32, JobId, Timestamp
from sealmarket_oracle.log.tree import Frontier, leaf_hash

MOST_ENTRIES_SHOWN = 500
MOST_LEAVES_SHOWN = 4096
_NO_JOB = JobId(ZERO_HASH)


class EntryKind(StrEnum):
    """What an entry records."""

    START = "start"
    DECISION = "decision"
    RELEASE = "release"
    STOP = "stop"
    DEFERRED = "deferred"
    ANSWER = "answer"
    ADVISORY = "advisory"


class LogEntry(Shape, frozen=True, kw_only=True):
    """One leaf. ``inputs``: the evidence hash on chain; of an answer to a challenge, the result hash.

    ``statement``: Keccak-256 of what was signed or sent. ``rules``: Keccak-256 of what the rules said: the decision's
    detail, the findings of a stop, the reason to wait. ``block`` is the final block that the node stood on, ``at`` its
    own clock.
    """

    version: Literal["sealmarket/audit-entry/1"] = "sealmarket/audit-entry/1"
    sequence: int
    kind: EntryKind
    job_id: JobId
    inputs: Bytes32
    statement: Bytes32
    rules: Bytes32
    reasons: Annotated[tuple[int, ...], Meta(max_length=64)] = ()
    block_number: int
    block_hash: Bytes32
    at: Timestamp

    def leaf(self) -> Bytes32:
        """Its hash in the tree."""
        return leaf_hash(self.canonical())


@dataclass(frozen=True, slots=True)
class NewEntry:
    """All of an entry but its place and its time; ``job_id`` is zero where it is about none.

    ``words`` stay beside the log, for the operator alone.
    """

    kind: EntryKind
    job_id: JobId = _NO_JOB
    _: KW_ONLY
    block: tuple[int, Bytes32]
    inputs: Bytes32 = ZERO_HASH
    statement: Bytes32 = ZERO_HASH
    rules: Bytes32 = ZERO_HASH
    reasons: tuple[int, ...] = ()
    words: str = ""

    def entered(self, sequence: int, at: int) -> LogEntry:
        """The entry at a place of the log, made at a time."""
        return LogEntry(
            sequence=sequence,
            kind=self.kind,
            job_id=self.job_id,
            inputs=self.inputs,
            statement=self.statement,
            rules=self.rules,
            reasons=self.reasons,
            block_number=self.block[0],
            block_hash=self.block[1],
            at=at,
        )


class JournalTail(TypedShape, frozen=True, kw_only=True):
    """A node's statement of how far its journal reaches. Another statement of the same size is another journal."""

    EIP712: ClassVar[str] = "JournalTail(bytes32 journal,uint32 epoch,uint64 size,bytes32 root)"

    journal: Bytes32
    epoch: U32
    size: LogSize
    root: Bytes32

    @property
    def head(self) -> LogHead:
        """The same, as decisions name it."""
        return LogHead(journal=self.journal, size=self.size, root=self.root)


class SignedTail(Shape, frozen=True, kw_only=True):
    """A tail with its node's signature."""

    tail: JournalTail
    signature: HexBytes


class TailStep(Shape, frozen=True, kw_only=True):
    """A tail, and how it grows out of the one that a peer holds: that tree's perfect subtrees and the leaves since.

    ``peaks`` are the roots of the perfect subtrees of the first ``old`` leaves, left to right.
    """

    tail: SignedTail
    old: LogSize = 0
    peaks: Annotated[tuple[Bytes32, ...], Meta(max_length=64)] = ()
    leaves: Annotated[tuple[Bytes32, ...], Meta(max_length=MOST_LEAVES_SHOWN)] = ()

    def grows_from(self, held: JournalTail) -> bool:
        """Whether the tail is the held one with these leaves after it."""
        base = Frontier(self.old, self.peaks)
        if held.journal != self.tail.tail.journal or (self.old, base.root) != (held.size, held.root):
            return False
        if len(self.peaks) != self.old.bit_count():
            return False
        grown = base.append(*self.leaves)
        return (grown.size, grown.root) == (self.tail.tail.size, self.tail.tail.root)


class HeldTail(Shape, frozen=True, kw_only=True):
    """What a peer held of a node before the tail that it was just shown; None where it held nothing."""

    held: SignedTail | None


class LogPart(Shape, frozen=True, kw_only=True):
    """A part of a node's log, for auditors: entries from a place on, and the tail that they lead to."""

    tail: SignedTail
    entries: Annotated[tuple[LogEntry, ...], Meta(max_length=MOST_ENTRIES_SHOWN)]
