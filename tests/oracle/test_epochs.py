"""The end of an epoch: keys are destroyed when the chain ended it and no job is left, and not before."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from sealmarket.chain.model import Account, FeeBook
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address, Wei
from sealmarket_oracle import node_folder
from sealmarket_oracle.backup import back_up
from sealmarket_oracle.epochs import Over, Seat, destroy_keys, require_over
from sealmarket_oracle.errors import EpochGoesOn, EpochNotOver, KeyFileRefused
from sealmarket_oracle.node_folder import KeyPaths
from tests.oracle.test_challenges import Scene
from tests.oracle.world import CONSUMER, World

WORD = "nobody types this passphrase"


SEAT = Seat(Address(b"\x05" * 20), 0)


def end(world: World, epoch: int = 1) -> int:
    """Announce an end ten seconds ahead, and return its second."""
    ends_at = world.chain.head().timestamp + 10
    world.chain.end_epoch(epoch, ends_at)
    return ends_at


def pass_by(world: World, second: int) -> None:
    """Until a final block lies behind a second."""
    while world.chain.final().timestamp <= second:
        world.chain.mine()


def test_keys_are_not_destroyed_before_the_chain_ends_their_epoch(world: World) -> None:
    world.publish()
    world.chain.finalise()
    end(world, epoch=2)
    with pytest.raises(EpochGoesOn, match=r"epoch 1 has no end.*end-epoch"):
        require_over(world.chain, world.journal(), 1, SEAT)


def test_keys_are_not_destroyed_before_a_final_block_lies_behind_the_end(world: World) -> None:
    journal, ends_at = world.journal(), end(world)
    while world.chain.head().timestamp <= ends_at:
        world.chain.mine()
    assert world.chain.final().timestamp == ends_at  # a match may stand in a block of that second, and in no later one
    with pytest.raises(EpochGoesOn, match=r"ends at .*, and the newest final block is of"):
        require_over(world.chain, journal, 1, SEAT)
    world.chain.mine()
    assert require_over(world.chain, journal, 1, SEAT) == Over(1, ends_at, Wei(0), 0)


def test_keys_are_not_destroyed_by_an_end_that_a_reorganisation_took_back(world: World) -> None:
    journal = world.journal()
    world.chain.finalise()
    ends_at = end(world)
    world.chain.reorganise(1)
    world.chain.mine(2, seconds=ends_at)
    world.chain.finalise()
    with pytest.raises(EpochGoesOn, match="has no end"):
        require_over(world.chain, journal, 1, SEAT)


def test_keys_are_not_destroyed_while_a_job_of_their_epoch_is_open(world: World) -> None:
    world.match(world.publish())
    world.quote()
    end(world)
    world.chain.mine(2, seconds=3_600)
    world.chain.finalise()
    with pytest.raises(EpochNotOver, match="are open"):
        require_over(world.chain, world.journal(), 1, SEAT)


def test_keys_are_not_destroyed_while_a_result_of_their_epoch_can_be_challenged(world: World, tmp_path: Path) -> None:
    scene, ends_at = Scene(world, tmp_path), end(world)
    scene.settle()
    pass_by(world, ends_at)
    with pytest.raises(EpochNotOver, match=r"1 results of epoch 1 can be challenged, or are, until .*run the node"):
        require_over(world.chain, world.journal(), 1, SEAT)
    world.chain.challenge(world.job_id, CONSUMER, Wei(6))
    world.chain.finalise()
    with pytest.raises(EpochNotOver, match="can be challenged"):
        require_over(world.chain, world.journal(), 1, SEAT)
    for node in scene.opened:
        node.close()


def test_keys_may_go_once_a_final_block_lies_behind_the_last_answer_to_a_challenge(
    world: World, tmp_path: Path
) -> None:
    scene, ends_at = Scene(world, tmp_path), end(world)
    scene.challenge()
    deadline = world.chain.at(world.chain.final()).job(world.spec.request_hash).deadline
    pass_by(world, deadline - 1)
    with pytest.raises(EpochNotOver, match="can be challenged"):
        require_over(world.chain, world.journal(), 1, SEAT)
    pass_by(world, deadline)
    assert require_over(world.chain, world.journal(), 1, SEAT).ends_at == ends_at
    for node in scene.opened:
        node.close()


def test_an_epoch_whose_jobs_are_of_another_one_is_over(world: World) -> None:
    world.match(world.publish())
    world.quote()
    ends_at = end(world, epoch=2)
    world.chain.mine(2, seconds=3_600)
    world.chain.finalise()
    assert require_over(world.chain, world.journal(), 2, SEAT).ends_at == ends_at


def test_the_operator_learns_what_the_signing_key_alone_can_take_out(world: World) -> None:
    end(world)
    world.chain.set_account(ZERO_ADDRESS, SEAT.signer, Account(Wei(7), Wei(0)))
    world.chain.set_fee_book(1, ZERO_ADDRESS, FeeBook(Wei(3), 3, 2, (5, 0, 9)))
    world.chain.mine(2, seconds=3_600)
    world.chain.finalise()
    journal = world.journal()
    over = require_over(world.chain, journal, 1, SEAT)
    assert (over.free, over.unclaimed) == (7, 5)
    assert require_over(world.chain, journal, 1, Seat(SEAT.signer, None)).unclaimed == 0


def test_a_node_finds_its_place_in_the_committee_of_its_own_epoch(world: World, tmp_path: Path) -> None:
    node_folder.make(tmp_path / "node", "http://node", 1, WORD, light=True)
    record = node_folder.load_record(KeyPaths.in_folder(tmp_path / "node").node)
    member = world.committee.members[2]
    assert Seat.of(world.book, replace(record, member=member)) == Seat(member.signer, 2)
    assert Seat.of(world.book, replace(record, member=member, epoch=2)) == Seat(member.signer, None)


@pytest.mark.parametrize("odd", ["another file", "a link", "one of two"])
def test_what_is_not_the_backup_that_was_tried_is_left_alone_and_listed(odd: str, tmp_path: Path) -> None:
    folder, place = tmp_path / "node", tmp_path / "backup"
    node_folder.make(folder, "http://node", 1, WORD, light=True)
    paths = KeyPaths.in_folder(folder)
    back_up(paths, place, WORD)
    kept = place / paths.hpke.name
    if odd == "another file":
        kept.write_bytes(b"notes of the operator")
    elif odd == "a link":
        kept.rename(tmp_path / "elsewhere")
        kept.symlink_to(tmp_path / "elsewhere")
    else:
        kept.unlink()
    before = {path: path.read_bytes() for path in place.iterdir()}
    done = destroy_keys(paths)
    assert {path: path.read_bytes() for path in place.iterdir()} == before
    assert [backup.place for backup in done.left] == [str(place)]
    assert set(done.files) == {paths.signer, paths.hpke}


def test_destroyed_keys_are_gone_with_the_backups_that_are_in_reach(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    node_folder.make(folder, "http://node", 1, WORD, light=True)
    paths = KeyPaths.in_folder(folder)
    back_up(paths, tmp_path / "backup", WORD)
    secret = paths.hpke.read_bytes()
    held = paths.hpke.open("rb")  # what another process or a link still sees of the file
    done = destroy_keys(paths)
    with held:
        assert held.read() != secret
    assert [path.exists() for path in (paths.signer, paths.hpke)] == [False, False]
    assert not done.left
    assert {path.name for path in (tmp_path / "backup").iterdir()} == {paths.node.name}
    record = node_folder.load_record(paths.node)
    assert record.destroyed_at > 0
    with pytest.raises(KeyFileRefused):
        node_folder.load_keys(paths, record, WORD)
    again = destroy_keys(paths)
    assert (again.record, again.files) == (record, ())
