"""The end of an epoch: keys are destroyed when no job is left, and not before."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealmarket_oracle import node_folder
from sealmarket_oracle.backup import back_up
from sealmarket_oracle.epochs import Over, destroy_keys, require_over
from sealmarket_oracle.errors import EpochNotOver, KeyFileRefused
from sealmarket_oracle.node_folder import KeyPaths
from tests.oracle.world import World, terms

WORD = "nobody types this passphrase"


def test_keys_are_not_destroyed_while_a_job_of_their_epoch_is_open(world: World) -> None:
    world.match(world.publish())
    world.quote()
    with pytest.raises(EpochNotOver, match="are open"):
        require_over(world.chain, world.journal(), 1)


def test_keys_are_not_destroyed_while_a_match_is_not_final(world: World) -> None:
    asset = world.publish()
    world.chain.finalise()
    journal = world.journal()
    assert require_over(world.chain, journal, 1) == Over(1, 1, 1)
    world.match(asset)
    assert world.chain.final().number < world.chain.head().number
    with pytest.raises(EpochNotOver):
        require_over(world.chain, journal, 1)


def test_an_epoch_whose_jobs_are_of_another_one_is_over(world: World) -> None:
    world.match(world.publish())
    world.quote()
    assert require_over(world.chain, world.journal(), 2) == Over(2, 0, 0)


def test_the_operator_learns_which_versions_could_still_be_matched_into_an_epoch_without_keys(world: World) -> None:
    revoked, _open = world.publish(1), world.publish(2)
    world.publish(3, policy_terms=terms(expiry=world.chain.head().timestamp + 2))
    world.chain.revoke(revoked.asset_id)
    world.chain.mine(3)
    world.chain.finalise()
    assert require_over(world.chain, world.journal(), 1) == Over(1, 3, 1)


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
