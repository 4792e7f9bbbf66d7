"""A journal that is lost, copied or older is noticed before anything is signed; and p26, where that was not so."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from sealmarket.http import HttpError
from sealmarket.protocol.book import Member
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32, HexBytes
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_oracle.errors import JournalLost
from sealmarket_oracle.journal import Journal
from sealmarket_oracle.log.entries import EntryKind, HeldTail, JournalTail, NewEntry, SignedTail, TailStep
from sealmarket_oracle.mark import Tail, TailMark
from sealmarket_oracle.peers import Peers, take_tail
from sealmarket_oracle.service import Node
from sealmarket_oracle.tail_slots import TailSlots
from tests.oracle.signers import Counting
from tests.oracle.world import World

JOB = JobId(keccak(b"job"))


def _names(journal: str) -> tuple[str, ...]:
    return journal, f"{journal}-wal", f"{journal}-shm"


FILES = _names("journal.sqlite")


def _journal(world: World, folder: Path | None = None) -> Journal:
    folder = folder or world.folder
    opened = Journal(folder / "journal.sqlite", world.identity(), TailMark(folder / "journal.mark"))
    return world.closed_with(opened)


def _append(journal: Journal, count: int = 1) -> int:
    return [journal.append(NewEntry(EntryKind.START, block=(1, ZERO_HASH))) for _ in range(count)][-1]


def _copy(world: World, to: Path) -> Path:
    to.mkdir()
    for name in FILES:
        if (world.folder / name).exists():
            shutil.copy(world.folder / name, to / name)
    return to


# --- by the mark beside the journal ---------------------------------------------------------------------------------


def test_a_promise_that_the_mark_lacks_is_not_served_though_peers_hold_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, peers = _node(world, Committee(world), world.folder)
    peers.tell_all()
    _accepted(world, node)
    with monkeypatch.context() as broken:
        broken.setattr(TailMark, "keep", lambda *_: (_ for _ in ()).throw(OSError("the disk fails")))
        with pytest.raises(OSError, match="the disk fails"):
            node.tick()
        peers.tell_all()
        assert [held for _, held, _ in peers.view()] == [peers._journal.head().size] * 2
        found = node.status(world.job_id)
        assert (found.state, found.release) == ("decided", None)
        assert "the mark beside the journal" in found.reason
    world.chain.mine()
    node.tick()
    assert node.status(world.job_id).state == "released"


def test_peers_are_told_between_the_commit_and_the_mark_and_of_no_refusal_to_act(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, seen = _journal(world), list[tuple[str, int]]()
    monkeypatch.setattr(TailMark, "keep", lambda _self, kept: seen.append(("marked", kept.size)))
    journal.on_disk = lambda: seen.append(("told", len(_copied_entries(world))))
    _append(journal)
    journal.defer(JOB, "waits", keccak(b"waits"), (1, ZERO_HASH))
    assert seen == [("told", 1), ("marked", 1), ("marked", 2)]


def _copied_entries(world: World) -> list[object]:
    """The entries of the log that another process would find on the disk."""
    with closing(sqlite3.connect(world.folder / FILES[0])) as other:
        return other.execute("SELECT entry FROM log").fetchall()


def test_a_journal_that_is_absent_is_noticed_by_the_mark_beside_it(world: World) -> None:
    journal = _journal(world)
    _append(journal)
    journal.close()
    for name in FILES:
        (world.folder / name).unlink(missing_ok=True)
    with pytest.raises(JournalLost, match="absent"):
        _journal(world)
    assert not (world.folder / FILES[0]).exists()


def test_an_older_copy_of_the_journal_is_noticed_by_the_mark_beside_it(world: World, tmp_path: Path) -> None:
    journal = _journal(world)
    _append(journal, 2)
    journal.close()
    older = _copy(world, tmp_path / "older")
    journal = _journal(world)
    _append(journal)
    journal.close()
    for name in FILES:
        (world.folder / name).unlink(missing_ok=True)
    shutil.copy(older / FILES[0], world.folder / FILES[0])
    with pytest.raises(JournalLost, match="the 3 that it had"):
        _journal(world)


def test_a_journal_with_other_entries_than_were_marked_is_noticed(world: World) -> None:
    journal = _journal(world)
    _append(journal)
    journal.close()
    mark = TailMark(world.folder / "journal.mark")
    mark.keep(Tail(1, ZERO_HASH))
    mark.keep(Tail(1, ZERO_HASH))
    with pytest.raises(JournalLost, match="other entries"):
        _journal(world)


@pytest.mark.parametrize("raw", [b"\x01" * 144, b"\x00" * 143 + b"\x01"])
def test_a_damaged_mark_is_no_mark(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "mark").write_bytes(raw)
    with pytest.raises(JournalLost, match="damaged"):
        TailMark(tmp_path / "mark").read()


@pytest.mark.parametrize("torn", range(1, 72, 10))
def test_a_mark_that_is_torn_while_it_is_written_leaves_the_one_before(torn: int, tmp_path: Path) -> None:
    mark = TailMark(tmp_path / "mark")
    tails = [Tail(size, keccak(bytes([size]))) for size in (1, 2, 3)]
    for tail in tails[:2]:
        mark.keep(tail)
    before = (tmp_path / "mark").read_bytes()
    mark.keep(tails[2])
    after = (tmp_path / "mark").read_bytes()
    (tmp_path / "mark").write_bytes(after[:torn] + before[torn:])
    assert TailMark(tmp_path / "mark").read() == tails[1]


_KILLED = """
import os, signal, sys
from pathlib import Path
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket.chain.model import Block
from sealmarket_oracle import mark
from sealmarket_oracle.journal import Journal, JournalIdentity, NewPromise
folder, step = Path(sys.argv[1]), sys.argv[2]
one = Bytes32(b"\\x01" * 32)
identity = JournalIdentity(chain_id=1, market=Address(bytes(20)), signer=Address(bytes(20)), hpke_key=one, epoch=1,
                           name=one)
journal = Journal(folder / "journal.sqlite", identity, mark.TailMark(folder / "journal.mark"))
block = Block(1, one, 1, one)
if len(sys.argv) > 3:
    held = journal.promised(JobId(one))
    print(held[0] if held else "nothing", journal.head().size)
    sys.exit()
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
if step == "inside the transaction":
    plain = Journal.append
    Journal.append = lambda *a, **k: (plain(*a, **k), die())
elif step == "before the mark":
    mark.TailMark.keep = die
elif step == "inside the mark":
    os.fdatasync = die
journal.promise(NewPromise(JobId(one), "release", b"{}", block))
die()
"""
STEPS = {
    "inside the transaction": "nothing 0",
    "before the mark": "release 1",
    "inside the mark": "release 1",
    "after the mark": "release 1",
}


@pytest.mark.parametrize("step", STEPS)
def test_a_node_that_is_killed_at_any_step_of_a_promise_has_it_whole_or_not_at_all(step: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _KILLED, str(tmp_path), step]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    again = subprocess.run([*command, "look"], check=True, capture_output=True, text=True)
    assert again.stdout.strip() == STEPS[step]


# --- by what peers hold ---------------------------------------------------------------------------------------------


class Committee:
    """The peers of the first node, in this process: each holds tails in a journal of its own."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.away: set[int] = set()
        self.journals = {n: self._journal(n) for n in (1, 2)}

    def _journal(self, place: int) -> Journal:
        folder = self.world.folder
        identity = self.world.identity(place)
        tails = TailSlots(folder / f"peer-{place}.tails", identity.digest())
        opened = Journal(folder / f"peer-{place}.sqlite", identity, None, tails=tails)
        return self.world.closed_with(opened)

    def tell(self, member: Member, told: TailStep) -> HeldTail:
        place = self.world.committee.members.index(member)
        if place in self.away:
            raise HttpError(f"{member.url} is away", remedy="wait")
        return take_tail(self.journals[place], self.world.book, told)

    def peers(self, journal: Journal) -> Peers:
        """What the first node sees of them."""
        return Peers(self.world.book, self.world.committee, journal, self.world.keys[0].signer, self.tell)


def _node(world: World, committee: Committee, folder: Path) -> tuple[Node, Peers]:
    journal = _journal(world, folder)
    peers = committee.peers(journal)
    node = world.node(journal_of=journal, witnesses=peers)
    return node, peers


def _accepted(world: World, node: Node) -> None:
    world.match(world.publish())
    world.quote()
    world.accept(world.decided(node))


def test_p26_a_node_that_lost_its_journal_does_not_promise_never_to_release_what_it_released(
    world: World, tmp_path: Path
) -> None:
    committee = Committee(world)
    (tmp_path / "first").mkdir()
    node, peers = _node(world, committee, tmp_path / "first")
    peers.tell_all()
    _accepted(world, node)
    node.tick()
    peers.tell_all()
    assert node.status(world.job_id).state == "released"
    asset = world.spec.assets[0].asset_id
    world.chain.revoke(asset)
    world.chain.finalise()
    world.time += 600

    (tmp_path / "second").mkdir()
    lost, peers = _node(world, committee, tmp_path / "second")  # the keys alone: no journal, no mark
    committee.away = {1, 2}
    lost.tick()
    assert (lost.status(world.job_id).state, lost.status(world.job_id).stop) == ("waiting", None)
    assert "before this node started" in lost.status(world.job_id).reason
    committee.away = {1}
    peers.tell_all()
    with pytest.raises(JournalLost, match="new keys"):
        lost.tick()
    assert lost.status(world.job_id).stop is None


def test_a_node_without_its_journal_is_stopped_by_its_own_decision_on_chain_whatever_its_peers_say(
    world: World, tmp_path: Path
) -> None:
    (tmp_path / "first").mkdir()
    node = world.node(journal_of=_journal(world, tmp_path / "first"))
    world.match(world.publish())
    world.quote()
    world.accept(world.decided(node), signers=(0, 1))
    node.tick()
    assert node.status(world.job_id).state == "released"
    (tmp_path / "second").mkdir()
    lost = world.node(journal_of=_journal(world, tmp_path / "second"))
    with pytest.raises(JournalLost, match="with this node's signature"):
        lost.tick()
    assert (lost.status(world.job_id).decision, lost.status(world.job_id).stop) == (None, None)


def test_one_decision_on_chain_that_a_journal_lacks_stops_the_node_though_it_has_the_others_of_that_look(
    world: World, tmp_path: Path
) -> None:
    asset, node, other = world.publish(), world.node(), world.node(journal_of=_journal(world, tmp_path))
    decisions = []
    for decides in (node, node, other):
        world.match(asset)
        world.quote()
        decisions.append(world.decided(decides))
    lacking = decisions[2]
    for decision in (decisions[0], lacking, decisions[1]):
        world.chain.decide(decision, (0, 1))
    world.chain.finalise()
    before = world.journal().cursor()
    with pytest.raises(JournalLost, match=f"no decision on job {lacking.job_id}"):
        node.tick()
    assert world.journal().cursor() == before
    assert [node.status(one.job_id).release for one in decisions] == [None] * 3


def test_a_decision_that_other_nodes_signed_says_nothing_about_this_nodes_journal(world: World) -> None:
    world.match(world.publish())
    world.quote()
    world.accept(world.decided(world.node(1)), signers=(1, 2))
    node = world.node()
    node.tick()
    assert node.status(world.job_id).state == "released"


def test_an_older_journal_whose_mark_is_as_old_is_noticed_by_any_peer_that_holds_its_tail(
    world: World, tmp_path: Path
) -> None:
    committee = Committee(world)
    journal = _journal(world)
    _append(journal, 2)
    committee.peers(journal).tell_all()
    older = _copy(world, tmp_path / "older")
    shutil.copy(world.folder / "journal.mark", older / "journal.mark")
    _append(journal)
    committee.peers(journal).tell_all()
    peers = committee.peers(_journal(world, older))
    peers.tell_all()
    with pytest.raises(JournalLost, match="the 3 that a peer"):
        peers.require_sound()


def test_two_copies_of_a_node_do_not_both_sign(world: World, tmp_path: Path) -> None:
    committee = Committee(world)
    journal = _journal(world)
    _append(journal)
    copy = _journal(world, _copy(world, tmp_path / "copy"))
    _append(journal)
    committee.peers(journal).tell_all()
    copy.append(NewEntry(EntryKind.START, block=(2, ZERO_HASH)))
    peers = committee.peers(copy)
    peers.tell_all()
    with pytest.raises(JournalLost, match="other entries"):
        peers.require_sound()


def test_a_copy_that_has_grown_further_than_the_node_stops_itself_and_not_the_node(
    world: World, tmp_path: Path
) -> None:
    committee = Committee(world)
    journal = _journal(world)
    _append(journal)
    copy = _journal(world, _copy(world, tmp_path / "copy"))
    peers, of_copy = committee.peers(journal), committee.peers(copy)
    _append(journal, 2)
    peers.tell_all()
    for number in range(5):
        copy.append(NewEntry(EntryKind.START, JOB, block=(number, ZERO_HASH)))
    of_copy.tell_all()
    with pytest.raises(JournalLost):
        of_copy.require_sound()
    assert of_copy.holders(0) == 0
    _append(journal)
    peers.tell_all()
    peers.require_sound()
    assert peers.holders(journal.head().size) == 2


def test_a_peer_that_never_takes_the_tail_is_left_after_two_steps_and_the_others_are_asked(world: World) -> None:
    journal, signer = _journal(world), world.keys[0].signer
    _append(journal, 3)

    def own(size: int) -> SignedTail:
        tail = JournalTail(journal=world.identity().name, epoch=1, size=size, root=journal.root_at(size))
        return SignedTail(tail=tail, signature=signer.sign_statement(tail, world.book.chain_id, world.book.market))

    asked: list[int] = []

    def tell(member: Member, step: TailStep) -> HeldTail:
        asked.append(step.old)
        if member != world.committee.members[1]:
            return HeldTail(held=None)
        return HeldTail(held=own(1 if step.old == 2 else 2))  # never the tail that this step grows from

    peers = Peers(world.book, world.committee, journal, signer, tell)
    peers.tell_all()
    assert len(asked) == 3
    assert (peers.holders(3), peers.confirmed) == (1, 1)
    assert [bool(problem) for _, _, problem in peers.view()] == [True, False]


class Forgetful:
    """A peer that takes each tail and shows an earlier one the next time, as one that lies does."""

    def __init__(self, first: SignedTail) -> None:
        self.first, self.asked, self.honest = first, 0, False

    def tell(self, _member: Member, step: TailStep) -> HeldTail:
        self.asked += 1
        return HeldTail(held=None if self.honest or step.old == self.first.tail.size else self.first)


def test_a_peer_that_goes_back_again_and_again_makes_no_node_read_its_log_each_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, signer, now = _journal(world), world.keys[0].signer, 1000.0
    _append(journal, 300)
    tail = JournalTail(journal=world.identity().name, epoch=1, size=2, root=journal.root_at(2))
    signed = SignedTail(tail=tail, signature=signer.sign_statement(tail, world.book.chain_id, world.book.market))
    liar, read = Forgetful(signed), 0
    leaves = journal.leaves

    def counted(size: int, first: int = 0) -> list[Bytes32]:
        nonlocal read
        found = leaves(size, first)
        read += len(found)
        return found

    monkeypatch.setattr(journal, "leaves", counted)
    peers = Peers(world.book, world.committee, journal, signer, liar.tell)
    peers._monotonic = lambda: now
    liar.honest = True
    peers.tell_all()
    liar.honest = False
    read = 0
    for _minute in range(200):
        _append(journal)
        peers.tell_all()
        now += 60
    assert read / (2 * journal.head().size) < 12, "passes over the log for each of two peers"
    assert all("asked again later" in problem for _, _, problem in peers.view())
    peers.require_sound()


def test_a_peer_that_was_put_back_once_is_brought_to_hold_the_tail_at_once(world: World, tmp_path: Path) -> None:
    journal, committee = _journal(world), Committee(world)
    peers = committee.peers(journal)
    _append(journal, 3)
    peers.tell_all()
    _append(journal, 3)
    peers.tell_all()
    files, older = (*_names("peer-1.sqlite"), "peer-1.tails"), tmp_path / "older"
    older.mkdir()
    for name in files:
        shutil.copy(world.folder / name, older)
    first = committee.journals[1].peer_tail(world.keys[0].signer.address)
    _append(journal, 3)
    peers.tell_all()
    committee.journals[1].close()
    for name in files:
        shutil.copy(older / name, world.folder)
    committee.journals[1] = committee._journal(1)
    assert committee.journals[1].peer_tail(world.keys[0].signer.address) == first
    size = _append(journal)
    peers.tell_all()
    assert peers.holders(size) == 2


def test_a_peer_that_goes_away_is_seen_within_a_minute_though_nothing_is_promised(world: World) -> None:
    journal, now, away = _journal(world), 1000.0, False

    def tell(_member: Member, step: TailStep) -> HeldTail:
        if away:
            raise HttpError("no answer", remedy="see to the peer")
        return HeldTail(held=step.tail)

    peers = Peers(world.book, world.committee, journal, world.keys[0].signer, tell)
    peers._monotonic = lambda: now
    size = _append(journal)
    peers.tell_all()
    away = True
    now += 59
    peers.tell_all()
    assert [problem for _, _, problem in peers.view()] == ["", ""], "each look costs a request"
    now += 1
    peers.tell_all()
    assert [(held, problem) for _, held, problem in peers.view()] == [(size, "no answer")] * 2
    away = False
    peers.tell_all()
    assert [problem for _, _, problem in peers.view()] == ["", ""]


def test_a_peer_that_was_put_back_is_brought_to_hold_the_tail_within_a_minute_though_nothing_is_promised(
    world: World,
) -> None:
    journal, committee, now = _journal(world), Committee(world), 1000.0
    peers = committee.peers(journal)
    peers._monotonic = lambda: now
    size = _append(journal, 3)
    peers.tell_all()
    committee.journals[1].close()
    for name in (*_names("peer-1.sqlite"), "peer-1.tails"):
        (world.folder / name).unlink(missing_ok=True)
    committee.journals[1] = committee._journal(1)
    now += 60
    peers.tell_all()
    held = committee.journals[1].peer_tail(world.keys[0].signer.address)
    assert held is not None
    assert held.tail.size == size


def test_peers_that_follow_are_told_of_new_entries_without_a_pass_over_the_log(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, committee = _journal(world), Committee(world)
    peers = committee.peers(journal)
    _append(journal, 3)
    peers.tell_all()
    whole = journal.frontier_at
    monkeypatch.setattr(
        journal, "frontier_at", lambda size: whole(size) if size == journal.head().size else pytest.fail("a pass")
    )
    for _ in range(3):
        size = _append(journal, 2)
        peers.tell_all()
        assert peers.holders(size) == 2


def test_a_tail_is_signed_once_for_all_peers(world: World) -> None:
    journal, committee, signer = _journal(world), Committee(world), Counting(world.keys[0].signer)
    peers = Peers(world.book, world.committee, journal, signer, committee.tell)
    for tails in (1, 2, 3):
        size = _append(journal)
        peers.tell_all()
        assert (peers.holders(size), signer.count) == (2, tails)


def test_what_a_peer_shows_beside_the_tail_that_it_was_told_is_held_against_the_journal(world: World) -> None:
    """A peer that showed the right tails before is believed no more for that."""
    journal, committee, signer = _journal(world), Committee(world), world.keys[0].signer
    peers = committee.peers(journal)
    _append(journal)
    peers.tell_all()
    other = JournalTail(journal=world.identity().name, epoch=1, size=1, root=ZERO_HASH)
    for by, error in ((world.keys[1].signer, None), (signer, JournalLost)):
        shown = SignedTail(tail=other, signature=by.sign_statement(other, world.book.chain_id, world.book.market))
        peers._tell = lambda _member, _told, shown=shown: HeldTail(held=shown)  # type: ignore[misc]
        size = _append(journal)
        peers.tell_all()
        assert peers.holders(size) == 0
        if error is None:
            peers.require_sound()
        else:
            with pytest.raises(error, match="other entries"):
                peers.require_sound()


def test_a_peer_that_was_away_for_thousands_of_entries_is_brought_to_hold_the_tail_in_parts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sealmarket_oracle.peers.MOST_LEAVES_SHOWN", 3)
    committee = Committee(world)
    journal = _journal(world)
    peers = committee.peers(journal)
    for count in (1, 10, 7):
        _append(journal, count)
        peers.tell_all()
        assert peers.holders(journal.head().size) == 2
    assert committee.peers(journal).holders(0) == 0


def test_a_journal_of_another_name_is_noticed_by_a_peer(world: World, tmp_path: Path) -> None:
    committee = Committee(world)
    journal = _journal(world)
    _append(journal)
    committee.peers(journal).tell_all()
    other = JournalTail(journal=ZERO_HASH, epoch=1, size=9, root=ZERO_HASH)
    signer = world.keys[0].signer
    told = SignedTail(tail=other, signature=signer.sign_statement(other, world.book.chain_id, world.book.market))
    held = take_tail(committee.journals[1], world.book, TailStep(tail=told)).held
    assert held is not None
    assert held.tail.journal == world.identity().name
    assert committee.journals[1].peer_tail(signer.address) == held


def test_what_a_peer_makes_up_stops_no_node_and_confirms_nothing(world: World) -> None:
    journal = _journal(world)
    _append(journal)
    forged = JournalTail(journal=ZERO_HASH, epoch=1, size=99, root=ZERO_HASH)
    by_peer = world.keys[1].signer.sign_statement(forged, world.book.chain_id, world.book.market)
    lies: list[Callable[[Member, TailStep], HeldTail]] = [
        lambda _member, _told: HeldTail(held=SignedTail(tail=forged, signature=by_peer)),
        lambda _member, _told: HeldTail(held=SignedTail(tail=forged, signature=HexBytes(bytes(65)))),
    ]
    for lie in lies:
        peers = Peers(world.book, world.committee, journal, world.keys[0].signer, lie)
        peers.tell_all()
        peers.require_sound()
        assert (peers.confirmed, peers.holders(0)) == (0, 0)


def test_a_tail_of_no_member_is_not_held(world: World) -> None:
    tail = JournalTail(journal=ZERO_HASH, epoch=1, size=1, root=ZERO_HASH)
    stranger = SignedTail(tail=tail, signature=HexBytes(bytes(65)))
    with pytest.raises(MalformedDocument):
        take_tail(_journal(world), world.book, TailStep(tail=stranger))
    later = JournalTail(journal=ZERO_HASH, epoch=2, size=1, root=ZERO_HASH)
    signature = world.keys[1].signer.sign_statement(later, world.book.chain_id, world.book.market)
    with pytest.raises(MalformedDocument, match="epoch 2"):
        take_tail(_journal(world), world.book, TailStep(tail=SignedTail(tail=later, signature=signature)))


def test_a_release_is_not_served_before_a_peer_holds_the_tail_with_it(world: World, tmp_path: Path) -> None:
    committee = Committee(world)
    node, peers = _node(world, committee, tmp_path)
    peers.tell_all()
    _accepted(world, node)
    committee.away = {1, 2}
    node.tick()
    peers.tell_all()
    status = node.status(world.job_id)
    assert (status.state, status.release) == ("decided", None)
    assert "1 peers hold" in status.reason
    committee.away = {1}
    peers.tell_all()
    assert node.status(world.job_id).release is not None


def test_what_was_served_once_is_served_after_a_restart_without_any_peer(world: World, tmp_path: Path) -> None:
    committee = Committee(world)
    node, peers = _node(world, committee, tmp_path)
    peers.tell_all()
    _accepted(world, node)
    node.tick()
    peers.tell_all()
    node._journal.close()
    committee.away = {1, 2}
    again, _peers = _node(world, committee, tmp_path)
    assert again.status(world.job_id).release is not None


def test_a_restarted_node_whose_journal_the_peers_confirm_goes_on(world: World, tmp_path: Path) -> None:
    committee = Committee(world)
    node, peers = _node(world, committee, tmp_path)
    peers.tell_all()
    _accepted(world, node)
    peers.tell_all()
    node._journal.close()
    world.time += 600
    again, peers = _node(world, committee, tmp_path)
    committee.away = {2}
    peers.tell_all()
    again.tick()
    assert again.status(world.job_id).state == "decided"
    assert "1 of 2 peers" in again.status(world.job_id).reason
    committee.away = set()
    peers.tell_all()
    again.tick()
    peers.tell_all()
    assert again.status(world.job_id).state == "released"


def test_a_job_that_is_accepted_after_the_start_needs_no_peers_word(world: World, tmp_path: Path) -> None:
    committee = Committee(world)
    world.time = float(world.chain.head().timestamp)
    committee.away = {1, 2}
    node, peers = _node(world, committee, tmp_path)
    node.tick()
    _accepted(world, node)
    node.tick()
    committee.away = {1}
    peers.tell_all()
    assert node.status(world.job_id).state == "released"
