"""The end of an epoch: keys are destroyed when no job is left, and not before."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealmarket_oracle import node_folder
from sealmarket_oracle.backup import back_up
from sealmarket_oracle.epochs import destroy_keys, require_over
from sealmarket_oracle.errors import EpochNotOver, KeyFileRefused
from sealmarket_oracle.node_folder import KeyPaths
from tests.oracle.world import World

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
    assert require_over(world.chain, journal, 1) == 1
    world.match(asset)
    assert world.chain.final().number < world.chain.head().number
    with pytest.raises(EpochNotOver):
        require_over(world.chain, journal, 1)


def test_an_epoch_whose_jobs_are_of_another_one_is_over(world: World) -> None:
    world.match(world.publish())
    world.quote()
    assert require_over(world.chain, world.journal(), 2) == 0


def test_destroyed_keys_are_gone_and_their_backups_are_listed(tmp_path: Path) -> None:
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
    assert [backup.place for backup in done.backups] == [str(tmp_path / "backup")]
    record = node_folder.load_record(paths.node)
    assert record.destroyed_at > 0
    with pytest.raises(KeyFileRefused):
        node_folder.load_keys(paths, record, WORD)
    assert destroy_keys(paths).record == record
