"""The audit log of a node, held against the chain: what is missing, altered, reordered or signed twice is found."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from sealmarket.chain import abi
from sealmarket.chain.anchors import _calls, _detail
from sealmarket.chain.committees import compact
from sealmarket.protocol.reasons import JobReason
from sealmarket.protocol.wire import LogHead
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_oracle.auditing import read_log, signer_of
from sealmarket_oracle.errors import AuditRefused
from sealmarket_oracle.log.audit import Anchor, Audited, LogProof, ProofRefused, Recalling, audit, prove, require_proven
from sealmarket_oracle.log.entries import EntryKind, JournalTail, LogEntry, LogPart, SignedTail
from sealmarket_oracle.log.tree import root_of
from tests.oracle.world import World

NAME = keccak(b"journal")
JOBS = [JobId(keccak(b"job %d" % n)) for n in range(6)]


def _entry(place: int, kind: EntryKind, job: JobId, rules: Bytes32 = ZERO_HASH) -> LogEntry:
    return LogEntry(
        sequence=place,
        kind=kind,
        job_id=job,
        inputs=ZERO_HASH,
        statement=ZERO_HASH,
        rules=rules,
        block_number=place,
        block_hash=keccak(b"block"),
        at=place,
    )


def _log() -> tuple[list[LogEntry], list[Anchor]]:
    """A start, then for each job a decision and a release; every decision is on chain."""
    entries, anchors = [_entry(0, EntryKind.START, JobId(ZERO_HASH))], []
    for number, job in enumerate(JOBS):
        detail = keccak(b"detail of" + job)
        head = LogHead(journal=NAME, size=len(entries), root=root_of([entry.leaf() for entry in entries]))
        anchors.append(Anchor(job, detail, head, 100 + number, keccak(b"transaction")))
        entries.append(_entry(len(entries), EntryKind.DECISION, job, detail))
        entries.append(_entry(len(entries), EntryKind.RELEASE, job))
    return entries, anchors


ENTRIES, ANCHORS = _log()
NO_RECALLS = Recalling()


def _audit(
    entries: Sequence[LogEntry],
    anchors: Sequence[Anchor] = ANCHORS,
    name: Bytes32 = NAME,
    recalling: Recalling = NO_RECALLS,
) -> Audited:
    """An audit of a log whose node signed exactly these entries: only the chain can speak against it."""
    root = root_of([entry.leaf() for entry in entries])
    return audit(JournalTail(journal=name, epoch=1, size=len(entries), root=root), entries, anchors, recalling)


def _renumbered(entries: list[LogEntry]) -> list[LogEntry]:
    return [replace(entry, sequence=place) for place, entry in enumerate(entries)]


TAMPERED: dict[str, Callable[[list[LogEntry]], list[LogEntry]]] = {
    "a release is missing": lambda log: log[:4] + log[5:],
    "a release is missing and the rest is numbered anew": lambda log: _renumbered(log[:4] + log[5:]),
    "the end is missing": lambda log: log[:-2],
    "everything is missing": lambda _log: [],
    "two entries are reordered": lambda log: _renumbered([*log[:3], log[4], log[3], *log[5:]]),
    "a release became a stop": lambda log: [*log[:2], replace(log[2], kind=EntryKind.STOP), *log[3:]],
    "a time is another": lambda log: [replace(log[0], at=9), *log[1:]],
    "an entry is added before an anchor": lambda log: _renumbered([*log[:5], log[0], *log[5:]]),
    "the last decision is another": lambda log: [*log[:-2], replace(log[-2], rules=ZERO_HASH), log[-1]],
}


@pytest.mark.parametrize("how", TAMPERED)
def test_a_log_that_its_node_signed_anew_is_found_out_by_its_anchors_where(how: str) -> None:
    assert _audit(TAMPERED[how](list(ENTRIES))).findings


@settings(deadline=None)
@given(st.permutations(range(len(ENTRIES) - 1)))
def test_any_order_but_the_right_one_is_found_out(order: list[int]) -> None:
    moved = _renumbered([*(ENTRIES[n] for n in order), ENTRIES[-1]])
    assert bool(_audit(moved).findings) == (order != sorted(order))


def test_entries_that_do_not_lead_to_the_signed_tail_are_found_out() -> None:
    tail = JournalTail(journal=NAME, epoch=1, size=len(ENTRIES), root=ZERO_HASH)
    assert any("altered" in finding for finding in audit(tail, ENTRIES, ANCHORS, NO_RECALLS).findings)
    short = audit(replace(tail, size=len(ENTRIES) + 1), ENTRIES, ANCHORS, NO_RECALLS)
    assert any("its tail says" in finding for finding in short.findings)


def test_a_journal_of_another_name_than_the_chains_is_found_out() -> None:
    assert any("of the journal" in finding for finding in _audit(ENTRIES, name=ZERO_HASH).findings)


def test_two_promises_about_one_job_are_found_out() -> None:
    twice = [*ENTRIES, _entry(len(ENTRIES), EntryKind.STOP, JOBS[0])]
    assert any("both promises" in finding for finding in _audit(twice).findings)


def test_two_answers_to_one_challenge_are_found_out() -> None:
    answers = [_entry(len(ENTRIES) + place, EntryKind.ANSWER, JOBS[0]) for place in (0, 1)]
    assert any("both answers to the challenge" in finding for finding in _audit([*ENTRIES, *answers]).findings)
    assert _audit([*ENTRIES, answers[0]]).findings == ()


MATCHED = 1000
STATEMENT, OTHER, UNLOGGED = keccak(b"statement"), keccak(b"another statement"), keccak(b"one that is not logged")
DETAIL = keccak(b"the detail of the refusal")


@pytest.mark.parametrize(
    ("logged", "anchors"),
    [
        ((), {STATEMENT: 1}),
        ((STATEMENT,), {}),
        ((STATEMENT,), {STATEMENT: 0}),
        ((STATEMENT,), {STATEMENT: MATCHED}),
        ((STATEMENT, OTHER), {STATEMENT: MATCHED + 1, OTHER: MATCHED}),
    ],
)
def test_a_refusal_by_an_advisory_that_was_not_anchored_before_the_match_is_found_out(
    logged: tuple[Bytes32, ...], anchors: dict[Bytes32, int]
) -> None:
    """A node that makes a statement up after the match cannot have its hash on chain before."""
    recalling = Recalling(anchors, {JOBS[0]: MATCHED}, {DETAIL: (STATEMENT,)})
    (finding,) = _audit(_refusal_by_an_advisory(*logged), (), recalling=recalling).findings
    assert f"expected before the match at {MATCHED}" in finding or "not in the log before it" in finding


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({DETAIL: (STATEMENT,)}, "expected before the match"),
        ({DETAIL: (OTHER, STATEMENT)}, "expected before the match"),
        ({DETAIL: (UNLOGGED,)}, "not in the log before it"),
        ({DETAIL: ()}, "shows no detail"),
        ({}, "shows no detail"),
        ({OTHER: (OTHER,)}, "shows no detail"),
    ],
)
def test_a_refusal_does_not_hide_behind_another_statement_that_was_anchored_long_before(
    named: dict[Bytes32, tuple[Bytes32, ...]], said: str
) -> None:
    """Once any statement is on chain, a node could name one that it made up, or none."""
    recalling = Recalling({OTHER: 1, STATEMENT: MATCHED, UNLOGGED: 1}, {JOBS[0]: MATCHED}, named)
    (finding,) = _audit(_refusal_by_an_advisory(OTHER, STATEMENT), (), recalling=recalling).findings
    assert said in finding


def test_an_advisory_that_is_logged_after_the_refusal_explains_nothing() -> None:
    log = _renumbered(list(reversed(_refusal_by_an_advisory(STATEMENT))))
    recalling = Recalling({STATEMENT: 1}, {JOBS[0]: MATCHED}, {DETAIL: (STATEMENT,)})
    assert len(_audit(log, (), recalling=recalling).findings) == 1


def test_a_refusal_by_an_advisory_that_was_anchored_before_the_match_is_none() -> None:
    recalling = Recalling({OTHER: MATCHED, STATEMENT: MATCHED - 1}, {JOBS[0]: MATCHED}, {DETAIL: (STATEMENT,)})
    assert _audit(_refusal_by_an_advisory(OTHER, STATEMENT), (), recalling=recalling).findings == ()


def test_a_refusal_of_a_job_that_was_matched_after_the_block_of_the_audit_is_left_for_the_next() -> None:
    assert _audit(_refusal_by_an_advisory(STATEMENT), ()).findings == ()


def _refusal_by_an_advisory(*logged: Bytes32) -> list[LogEntry]:
    """A log in which these statements stand before the refusal."""
    statements = [replace(_entry(0, EntryKind.ADVISORY, JobId(ZERO_HASH)), statement=name) for name in logged]
    refusal = replace(_entry(0, EntryKind.DECISION, JOBS[0], DETAIL), reasons=(JobReason.PLATFORM_RECALLED.code,))
    return _renumbered([*statements, refusal])


def test_a_log_that_holds_has_no_finding() -> None:
    audited = _audit(ENTRIES)
    assert audited.findings == ()
    assert len(audited.anchors) == len(JOBS)


# --- proofs ---------------------------------------------------------------------------------------------------------


def test_what_no_anchor_covers_yet_is_not_proven() -> None:
    with pytest.raises(ProofRefused, match="no anchor"):
        prove(_audit(ENTRIES), len(ENTRIES) - 1)


FORGED: dict[str, Callable[[LogProof], LogProof]] = {
    "another entry": lambda proof: replace(proof, entry=replace(proof.entry, kind=EntryKind.STOP)),
    "another place": lambda proof: replace(proof, entry=replace(proof.entry, sequence=0)),
    "another anchor": lambda proof: replace(proof, anchor=replace(proof.anchor, root=ZERO_HASH)),
    "another later anchor": lambda proof: replace(proof, later=replace(proof.later, root=ZERO_HASH)),
    "another journal": lambda proof: replace(proof, later=replace(proof.later, journal=ZERO_HASH)),
    "no path": lambda proof: replace(proof, inclusion=()),
    "a path that is too long": lambda proof: replace(proof, consistency=(ZERO_HASH,) * 65),
}


@pytest.mark.parametrize("how", FORGED)
def test_a_proof_is_refused_with(how: str) -> None:
    with pytest.raises(ProofRefused):
        require_proven(FORGED[how](prove(_audit(ENTRIES), 4)))


@pytest.mark.parametrize("place", range(len(ENTRIES) - 2))
def test_each_entry_under_an_anchor_is_proven_and_the_anchor_leads_to_the_last(place: int) -> None:
    proof = prove(_audit(ENTRIES), place)
    assert (proof.entry, proof.later) == (ENTRIES[place], ANCHORS[-1].log)
    require_proven(proof)


# --- what a node and a chain show -----------------------------------------------------------------------------------


def _served(world: World, entries: Sequence[LogEntry], size: int, step: int) -> Callable[[str], bytes]:
    tail = JournalTail(journal=NAME, epoch=1, size=size, root=root_of([entry.leaf() for entry in entries]))
    signature = world.keys[0].signer.sign_statement(tail, world.book.chain_id, world.book.market)
    told = SignedTail(tail=tail, signature=signature)

    def ask(path: str) -> bytes:
        first = int(path.rsplit("/", 1)[1])
        return LogPart(tail=told, entries=tuple(entries[first : first + step])).canonical()

    return ask


def test_a_node_that_shows_fewer_entries_than_it_signed_is_not_asked_for_ever(world: World) -> None:
    told, entries = read_log(_served(world, ENTRIES[:5], len(ENTRIES), 2))
    assert (told.tail.size, entries) == (len(ENTRIES), ENTRIES[:5])
    with pytest.raises(AuditRefused, match="claims"):
        read_log(_served(world, ENTRIES, 1 << 50, 2))
    with pytest.raises(AuditRefused, match="does not read"):
        read_log(lambda _path: b"{}")


def test_a_log_that_no_member_signed_is_refused(world: World) -> None:
    told, _entries = read_log(_served(world, ENTRIES, len(ENTRIES), 500))
    assert signer_of(world.book, told)[0] == world.keys[0].signer.address
    for other in (replace(told, tail=replace(told.tail, size=1)), replace(told, tail=replace(told.tail, epoch=2))):
        with pytest.raises(AuditRefused):
            signer_of(world.book, other)


def test_a_log_is_read_in_parts(world: World) -> None:
    for step in (1, 5, 500):
        assert read_log(_served(world, ENTRIES, len(ENTRIES), step))[1] == ENTRIES


def test_what_is_no_call_of_the_market_shows_no_decision() -> None:
    decide = abi.load("Market").function("decide", 5).selector
    batch = abi.load("Market").function("batch", 2).selector
    for raw in (b"", b"\x00" * 400, decide, decide + b"\xff" * 700, batch, batch + b"\xff" * 700):
        assert list(_calls(raw)) == []


@given(st.binary(min_size=32, max_size=32), st.integers(1, (1 << 255) - 1), st.sampled_from([27, 28]))
def test_a_signature_is_read_back_from_its_compact_spelling(r: bytes, s: int, v: int) -> None:
    signature = r + s.to_bytes(32, "big") + bytes([v])
    one = dict(zip(("r", "vs"), compact(signature), strict=True)) | {"index": 1, "detail": NAME}
    assert bytes(_detail(one).signature) == signature
