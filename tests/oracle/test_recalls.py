"""Statements about platforms: who may call one back, from when on, at whose cost; and what a recall touches."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sealmarket.chain.committees import core_of
from sealmarket.chain.memory import MemoryView
from sealmarket.chain.proof import ProofRefused
from sealmarket.protocol.advisories import (
    Advisory,
    Floor,
    SignedAdvisory,
    Target,
    counts_for,
)
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.reasons import JobReason, reason_codes
from sealmarket.protocol.wire import NodeStatus
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32, HexBytes
from sealmarket_enclave.protocol.signing import address_of
from sealmarket_oracle.auditing import named_by
from sealmarket_oracle.errors import (
    AdvisoriesRefused,
    JournalUnwritable,
)
from sealmarket_oracle.holds import Holds
from sealmarket_oracle.log.entries import EntryKind
from sealmarket_oracle.recalls import Recalls, Sightings
from tests.oracle.operators import ISSUER, STRANGER, WHOLE, Operator, decided
from tests.oracle.world import NOW, World

# --- who, and from when on ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["a stranger", "an altered statement", "no signature", "no statement"])
def test_what_no_enabled_issuer_signed_is_never_applied(how: str, world: World, operator: Operator) -> None:
    signed = operator.drop(key=STRANGER if how == "a stranger" else ISSUER)
    path = operator.folder / "one.json"
    if how == "an altered statement":
        path.write_bytes(signed.canonical().replace(b"a leaked key", b"a leaked kex"))
    if how == "no signature":
        path.write_bytes(SignedAdvisory(advisory=signed.advisory, signature=HexBytes(bytes(65))).canonical())
    if how == "no statement":
        path.write_bytes(b"[" * 1000)
    world.chain.anchor_advisory(signed.advisory.name())
    assert decided(world, operator).outcome is Outcome.ACCEPTED
    assert operator.held.published().advisories == ()
    assert "one.json" in operator.held.problems[0]
    assert operator.held._journal.entries_of(EntryKind.ADVISORY) == []


def test_a_node_with_more_statements_than_it_reads_decides_nothing_and_says_what_to_do(
    world: World, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sealmarket_oracle.advisory_files.MOST_ADVISORIES", 2)
    for name in ("one.json", "other.json", "the-one-that-names-the-machine.json"):
        operator.drop(name, title=name)
    world.match(world.publish())
    world.quote()
    with pytest.raises(AdvisoriesRefused, match="has 3 statements about platforms, expected at most 2"):
        operator.node.tick()
    assert operator.node.status(world.job_id).state == "waiting"
    (operator.folder / "one.json").unlink()
    assert world.decided(operator.node).outcome is Outcome.ACCEPTED
    assert len(operator.held.published().advisories) == 2


def test_a_file_that_is_no_statement_is_named_in_plain_words(operator: Operator) -> None:
    (operator.folder / "one.json").write_bytes(b"{}")
    operator.look()
    assert operator.held.problems[0].startswith("one.json: not of the form SignedAdvisory")


def test_a_statement_that_is_not_anchored_counts_for_no_job(world: World, operator: Operator) -> None:
    operator.drop()
    world.chain.anchor_advisory(Bytes32(b"\x0a" * 32))
    assert decided(world, operator).outcome is Outcome.ACCEPTED
    (found,) = operator.held.published().advisories
    assert (found.anchored_at, found.since) == (0, 0)


def test_a_statement_that_was_anchored_after_the_match_does_not_count_for_the_job(
    world: World, operator: Operator
) -> None:
    """Its parties matched in good faith; so no one calls a job back by anchoring what was written before."""
    signed = operator.drop()
    world.match(world.publish())
    world.chain.anchor_advisory(signed.advisory.name())
    world.quote()
    assert world.decided(operator.node).outcome is Outcome.ACCEPTED
    (found,) = operator.held.published().advisories
    assert found.anchored_at == world.spec.matched_at + 1


def test_a_job_that_was_matched_in_the_second_of_the_anchor_is_not_under_the_statement(
    world: World, operator: Operator
) -> None:
    signed = operator.anchored()
    anchored_at = world.chain.head().timestamp
    assert decided(world, operator, matched_at=anchored_at).outcome is Outcome.ACCEPTED
    assert operator.held.in_force(anchored_at) == ()
    assert operator.held.in_force(anchored_at + 1) == (signed.advisory,)


def test_a_statement_counts_no_sooner_than_it_says(world: World, operator: Operator) -> None:
    operator.anchored(applies_from=world.chain.head().timestamp + 1000)
    assert decided(world, operator).outcome is Outcome.ACCEPTED


def test_a_hash_that_is_anchored_again_keeps_its_first_time(world: World, operator: Operator) -> None:
    signed = operator.anchored()
    first = world.chain.head().timestamp
    world.chain.mine(10)
    world.chain.anchor_advisory(signed.advisory.name())
    world.chain.finalise()
    operator.look()
    assert operator.held.published().advisories[0].anchored_at == first


def test_an_anchor_that_a_reorganisation_takes_back_counts_no_more(world: World, operator: Operator) -> None:
    operator.anchored()
    world.chain.finalise()
    operator.look()
    assert operator.held.published().advisories[0].since
    world.chain.reorganise(2)
    world.chain.mine(3)
    assert decided(world, operator).outcome is Outcome.ACCEPTED


@given(anchored_at=st.integers(1, 30), applies_from=st.integers(0, 30), matched_at=st.integers(1, 30), data=st.data())
def test_nodes_at_different_final_blocks_agree_whether_a_statement_counts_for_a_job(
    anchored_at: int, applies_from: int, matched_at: int, data: st.DataObject
) -> None:
    """Each stands on a block in which the match is final, and sees the anchor only if that is no later."""
    stated = Advisory(title="t", applies_from=applies_from, targets=WHOLE)
    blocks = data.draw(st.lists(st.integers(matched_at, 60), min_size=2, max_size=5))
    seen = [anchored_at if anchored_at <= block else 0 for block in blocks]
    assert len({counts_for(stated, anchor, matched_at) for anchor in seen}) == 1
    assert counts_for(stated, anchored_at, matched_at) == (matched_at > anchored_at and matched_at >= applies_from)


def test_nodes_that_log_a_statement_at_different_times_sign_the_same(world: World, operator: Operator) -> None:
    """The node's clock and its log have no part in it: a node that applies it late decides as the first."""
    signed = operator.drop()
    operator.look()
    operator.held._journal._clock = lambda: NOW + 10**6
    world.chain.anchor_advisory(signed.advisory.name())
    first = decided(world, operator)
    with Sightings(world.folder / "late.sqlite") as sightings:
        journal = world.journal("late.sqlite3")
        journal._clock = lambda: NOW - 10**6
        issuers = frozenset({address_of(ISSUER.public_key)})
        late = Recalls(operator.folder, issuers, journal, sightings, Holds(world.folder / "holds"))
        second = world.decided(world.node(journal_of=journal, recalls=late))
    assert first.outcome is Outcome.TERMS_REFUSED
    assert core_of(first) == core_of(second)


def test_a_chain_that_does_not_show_whether_a_hash_is_anchored_ends_every_decision(
    world: World, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint that hides an anchor: a missing slot is proven as well, and without a proof nothing is decided."""

    def hidden(*_: object) -> dict[Bytes32, int]:
        raise ProofRefused("slot", "a proof", "none")

    operator.anchored()
    world.match(world.publish())
    world.quote()
    with monkeypatch.context() as patched:
        patched.setattr(MemoryView, "advisory_anchors", hidden)
        with pytest.raises(ProofRefused):
            operator.node.tick()
    assert operator.node.status(world.job_id).decision is None
    assert world.decided(operator.node).outcome is Outcome.TERMS_REFUSED


def test_a_restart_logs_no_statement_again(operator: Operator) -> None:
    operator.drop()
    operator.look()
    operator.node, operator.held = operator.start()
    operator.look()
    assert len(operator.held.published().advisories) == 1
    assert len(operator.held._journal.entries_of(EntryKind.ADVISORY)) == 1


def test_a_machine_that_is_called_back_is_refused_at_no_partys_cost(world: World, operator: Operator) -> None:
    operator.anchored()
    decision = decided(world, operator)
    assert decision.outcome is Outcome.TERMS_REFUSED
    assert reason_codes(decision.reasons) == (JobReason.PLATFORM_RECALLED.code,)
    status = operator.node.status(world.job_id).decision
    assert status is not None
    assert "a leaked key" in status.detail.findings[0].found


def test_a_refusal_by_an_advisory_anchors_the_entry_that_it_rests_on(world: World, operator: Operator) -> None:
    """The tail that the decision's detail names has the advisory's entry, and goes on chain with the decision."""
    operator.anchored()
    decided(world, operator)
    decision = operator.node.status(world.job_id).decision
    assert decision is not None
    assert decision.detail.log is not None
    journal = operator.held._journal
    (entry,) = journal.entries_of(EntryKind.ADVISORY)
    assert entry.sequence < decision.detail.log.size
    assert journal.frontier_at(decision.detail.log.size).root == decision.detail.log.root
    assert entry.statement == operator.held.published().advisories[0].signed.advisory.name()
    assert decision.detail.recalled_by == (entry.statement,)


def test_an_audit_reads_which_advisory_a_refusal_names_from_the_detail_that_the_log_has(
    world: World, operator: Operator
) -> None:
    signed = operator.anchored()
    decided(world, operator)
    journal = operator.held._journal
    entries, matched = journal.entries(0, journal.head().size), {world.job_id: 1}
    (refusal,) = journal.entries_of(EntryKind.DECISION)
    own = operator.node.status(world.job_id)
    other = NodeStatus(job_id=world.job_id, state="waiting", reason="")
    assert named_by(lambda _path: own.canonical(), entries, matched) == {refusal.rules: (signed.advisory.name(),)}
    assert named_by(lambda _path: other.canonical(), entries, matched) == {}
    altered = [replace(entry, rules=ZERO_HASH) for entry in entries]
    assert named_by(lambda _path: own.canonical(), altered, matched) == {}, "another detail than the log's"


def test_a_provider_at_fault_does_not_escape_by_being_called_back(world: World, operator: Operator) -> None:
    operator.anchored()
    world.match(world.publish())
    world.quote(debug=True)
    assert world.decided(operator.node).outcome is Outcome.PLATFORM_REFUSED


def test_a_statement_that_a_journal_did_not_take_is_logged_at_a_later_look(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise JournalUnwritable("the disk is full", remedy="make room")

    operator.drop()
    with monkeypatch.context() as patched:
        patched.setattr(operator.held._journal, "log_advisory", full)
        with pytest.raises(JournalUnwritable):
            operator.look()
    operator.look()
    assert len(operator.held.published().advisories) == 1


def test_a_statement_that_could_not_be_read_is_read_once_its_mode_allows_that(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_a_user(path: Path, limit: int) -> bytes:
        if not path.stat().st_mode & 0o400:
            raise PermissionError(13, "Permission denied", str(path))
        return path.read_bytes()[:limit]

    monkeypatch.setattr("sealmarket_oracle.recalls.read_file", as_a_user)
    operator.drop()
    path = operator.folder / "one.json"
    path.chmod(0)
    operator.look()
    assert "Permission denied" in operator.held.problems[0]
    path.chmod(0o600)
    operator.look()
    assert (len(operator.held.published().advisories), operator.held.problems) == (1, ())


def test_a_statement_that_its_operator_takes_away_counts_no_more(world: World, operator: Operator) -> None:
    operator.anchored()
    (operator.folder / "one.json").unlink()
    assert decided(world, operator).outcome is Outcome.ACCEPTED


def test_another_machine_is_left_alone(world: World, operator: Operator) -> None:
    operator.anchored(targets=(Target(tee="tdx", platform=Bytes32(b"\x0f" * 32)), Target(tee="snp")))
    assert decided(world, operator).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize(("date", "outcome"), [("2026-01-01", Outcome.ACCEPTED), ("2026-01-02", Outcome.TERMS_REFUSED)])
def test_a_floor_of_intels_is_the_date_of_the_level(
    date: str, outcome: Outcome, world: World, operator: Operator
) -> None:
    operator.anchored(targets=(Target(tee="tdx", floor=Floor(level_date=date)),))
    assert decided(world, operator).outcome is outcome


# --- a drill ------------------------------------------------------------------------------------------------------


def test_a_recall_lists_the_jobs_and_assets_that_it_touches_and_no_others(world: World, operator: Operator) -> None:
    first, second = world.publish(1), world.publish(2)
    for asset in (first, second):
        world.match(asset)
        world.quote()
        world.decided(operator.node)
    stated = Advisory(title="t", applies_from=NOW + 10**6, targets=WHOLE)
    found = operator.recall(stated)
    assert (found.looked_at, found.anchored_at, found.since) == (2, 0, 0)
    assert {asset.asset_id for asset in found.assets} == {first.asset_id, second.asset_id}
    assert {job.outcome for job in found.jobs} == {"accepted"}
    assert not any(job.released for job in found.jobs)
    other = Advisory(title="t", applies_from=0, targets=(Target(tee="snp"),))
    assert operator.recall(other).jobs == ()


def test_a_recall_says_which_jobs_were_matched_under_the_statement(world: World, operator: Operator) -> None:
    stated, asset = Advisory(title="t", applies_from=0, targets=WHOLE), world.publish()
    before = world.match(asset)
    world.quote()
    world.decided(operator.node)
    world.chain.anchor_advisory(stated.name())
    after = world.match(asset)
    world.quote()
    world.decided(operator.node)
    found = operator.recall(stated)
    assert {job.job_id: job.counts for job in found.jobs} == {before: False, after: True}
    assert found.since == found.anchored_at + 1
    assert found.jobs[0].outcome == found.jobs[1].outcome == "accepted", "its operator does not apply it"


def test_evidence_that_is_not_authentic_is_no_jobs_machine(world: World, operator: Operator) -> None:
    world.match(world.publish())
    world.quote(collateral="")
    world.decided(operator.node)
    assert operator.recall(Advisory(title="t", applies_from=0, targets=WHOLE)).looked_at == 0


def test_the_machines_of_jobs_are_in_a_file_of_the_operators_alone(world: World, operator: Operator) -> None:
    assert (world.folder / "platforms.sqlite").stat().st_mode & 0o777 == 0o600
