"""Tails of peers in a file of fixed slots: damaged, torn, full, lost; and each on disk before it is answered."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes
from sealmarket_oracle.errors import JournalUnwritable, TailsDamaged
from sealmarket_oracle.journal import Journal
from sealmarket_oracle.log.entries import JournalTail, SignedTail, TailStep
from sealmarket_oracle.log.tree import Frontier
from sealmarket_oracle.storage.databases import SqliteDatabase
from sealmarket_oracle.tail_slots import TailSlots
from tests.oracle.journals import IDENTITY, ONE, Member

PEER, OTHER = Address(b"\x01" * 20), Address(b"\x02" * 20)
LEAVES = [Bytes32(bytes([n]) * 32) for n in range(1, 9)]


def tree(size: int, leaves: list[Bytes32] = LEAVES) -> Frontier:
    found = Frontier()
    for leaf in leaves[:size]:
        found = found.append(leaf)
    return found


def tail(size: int, leaves: list[Bytes32] = LEAVES) -> SignedTail:
    root = tree(size, leaves).root
    return SignedTail(tail=JournalTail(journal=ONE, epoch=1, size=size, root=root), signature=HexBytes(bytes(65)))


def step(old: int, new: int, leaves: list[Bytes32] = LEAVES) -> TailStep:
    return TailStep(tail=tail(new, leaves), old=old, peaks=tree(old, leaves).peaks, leaves=tuple(leaves[old:new]))


def kept(slots: TailSlots, *sizes: int, signer: Address = PEER) -> None:
    for size in sizes:
        with slots.turn(signer):
            slots.keep(signer, tail(size))


def slots_of(path: Path) -> TailSlots:
    return TailSlots(path, IDENTITY.digest())


def journal(folder: Path) -> Journal:
    return Journal(folder / "journal.sqlite", IDENTITY, None, tails=slots_of(folder / "tails"))


# --- refusals -------------------------------------------------------------------------------------------------


def test_two_slots_that_are_both_damaged_stop_the_node_with_what_to_do(tmp_path: Path) -> None:
    kept(slots_of(tmp_path / "tails"), 1, 2)
    raw = bytearray((tmp_path / "tails").read_bytes())
    raw[100] ^= 1
    raw[612] ^= 1
    (tmp_path / "tails").write_bytes(raw)
    with pytest.raises(TailsDamaged, match="from byte 0 on") as refused:
        slots_of(tmp_path / "tails")
    assert "move the file away" in (refused.value.remedy or "")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tails").write_bytes(b"notes of the operator" * 50)
    with pytest.raises(TailsDamaged):
        slots_of(tmp_path / "tails")


@pytest.mark.parametrize("other", ["name", "signer", "hpke_key", "market", "chain_id", "epoch"])
def test_the_tails_of_another_node_or_journal_are_refused(other: str, tmp_path: Path) -> None:
    """A file that was put back into the wrong folder would have a node hold its peers to what another one saw."""
    kept(slots_of(tmp_path / "tails"), 1, 2)
    was = getattr(IDENTITY, other)
    values: dict[str, Any] = {other: was + 1 if isinstance(was, int) else type(was)(b"\xee" * len(was))}
    changed = replace(IDENTITY, **values)
    with pytest.raises(TailsDamaged, match="of another node or journal"):
        TailSlots(tmp_path / "tails", changed.digest())
    with pytest.raises(AssertionError, match="another journal's"):
        Journal(tmp_path / "journal.sqlite", changed, None, tails=slots_of(tmp_path / "tails"))


@pytest.mark.parametrize("how", ["removed", "moved away", "replaced"])
def test_a_file_that_goes_while_the_node_runs_is_made_anew_with_all_that_is_held(how: str, tmp_path: Path) -> None:
    path = tmp_path / "tails"
    slots = slots_of(path)
    kept(slots, 1, 2, 3)
    kept(slots, 1, 2, signer=OTHER)
    earlier = path.read_bytes()
    kept(slots, 4, 5)
    if how == "removed":
        path.unlink()
    else:
        path.rename(tmp_path / "elsewhere")
    if how == "replaced":
        path.write_bytes(earlier)
    kept(slots, 3, signer=OTHER)
    again = slots_of(path)
    assert (again.held(PEER), again.held(OTHER)) == (tail(5), tail(3))
    kept(slots, 6)
    assert slots_of(path).held(PEER) == tail(6)
    assert path.stat().st_size == 2048


def test_a_file_that_goes_while_a_tail_is_written_is_written_again_before_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flush = tmp_path / "tails", os.fdatasync
    slots = slots_of(path)
    kept(slots, 1)

    def gone(descriptor: int) -> None:
        flush(descriptor)
        monkeypatch.undo()
        path.unlink()

    monkeypatch.setattr(os, "fdatasync", gone)
    kept(slots, 2)
    assert slots_of(path).held(PEER) == tail(2)


@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
def test_a_tail_that_is_not_on_disk_is_not_answered_as_held(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no room")

    with journal(tmp_path) as held:
        held.keep_peer_tail(PEER, step(0, 1))
        held.keep_peer_tail(PEER, step(1, 2))
        with monkeypatch.context() as broken:
            broken.setattr(os, call, full)
            for _ in range(3):
                with pytest.raises(JournalUnwritable, match="takes no writes"):
                    held.keep_peer_tail(PEER, step(2, 3))
        assert held.keep_peer_tail(PEER, step(2, 4)) == tail(2)
    assert slots_of(tmp_path / "tails").held(PEER) == tail(4)
    assert (tmp_path / "tails").stat().st_size == 1024


def test_a_copy_displaces_no_tail_and_an_older_one_displaces_none(tmp_path: Path) -> None:
    other = [*LEAVES[:2], *LEAVES[4:]]
    with journal(tmp_path) as held:
        for one in (step(0, 1), step(1, 3)):
            held.keep_peer_tail(PEER, one)
        for refused in (step(0, 5, other), step(2, 5, other), step(0, 1), TailStep(tail=tail(2))):
            assert held.keep_peer_tail(PEER, refused) == tail(3)
        assert held.peer_tail(PEER) == tail(3)


def test_slots_that_are_lost_are_an_older_copy_and_not_an_empty_one(tmp_path: Path) -> None:
    with journal(tmp_path) as held:
        for one in (step(0, 1), step(1, 3)):
            held.keep_peer_tail(PEER, one)
    (tmp_path / "tails").unlink()
    with journal(tmp_path) as held:
        assert held.keep_peer_tail(PEER, step(0, 5, LEAVES[::-1])) == tail(1)
        assert held.keep_peer_tail(PEER, step(1, 4)) == tail(1)
    assert slots_of(tmp_path / "tails").held(PEER) == tail(4)


# --- what holds -----------------------------------------------------------------------------------------------


def test_the_greater_of_table_and_slot_counts(tmp_path: Path) -> None:
    with Journal(SqliteDatabase(tmp_path / "journal.sqlite"), IDENTITY, None) as earlier:
        earlier.keep_peer_tail(PEER, step(0, 3))
    kept(slots_of(tmp_path / "tails"), 2)
    with journal(tmp_path) as held:
        assert held.peer_tail(PEER) == tail(3)
        held.keep_peer_tail(PEER, step(3, 5))
    with journal(tmp_path) as held:
        assert held.peer_tail(PEER) == tail(5)


def test_a_torn_write_leaves_the_tail_before(tmp_path: Path) -> None:
    kept(slots_of(tmp_path / "tails"), 1, 2, 3)
    raw = (tmp_path / "tails").read_bytes()
    (third,) = (at for at in (0, 512) if b'"size":3}' in raw[at : at + 512])
    for cut in range(1, 512, 37):
        (tmp_path / "tails").write_bytes(raw[:third] + bytes(cut) + raw[third + cut :])
        assert slots_of(tmp_path / "tails").held(PEER) == tail(2)


def test_a_first_write_that_was_torn_holds_nothing_and_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "tails").write_bytes(b"torn".ljust(1024, b"\x00"))
    slots = slots_of(tmp_path / "tails")
    assert slots.held(PEER) is None
    kept(slots, 1)
    assert slots_of(tmp_path / "tails").held(PEER) == tail(1)


def test_signers_have_slots_of_their_own_and_the_file_grows_by_nothing_else(tmp_path: Path) -> None:
    slots = slots_of(tmp_path / "tails")
    kept(slots, 1)
    kept(slots, 2, signer=OTHER)
    kept(slots, *range(2, 8))
    assert (tmp_path / "tails").stat().st_size == 2048
    assert (tmp_path / "tails").stat().st_mode & 0o777 == 0o600
    again = slots_of(tmp_path / "tails")
    assert (again.held(PEER), again.held(OTHER)) == (tail(7), tail(2))


def test_tails_of_several_signers_are_kept_at_the_same_time(tmp_path: Path) -> None:
    slots = slots_of(tmp_path / "tails")
    signers = [Address(bytes([n]) * 20) for n in range(1, 9)]
    members = [Member(lambda one=one: kept(slots, *range(1, 9), signer=one)) for one in signers]  # type: ignore[misc]
    assert [member.end() for member in members] == [None] * 8
    again = slots_of(tmp_path / "tails")
    assert {again.held(one) for one in signers} == {tail(8)}


@settings(max_examples=20)  # each write waits for the disk
@given(st.lists(st.tuples(st.sampled_from([PEER, OTHER]), st.booleans()), max_size=12))
def test_whatever_is_kept_and_opened_again_the_greatest_is_held(writes: list[tuple[Address, bool]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        slots, sizes = slots_of(Path(folder) / "tails"), dict.fromkeys((PEER, OTHER), 0)
        for signer, opened_again in writes:
            sizes[signer] = min(8, sizes[signer] + 1)
            kept(slots, sizes[signer], signer=signer)
            if opened_again:
                slots = slots_of(Path(folder) / "tails")
            assert all(slots.held(one) == (tail(size) if size else None) for one, size in sizes.items())


_KILLED = """
import os, signal, sys
from pathlib import Path
from tests.oracle.test_tail_slots import PEER, journal, step
folder, at = Path(sys.argv[1]), sys.argv[2]
held = journal(folder)
held.keep_peer_tail(PEER, step(0, 1))
held.keep_peer_tail(PEER, step(1, 2))
plain, die = getattr(os, at), lambda: os.kill(os.getpid(), signal.SIGKILL)
if at == "pwrite":
    setattr(os, at, lambda to, raw, place: (plain(to, raw[:200], place), die()))
else:
    setattr(os, at, lambda *given: die())
held.keep_peer_tail(PEER, step(2, 3))
"""


@pytest.mark.parametrize(("at", "found"), [("pwrite", {2}), ("fdatasync", {2, 3})])
def test_a_node_that_is_killed_while_it_keeps_a_tail_holds_that_or_the_one_before(
    at: str, found: set[int], tmp_path: Path
) -> None:
    done = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path), at], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with journal(tmp_path) as held:
        after = held.peer_tail(PEER)
        assert after is not None
        assert after.tail.size in found
        assert held.keep_peer_tail(PEER, step(after.tail.size, 4)) == after
