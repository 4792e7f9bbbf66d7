"""Advisories: who may call a platform back, from when on, at whose cost; and what a recall touches."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import coincurve
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from typer.testing import CliRunner

from sealmarket.advisory_file import AdvisoryRefused, read_advisory
from sealmarket.attestation.amd.report import SnpTcbVersion
from sealmarket.chain.committees import core_of
from sealmarket.chain.errors import ChainUnavailable
from sealmarket.chain.memory import MemoryView
from sealmarket.chain.proof import ProofRefused
from sealmarket.http import HttpError
from sealmarket.protocol.advisories import (
    PARTS,
    Advisory,
    Floor,
    PlatformSeen,
    SignedAdvisory,
    Target,
    counts_for,
    touched,
)
from sealmarket.protocol.decisions import Decision, Outcome
from sealmarket.protocol.reasons import JobReason, reason_codes
from sealmarket.protocol.renewals import RenewalRequest
from sealmarket.protocol.wire import NodeStatus
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32, HexBytes, Uint64, decode, to_builtins
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.numbers import JobId, Kind
from sealmarket_enclave.protocol.signing import address_of, sign
from sealmarket_oracle.admin import ask_recall, serving_admin
from sealmarket_oracle.advisory_files import sign_advisory
from sealmarket_oracle.api import create_app
from sealmarket_oracle.auditing import named_by
from sealmarket_oracle.cli import app
from sealmarket_oracle.errors import (
    AdvisoriesRefused,
    AdvisoriesUnlisted,
    JournalUnwritable,
    KeyFileRefused,
    RenewalRefused,
)
from sealmarket_oracle.holds import Holds
from sealmarket_oracle.keys import advisory_key
from sealmarket_oracle.log.entries import EntryKind
from sealmarket_oracle.recalls import PublishedAdvisories, Recall, Recalls, Sightings
from sealmarket_oracle.report import Reporter
from sealmarket_oracle.runner import Runner
from sealmarket_oracle.service import Node
from tests.enclave.session.services import terms_of
from tests.oracle.test_api import Client
from tests.oracle.test_renewals import allowing, served, service
from tests.oracle.test_serving import LEASE
from tests.oracle.world import NOW, World
from tests.patience import until

ISSUER, STRANGER = coincurve.PrivateKey(b"\x11" * 32), coincurve.PrivateKey(b"\x12" * 32)
STRANGER_ADDRESS = address_of(STRANGER.public_key)
WHOLE = (Target(tee="tdx"),)


class Operator:
    """One node whose operator enables an issuer; ``held`` is its recalls, of which a second one is a restart."""

    def __init__(self, world: World, stack: ExitStack) -> None:
        self._world, self._stack, self._starts = world, stack, 0
        self.folder = world.folder / "advisories"
        self.folder.mkdir()
        self.node, self.held = self.start()

    def start(self) -> tuple[Node, Recalls]:
        """Start the node, on the same journal."""
        self._starts += 1
        journal = self._world.journal()
        sightings = self._stack.enter_context(Sightings(self._world.folder / "platforms.sqlite"))
        holds = Holds(self._world.folder / "holds")
        held = Recalls(self.folder, frozenset({address_of(ISSUER.public_key)}), journal, sightings, holds)
        return self._world.node(journal_of=journal, recalls=held), held

    def drop(self, name: str = "one.json", *, key: coincurve.PrivateKey = ISSUER, **fields: Any) -> SignedAdvisory:
        """A signed statement in the operator's folder."""
        stated = replace(Advisory(title="a leaked key", applies_from=0, targets=WHOLE), **fields)
        signed = SignedAdvisory(advisory=stated, signature=sign(stated.digest(), key))
        (self.folder / name).write_bytes(signed.canonical())
        return signed

    def anchored(self, **fields: Any) -> SignedAdvisory:
        """The same, with its hash on chain."""
        signed = self.drop(**fields)
        self._world.chain.anchor_advisory(signed.advisory.name())
        return signed

    def hold(self, raw: bytes | None = None, **fields: Any) -> Path:
        """A statement of the operator's own, by which it holds machines back; ``raw`` are other bytes in its place."""
        stated = replace(Advisory(title="seen on a list", applies_from=NOW + 10**6, targets=WHOLE), **fields)
        folder = self._world.folder / "holds"
        folder.mkdir(exist_ok=True)
        (folder / "one.json").write_bytes(stated.canonical() if raw is None else raw)
        return folder / "one.json"

    def recall(self, advisory: Advisory) -> Recall:
        """What a statement touches, at the final block."""
        return self.held.touched_by(advisory, self.node.at_final())

    def look(self) -> None:
        """The node looks at its folders, at the final block."""
        chain = self._world.chain
        self.held.look(chain.trusted(chain.final()))


@pytest.fixture
def operator(world: World) -> Iterator[Operator]:
    with ExitStack() as stack:
        yield Operator(world, stack)


def _decided(world: World, operator: Operator, **match: Any) -> Decision:
    world.match(world.publish(), **match)
    world.quote()
    return world.decided(operator.node)


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
    assert _decided(world, operator).outcome is Outcome.ACCEPTED
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
    assert _decided(world, operator).outcome is Outcome.ACCEPTED
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
    assert _decided(world, operator, matched_at=anchored_at).outcome is Outcome.ACCEPTED
    assert operator.held.in_force(anchored_at) == ()
    assert operator.held.in_force(anchored_at + 1) == (signed.advisory,)


def test_a_statement_counts_no_sooner_than_it_says(world: World, operator: Operator) -> None:
    operator.anchored(applies_from=world.chain.head().timestamp + 1000)
    assert _decided(world, operator).outcome is Outcome.ACCEPTED


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
    assert _decided(world, operator).outcome is Outcome.ACCEPTED


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
    first = _decided(world, operator)
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
    decision = _decided(world, operator)
    assert decision.outcome is Outcome.TERMS_REFUSED
    assert reason_codes(decision.reasons) == (JobReason.PLATFORM_RECALLED.code,)
    status = operator.node.status(world.job_id).decision
    assert status is not None
    assert "a leaked key" in status.detail.findings[0].found


def test_a_refusal_by_an_advisory_anchors_the_entry_that_it_rests_on(world: World, operator: Operator) -> None:
    """The tail that the decision's detail names has the advisory's entry, and goes on chain with the decision."""
    operator.anchored()
    _decided(world, operator)
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
    _decided(world, operator)
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
    assert _decided(world, operator).outcome is Outcome.ACCEPTED


def test_another_machine_is_left_alone(world: World, operator: Operator) -> None:
    operator.anchored(targets=(Target(tee="tdx", platform=Bytes32(b"\x0f" * 32)), Target(tee="snp")))
    assert _decided(world, operator).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize(("date", "outcome"), [("2026-01-01", Outcome.ACCEPTED), ("2026-01-02", Outcome.TERMS_REFUSED)])
def test_a_floor_of_intels_is_the_date_of_the_level(
    date: str, outcome: Outcome, world: World, operator: Operator
) -> None:
    operator.anchored(targets=(Target(tee="tdx", floor=Floor(level_date=date)),))
    assert _decided(world, operator).outcome is outcome


# --- what an operator holds back ----------------------------------------------------------------------------------


def test_a_machine_that_the_operator_holds_back_is_not_accepted_until_the_hold_is_lifted(
    world: World, operator: Operator
) -> None:
    """At once, of its own, without an issuer, an anchor or a date: it is no decision."""
    hold = operator.hold()
    world.match(world.publish())
    world.quote()
    operator.node.tick()
    status = operator.node.status(world.job_id)
    assert status.decision is None
    assert "the operator holds platforms back by statement 0x" in status.reason
    assert "seen on a list" in status.reason
    hold.unlink()
    assert world.decided(operator.node).outcome is Outcome.ACCEPTED


def test_no_share_is_released_to_a_machine_that_is_held_back_after_the_decision(
    world: World, operator: Operator
) -> None:
    world.match(world.publish())
    world.quote()
    world.accept(world.decided(operator.node))
    hold = operator.hold()
    operator.node.tick()
    status = operator.node.status(world.job_id)
    assert status.release is None
    assert "holds platforms back" in status.reason
    hold.unlink()
    operator.node.tick()
    assert operator.node.status(world.job_id).state == "released"


def test_a_release_that_was_promised_before_its_machine_was_held_back_is_not_served_until_the_hold_is_lifted(
    world: World, operator: Operator
) -> None:
    world.match(world.publish())
    world.quote()
    world.accept(world.decided(operator.node))
    operator.node.tick()
    promised = operator.node.status(world.job_id).release
    assert promised is not None
    hold = operator.hold()
    operator.node.tick()
    status = operator.node.status(world.job_id)
    assert (status.state, status.release) == ("decided", None)
    assert status.reason.startswith("a release is promised, and not served: the operator holds platforms back by")
    hold.unlink()
    operator.node.tick()
    assert operator.node.status(world.job_id).release == promised


def test_a_stop_that_was_promised_is_served_while_its_machine_is_held_back(world: World, operator: Operator) -> None:
    asset = world.publish()
    world.match(asset)
    world.quote()
    world.accept(world.decided(operator.node))
    world.chain.revoke(asset.asset_id)
    world.chain.finalise()
    operator.node.tick()
    operator.hold()
    operator.node.tick()
    assert operator.node.status(world.job_id).state == "stopped"


def test_a_machine_that_is_held_back_before_the_decision_gets_no_renewal_although_others_accept_it(
    world: World, operator: Operator
) -> None:
    hold = operator.hold()
    job, request = _service_that_others_accept(world, operator)
    for _ in range(2):
        with pytest.raises(RenewalRefused, match="the operator holds platforms back by statement"):
            operator.node.renewals.sign(job, request())
        operator.node.tick()
    hold.unlink()
    operator.node.tick()
    assert operator.node.renewals.sign(job, request())


def test_a_machine_whose_decision_waited_for_a_hold_is_known_and_blocked_by_no_hold_on_another(
    world: World, operator: Operator
) -> None:
    operator.hold()
    job, request = _service_that_others_accept(world, operator)
    operator.hold(targets=(Target(tee="snp"),))
    operator.node.tick()
    assert operator.node.renewals.sign(job, request())


def _service_that_others_accept(world: World, operator: Operator) -> tuple[JobId, Callable[[], RenewalRequest]]:
    """A service that this node did not decide on, and how its renewal is asked for at the newest final block."""
    asset = world.publish(edit_policy=allowing)
    offered = replace(terms_of(asset.asset_id), lease=LEASE)
    job = world.match(asset, **served(world, offered, Kind.SESSION))
    world.quote(session_terms=HexBytes(offered.canonical()))
    operator.node.tick()
    assert operator.node.status(job).decision is None
    world.accept(world.decided(world.node(1)))
    world.chain.set_service(job, service(), {})
    world.chain.finalise()
    operator.node.tick()
    return job, lambda: RenewalRequest(
        nonce=Bytes32(b"n" * 32), block_number=Uint64(world.chain.final().number), accounts=(STRANGER_ADDRESS,)
    )


def test_a_job_whose_machine_is_not_known_here_gets_nothing_while_there_is_a_hold(
    world: World, operator: Operator
) -> None:
    """Another process of the node decided it, or the file of machines is lost: it may be the machine that is meant."""
    world.match(world.publish())
    world.quote()
    world.accept(world.decided(operator.node))
    (world.folder / "platforms.sqlite").unlink()
    operator.node, operator.held = operator.start()
    hold = operator.hold(targets=(Target(tee="snp"),))
    operator.node.tick()
    assert operator.node.status(world.job_id).release is None
    assert "is not known here" in operator.node.status(world.job_id).reason
    hold.unlink()
    operator.node.tick()
    assert operator.node.status(world.job_id).state == "released"


def test_a_revocation_is_promised_for_a_job_on_a_machine_that_is_held_back(world: World, operator: Operator) -> None:
    """A promise to stop gives nothing, and ends the job for its payer."""
    asset = world.publish()
    world.match(asset)
    world.quote()
    world.accept(world.decided(operator.node))
    operator.hold()
    world.chain.revoke(asset.asset_id)
    world.chain.finalise()
    operator.node.tick()
    assert operator.node.status(world.job_id).state == "stopped"


def test_a_refusal_goes_on_while_its_machine_is_held_back(world: World, operator: Operator) -> None:
    operator.hold()
    world.match(world.publish())
    world.quote(debug=True)
    assert world.decided(operator.node).outcome is Outcome.PLATFORM_REFUSED


def test_a_hold_on_another_machine_holds_none_back(world: World, operator: Operator) -> None:
    operator.hold(targets=(Target(tee="snp"),))
    assert _decided(world, operator).outcome is Outcome.ACCEPTED


def test_a_hold_that_does_not_read_ends_every_decision_and_gives_nothing_to_any_machine(
    world: World, operator: Operator
) -> None:
    hold = operator.hold(b"[")
    world.match(world.publish())
    world.quote()
    with pytest.raises(AdvisoryRefused, match=r"one\.json is no statement"):
        operator.node.tick()
    assert operator.node.status(world.job_id).decision is None
    assert operator.held.held(()) == "the operator's holds do not read", "and no path of the operator's is public"
    hold.unlink()
    assert world.decided(operator.node).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize("how", ["a file that is no statement", "a file that is gone when it is read", "a folder away"])
def test_a_node_whose_holds_did_not_read_says_so_until_they_do_and_then_decides(
    how: str, world: World, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is then as it was when it was read well: that must not pass for nothing new to read."""
    runner, folder = Runner(operator.node, 1.0), world.folder / "holds"
    folder.mkdir()
    assert runner._tick()
    world.match(world.publish())
    world.quote()
    with monkeypatch.context() as patched:
        if how == "a folder away":
            patched.setattr(Path, "iterdir", _away)
        if how == "a file that is gone when it is read":
            patched.setattr("sealmarket_oracle.holds.read_advisory", _away)
        bad = operator.hold(b"[") if how != "a folder away" else None
        for _ in range(2):
            assert not runner._tick()
            assert str(folder) in runner._health.problem
            assert operator.held.unread == "the operator's holds do not read"
    if bad is not None:
        bad.unlink()
    assert runner._tick()
    assert (operator.held.unread, operator.held.held(())) == ("", None)
    assert world.decided(operator.node).outcome is Outcome.ACCEPTED


def _away(path: Path) -> NoReturn:
    raise PermissionError(13, "Permission denied", str(path))


@pytest.mark.parametrize("place", ["holds", "advisories"])
@pytest.mark.parametrize("what", ["a file", "a link to nothing"])
def test_a_folder_of_statements_that_is_there_and_cannot_be_listed_is_not_an_empty_one(
    place: str, what: str, world: World, operator: Operator
) -> None:
    folder = world.folder / place
    if folder.exists():
        folder.rmdir()
    folder.write_text("") if what == "a file" else folder.symlink_to("not mounted")
    world.match(world.publish())
    world.quote()
    with pytest.raises(AdvisoriesUnlisted, match=f"{place} cannot be listed") as refused:
        operator.node.tick()
    assert refused.value.remedy
    assert operator.node.status(world.job_id).decision is None
    folder.unlink()
    assert world.decided(operator.node).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize("target", [Target(tee="TDX"), Target(tee="tdx", floor=Floor())])
def test_a_hold_that_names_no_machine_by_a_slip_gives_nothing_to_any_machine_and_is_refused(
    target: Target, world: World, operator: Operator
) -> None:
    operator.hold(targets=(target,))
    world.match(world.publish())
    world.quote()
    with pytest.raises(AdvisoryRefused, match=r"one\.json is no statement about platforms: target 0: "):
        operator.node.tick()
    assert operator.node.status(world.job_id).decision is None
    assert operator.held.held(()) == "the operator's holds do not read"


def test_a_hold_counts_while_the_chain_is_away(
    world: World, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> NoReturn:
        raise ChainUnavailable("http://chain", "no answer")

    operator.node.tick()
    operator.hold()
    with monkeypatch.context() as patched:
        patched.setattr(operator.node._follower, "advance", away)
        with pytest.raises(ChainUnavailable):
            operator.node.tick()
    assert "holds platforms back" in (operator.held.held((PlatformSeen(tee="tdx"),)) or "")


def test_before_the_holds_are_read_nothing_is_given(world: World, operator: Operator) -> None:
    assert operator.held.held_job(world.match(world.publish())) == "the operator's holds are not read yet"


# --- which machines -----------------------------------------------------------------------------------------------

MILAN = PlatformSeen(tee="snp", generation="Milan", platform=Bytes32(b"\x01" * 32), levels={"snp": 8, "microcode": 200})


@pytest.mark.parametrize(
    ("target", "meant"),
    [
        (Target(tee="snp"), True),
        (Target(tee="tdx"), False),
        (Target(tee="snp", generation="Milan"), True),
        (Target(tee="snp", generation="Genoa"), False),
        (Target(tee="snp", platform=MILAN.platform), True),
        (Target(tee="snp", platform=Bytes32(b"\x02" * 32)), False),
        (Target(tee="snp", floor=Floor(levels={"snp": 8})), False),
        (Target(tee="snp", floor=Floor(levels={"snp": 9})), True),
        (Target(tee="snp", floor=Floor(levels={"snp": 8, "unknown": 0})), True),
        (Target(tee="snp", floor=Floor(level_date="2026-01-01")), True),
        (Target(tee="snp", floor=Floor()), False),
    ],
)
def test_a_target_means_the_machines_of_all_that_it_names(target: Target, meant: bool) -> None:
    stated = Advisory(title="t", applies_from=0, targets=(Target(tee="sgx"), target))
    assert (touched(MILAN, stated) is target) == meant


@given(st.dictionaries(st.sampled_from(["snp", "microcode", "tee"]), st.integers(0, 255)))
def test_a_machine_below_a_floor_is_below_every_higher_one(levels: dict[str, int]) -> None:
    higher = {part: min(255, level + 1) for part, level in levels.items()}
    low, high = (
        Advisory(title="t", applies_from=0, targets=(Target(tee="snp", floor=Floor(levels=one)),))
        for one in (levels, higher)
    )
    assert touched(MILAN, low) is None or touched(MILAN, high) is not None


@pytest.mark.parametrize(
    "raw", [b"{}", b'{"version":"sealmarket/advisory/1","title":"t","appliesFrom":0,"targets":[]}']
)
def test_a_statement_about_nothing_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedDocument):
        decode(Advisory, raw)


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


# --- commands and interfaces ----------------------------------------------------------------------------------------


def test_a_statement_is_signed_by_command_and_a_key_that_others_can_read_signs_nothing(tmp_path: Path) -> None:
    stated, key, out = tmp_path / "advisory.json", tmp_path / "issuer.key", tmp_path / "signed.json"
    stated.write_bytes(Advisory(title="t", applies_from=NOW, targets=WHOLE).canonical())
    key.write_text(ISSUER.secret.hex())
    key.chmod(0o644)
    command = ["advise", str(stated), "--key", str(key), "--out", str(out)]
    assert CliRunner().invoke(app, command).exit_code != 0
    assert not out.exists()
    key.chmod(0o600)
    assert CliRunner().invoke(app, command).exit_code == 0
    assert decode(SignedAdvisory, out.read_bytes()).issuer() == address_of(ISSUER.public_key)
    assert CliRunner().invoke(app, command).exit_code != 0, "no file is overwritten"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (Target(tee="TDX"), "tee is 'TDX', expected one of"),
        (Target(tee="snp", generation="milan"), "generation is 'milan', expected one of Milan, Genoa"),
        (Target(tee="tdx", generation="Emerald"), "expected none: this TEE's evidence shows none"),
        (Target(tee="tdx", floor=Floor()), "names nothing"),
        (Target(tee="tdx", floor=Floor(levels={"microcode": 8})), "whose evidence shows none"),
        (Target(tee="snp", floor=Floor(levels={"bootlader": 8})), "expected parts out of fmc, bootloader"),
        (Target(tee="snp", floor=Floor(level_date="2026-01-01")), "whose evidence shows none"),
    ],
)
def test_a_statement_that_means_no_machine_or_every_one_by_a_slip_is_not_signed(
    target: Target, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "advisory.json"
    path.write_bytes(Advisory(title="t", applies_from=NOW, targets=(*WHOLE, target)).canonical())
    with pytest.raises(AdvisoryRefused, match=f"advisory.json.*target 1: .*{said}") as refused:
        sign_advisory(path, ISSUER)
    assert refused.value.remedy


def test_the_parts_that_a_floor_may_name_are_those_that_evidence_shows() -> None:
    assert SnpTcbVersion.parts() == PARTS


@pytest.mark.parametrize("signature", ["", "0xzz", None])
def test_a_signed_statement_that_does_not_read_says_what_is_wrong_with_it(
    signature: str | None, tmp_path: Path
) -> None:
    path, advisory = tmp_path / "signed.json", Advisory(title="t", applies_from=NOW, targets=WHOLE)
    path.write_text(json.dumps({"advisory": to_builtins(advisory), "signature": signature}))
    with pytest.raises(AdvisoryRefused, match=r"signed.json.*(hex|signature)") as refused:
        read_advisory(path)
    assert "unknown field" not in refused.value.message


def test_an_issuer_without_a_key_is_not_told_to_make_a_nodes(tmp_path: Path) -> None:
    with pytest.raises(KeyFileRefused, match="does not exist") as refused:
        advisory_key(tmp_path / "issuer.key")
    assert "the issuer's key" in refused.value.remedy


@pytest.mark.loopback
def test_a_recall_by_command_asks_the_running_node(world: World, operator: Operator, tmp_path: Path) -> None:
    asset = world.publish()
    world.match(asset)
    world.quote()
    world.decided(operator.node)
    signed = operator.drop(key=STRANGER)
    reporter = cast("Reporter", SimpleNamespace(recall=operator.recall))
    with serving_admin(reporter, str(tmp_path / "admin.sock")):
        until("the socket's answer", (tmp_path / "admin.sock").exists)
        command = ["recall", str(operator.folder / "one.json"), str(tmp_path)]
        text = CliRunner().invoke(app, command)
        found = decode(Recall, CliRunner().invoke(app, [*command, "--json"]).stdout.encode())
        with pytest.raises(HttpError, match="422"):
            ask_recall(tmp_path, cast("Advisory", SimpleNamespace(canonical=lambda: b"{}")))
    assert found == operator.recall(signed.advisory)
    for said in (str(world.job_id), str(asset.asset_id), "accepted", "no share released", "1 of 1 jobs"):
        assert said in text.stdout


def test_everyone_sees_which_statements_a_node_applies_and_from_when_on(world: World, operator: Operator) -> None:
    client = Client(create_app(operator.node, Runner(operator.node, 1.0)))
    assert client.get("/v1/advisories").json()["advisories"] == []
    signed, anchored_at = operator.anchored(), world.chain.head().timestamp
    world.chain.finalise()
    operator.look()
    (shown,) = decode(PublishedAdvisories, client.get("/v1/advisories").content).advisories
    assert (shown.signed, shown.issuer) == (signed, address_of(ISSUER.public_key))
    assert (shown.anchored_at, shown.since) == (anchored_at, anchored_at + 1)
