"""Holds a node's audit log against what the chain shows of it. Pure.

1. The tail is signed by the node, and names its epoch.
2. The entries are all there are: their places count from 0, and their tree has the tail's size and root.
3. Each anchor, a tail that a decision on chain names, is a beginning of that tree. So one is of the next.
4. Each decision of the node on chain is in the log, at the place that its anchor leaves for it.
5. No job has two promises, and no challenge two answers.
6. A refusal by an advisory names it in its detail, follows the entry of that one, and its hash was anchored on chain
   before the job was matched. The refusal's own anchor has that entry in its tree, so each such refusal shows on chain
   what it rests on. Whether the statement names the machine is for those who see the evidence.

A node that removes, alters or moves an entry changes the root of each later anchor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sealmarket.protocol.reasons import JobReason
from sealmarket.protocol.wire import LogHead
from sealmarket_enclave.protocol.codec import Bytes32, Shape
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_oracle.errors import OracleError
from sealmarket_oracle.log.entries import EntryKind, JournalTail, LogEntry
from sealmarket_oracle.log.tree import Frontier, consistency_proof, inclusion_proof, is_consistent, is_included

_PROMISES = (EntryKind.RELEASE, EntryKind.STOP)


class ProofRefused(OracleError):
    """A proof from an audit log does not hold."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A tail that a node's decision on chain names: the decision follows it in the log."""

    job_id: JobId
    detail: Bytes32
    log: LogHead
    block_number: int
    transaction: Bytes32


@dataclass(frozen=True, slots=True)
class Audited:
    """What an audit found. ``findings`` is empty for a log that holds."""

    tail: JournalTail
    entries: tuple[LogEntry, ...]
    leaves: tuple[Bytes32, ...]
    anchors: tuple[Anchor, ...]
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recalling:
    """What the chain says of recalls, at a final block: when the hashes of statements were anchored (0: never), and
    when jobs were matched. A job that is not there was matched later, and is not looked at. ``named``: by the hash of a
    decision's detail, the statements that it names."""

    anchored_at: Mapping[Bytes32, int] = field(default_factory=dict)
    matched_at: Mapping[JobId, int] = field(default_factory=dict)
    named: Mapping[Bytes32, Sequence[Bytes32]] = field(default_factory=dict)


class LogProof(Shape, frozen=True, kw_only=True):
    """For a reader without the log: an entry in the tree of an anchor, and that tree as a beginning of a later one."""

    entry: LogEntry
    inclusion: tuple[Bytes32, ...]
    anchor: LogHead
    consistency: tuple[Bytes32, ...]
    later: LogHead


@dataclass(slots=True)
class _Roots:
    """The roots of the tree at the sizes that are asked for, collected in one pass."""

    wanted: frozenset[int]
    found: dict[int, Bytes32] = field(default_factory=dict)
    frontier: Frontier = field(default_factory=Frontier)

    def note(self) -> None:
        if self.frontier.size in self.wanted:
            self.found[self.frontier.size] = self.frontier.root

    def add(self, leaf: Bytes32) -> None:
        self.frontier = self.frontier.append(leaf)
        self.note()


def audit(tail: JournalTail, entries: Sequence[LogEntry], anchors: Iterable[Anchor], recalling: Recalling) -> Audited:
    """Hold a log against its tail and the anchors on chain: rules 2 to 6. Names everything that is wrong."""
    ordered = tuple(sorted(anchors, key=lambda one: (one.log.size, one.block_number)))
    roots = _Roots(frozenset(anchor.log.size for anchor in ordered))
    roots.note()
    leaves = tuple(entry.leaf() for entry in entries)
    for leaf in leaves:
        roots.add(leaf)
    findings = [
        *_order(tail, entries, roots.frontier.root),
        *(text for anchor in ordered for text in _anchored(tail, anchor, entries, roots.found)),
        *_twice(entries, _PROMISES, "promises about"),
        *_twice(entries, (EntryKind.ANSWER,), "answers to the challenge of"),
        *_recalls(entries, recalling),
    ]
    return Audited(tail, tuple(entries), leaves, ordered, tuple(findings))


def _order(tail: JournalTail, entries: Sequence[LogEntry], root: Bytes32) -> Iterable[str]:
    for place, entry in enumerate(entries):
        if entry.sequence != place:
            yield f"entry {place} says that it is entry {entry.sequence}: one is missing, or they were reordered"
            break
    if len(entries) != tail.size:
        yield f"the log has {len(entries)} entries, and its tail says {tail.size}"
    elif root != tail.root:
        yield f"the entries have the root {root}, and the signed tail says {tail.root}: one was altered"


def _anchored(
    tail: JournalTail, anchor: Anchor, entries: Sequence[LogEntry], roots: dict[int, Bytes32]
) -> Iterable[str]:
    where = f"the anchor in block {anchor.block_number} (job {anchor.job_id}, {anchor.log.size} entries)"
    if anchor.log.journal != tail.journal:
        yield f"{where} is of the journal {anchor.log.journal}, and this one is {tail.journal}"
        return
    if anchor.log.size >= len(entries):
        yield f"{where} is beyond the log's end at {len(entries)}: entries are missing"
        return
    if roots[anchor.log.size] != anchor.log.root:
        yield f"{where} has the root {anchor.log.root}, and the log {roots[anchor.log.size]}: an earlier entry differs"
    entry = entries[anchor.log.size]
    if (entry.kind, entry.job_id, entry.rules) != (EntryKind.DECISION, anchor.job_id, anchor.detail):
        yield f"{where} is followed by another entry than its decision: {entry.kind} of job {entry.job_id}"


def _twice(entries: Sequence[LogEntry], kinds: tuple[EntryKind, ...], what: str) -> Iterable[str]:
    seen: dict[JobId, int] = {}
    for place, entry in enumerate(entries):
        if entry.kind in kinds:
            if entry.job_id in seen:
                yield f"entries {seen[entry.job_id]} and {place} are both {what} job {entry.job_id}"
            seen.setdefault(entry.job_id, place)


def is_recall(entry: LogEntry) -> bool:
    """Whether an entry is a refusal by an advisory."""
    return entry.kind is EntryKind.DECISION and JobReason.PLATFORM_RECALLED.code in entry.reasons


def _recalls(entries: Sequence[LogEntry], recalling: Recalling) -> Iterable[str]:
    """Refusals by an advisory that the statements which they name do not explain."""
    logged: set[Bytes32] = set()
    for place, entry in enumerate(entries):
        if entry.kind is EntryKind.ADVISORY:
            logged.add(entry.statement)
        matched = recalling.matched_at.get(entry.job_id)
        if not is_recall(entry) or matched is None:
            continue
        named = recalling.named.get(entry.rules, ())
        where = f"entry {place} refuses job {entry.job_id} by an advisory"
        if not named:
            yield f"{where}, and the node shows no detail {entry.rules} that names one"
        for name in named:
            if name not in logged:
                yield f"{where}, and {name}, which its detail names, is not in the log before it"
            elif not 0 < (anchored := recalling.anchored_at.get(name, 0)) < matched:
                held = f"was anchored at {anchored}" if anchored else "is not anchored"
                yield f"{where}, and {name}, which its detail names, {held}: expected before the match at {matched}"


def prove(audited: Audited, place: int) -> LogProof:
    """An entry in the first anchor that covers it, and that anchor in the last one.

    Raises:
        ProofRefused: no anchor covers it yet.
    """
    covering = [anchor for anchor in audited.anchors if anchor.log.size > place]
    if not covering:
        raise ProofRefused(
            f"no anchor on chain covers entry {place} yet", remedy="ask again when the node has decided another job"
        )
    anchor, later = covering[0].log, covering[-1].log
    proof = LogProof(
        entry=audited.entries[place],
        inclusion=inclusion_proof(audited.leaves[: anchor.size], place),
        anchor=anchor,
        consistency=consistency_proof(audited.leaves[: later.size], anchor.size),
        later=later,
    )
    require_proven(proof)
    return proof


def require_proven(proof: LogProof) -> None:
    """Check a proof by itself: the reader compares ``anchor`` and ``later`` with the chain. Raises ProofRefused."""
    anchor, later = proof.anchor, proof.later
    if anchor.journal != later.journal:
        raise ProofRefused("the two anchors are of two journals", remedy="ask for a proof within one journal")
    if not is_included(proof.entry.leaf(), proof.entry.sequence, anchor.size, proof.inclusion, anchor.root):
        raise ProofRefused(f"entry {proof.entry.sequence} is not in the tree of the anchor", remedy="do not rely on it")
    if not is_consistent(anchor.size, later.size, proof.consistency, anchor.root, later.root):
        raise ProofRefused("the later anchor does not grow out of the first", remedy="do not rely on it")
