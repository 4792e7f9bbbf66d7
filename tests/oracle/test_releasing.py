"""Jobs that are accepted together are promised together, each by its own terms at the heads."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from sealmarket.chain.errors import Reverted
from sealmarket.chain.memory import MemoryView
from sealmarket.service.errors import ServiceUnavailable
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_oracle.errors import JournalUnwritable
from sealmarket_oracle.journal import Journal
from sealmarket_oracle.release import core_of
from sealmarket_oracle.service import Node
from sealmarket_oracle.storage.databases import Connection, SqliteDatabase
from tests.oracle.world import Dealt, World


class Disk(SqliteDatabase):
    """A file that counts its commits, and fails when it is full."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.commits, self.full = 0, False

    def commit(self, writer: Connection) -> None:
        self.commits += 1
        if self.full:
            raise sqlite3.OperationalError("database or disk is full")
        super().commit(writer)


class Accepted:
    """Jobs that one node decided on and a quorum accepted, in final blocks that the node has not looked at."""

    def __init__(self, world: World, count: int) -> None:
        self.world, self.disk = world, Disk(world.folder / "journal.sqlite")
        self.journal = world.closed_with(Journal(self.disk, world.identity(), None))
        self.node: Node = world.node(journal_of=self.journal)
        self.assets: list[Dealt] = [world.publish(number) for number in range(1, count + 1)]
        self.jobs: list[JobId] = []
        for asset in self.assets:
            self.jobs.append(world.match(asset))
            package = world.package(self.jobs[-1])
            world.chain.quote(self.jobs[-1], world.hash_of(package))
            world.post(package)
        world.chain.finalise()
        self.node.tick()
        for job in self.jobs:
            decided = self.node.status(job).decision
            assert decided is not None
            world.chain.decide(core_of(decided.decision))
        world.chain.finalise()

    @property
    def states(self) -> list[str]:
        return [self.node.status(job).state for job in self.jobs]


def _count_heads(world: World, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    reads, honest = [0], world.chain.heads

    def counted(read: Any) -> Any:
        reads[0] += 1
        return honest(read)

    monkeypatch.setattr(world.chain, "heads", counted)
    return reads


def test_a_commit_that_fails_promises_nothing_and_a_later_tick_promises_all(world: World) -> None:
    accepted = Accepted(world, 3)
    accepted.node._follower.advance()
    accepted.disk.full = True
    with pytest.raises(JournalUnwritable, match="takes no writes"):
        accepted.node.tick()
    assert accepted.states == ["decided"] * 3
    accepted.disk.full = False
    accepted.node.tick()
    assert accepted.states == ["released"] * 3


def test_a_job_whose_owner_revoked_is_stopped_beside_others_that_are_released(world: World) -> None:
    accepted = Accepted(world, 3)
    world.chain.revoke(accepted.assets[1].asset_id)  # at the head alone
    accepted.node.tick()
    assert accepted.states == ["released", "stopped", "released"]


def test_a_job_whose_state_does_not_read_at_the_head_leaves_the_others_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted, honest = Accepted(world, 3), MemoryView.asset
    odd, final = accepted.assets[1].asset_id, world.chain.final()

    def asset(view: MemoryView, asset_id: Any, version: int) -> Any:
        if asset_id == odd and view.block != final:
            raise Reverted("UnknownVersion", {}, "version 1 was never published", "check")
        return honest(view, asset_id, version)

    monkeypatch.setattr(MemoryView, "asset", asset)
    accepted.node.tick()
    assert accepted.states == ["released", "decided", "released"]
    assert "never published" in accepted.node.status(accepted.jobs[1]).reason


def test_a_share_that_does_not_open_leaves_the_other_jobs_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    accepted = Accepted(world, 3)
    sealed = accepted.assets[1].share_set.members[0].sealed
    accepted.node._releasing._documents._held._items[sealed] = b"other bytes"
    accepted.node.tick()
    assert accepted.states == ["released", "decided", "released"]
    assert "sealed share" in accepted.node.status(accepted.jobs[1]).reason


def test_a_release_waits_for_no_document_but_the_shares(world: World) -> None:
    accepted = Accepted(world, 1)
    policy = accepted.assets[0].seal.policy_hash
    del accepted.node._releasing._documents._held._items[policy], world.store.documents[policy]
    accepted.node.tick()
    assert accepted.states == ["released"]


def _forget_documents(node: Node) -> None:
    """As after a restart: every document is asked of the store again."""
    held = node._releasing._documents._held
    held._items.clear()
    held._size = 0


def test_an_owner_who_revokes_while_a_store_answers_slowly_is_heeded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted, honest = Accepted(world, 2), world.store.find_document
    _forget_documents(accepted.node)
    asked: list[Any] = []

    def slow(name: Any) -> Any:
        if not asked:
            world.chain.revoke(accepted.assets[1].asset_id)  # mined while the store holds its answer back
        asked.append(name)
        return honest(name)

    monkeypatch.setattr(world.store, "find_document", slow)
    accepted.node.tick()
    assert accepted.states == ["released", "stopped"]
    assert asked


def test_nothing_is_asked_of_the_store_once_the_heads_are_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    accepted, honest = Accepted(world, 3), world.chain.heads
    _forget_documents(accepted.node)
    asked = Mock(side_effect=AssertionError("the store is asked after the heads"))

    def heads(read: Any) -> Any:
        monkeypatch.setattr(world.store, "find_document", asked)
        return honest(read)

    monkeypatch.setattr(world.chain, "heads", heads)
    accepted.node.tick()
    assert accepted.states == ["released"] * 3
    assert not asked.called


def test_a_store_that_is_away_holds_releases_up_and_no_stop(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    accepted = Accepted(world, 2)
    _forget_documents(accepted.node)
    away = ServiceUnavailable("store", "https://store.example", "no route")
    monkeypatch.setattr(world.store, "find_document", Mock(side_effect=away))
    world.chain.revoke(accepted.assets[1].asset_id)
    accepted.node.tick()
    assert accepted.states == ["decided", "stopped"]
    assert "does not answer" in accepted.node.status(accepted.jobs[0]).reason


def test_the_committee_is_read_once_for_all_jobs_of_a_look(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    accepted = Accepted(world, 5)
    counted, honest = Mock(), MemoryView.committee_hash

    def committee_hash(view: MemoryView, epoch: int) -> Any:
        counted(epoch)
        return honest(view, epoch)

    monkeypatch.setattr(MemoryView, "committee_hash", committee_hash)
    accepted.node.tick()
    assert (accepted.states, counted.call_count) == (["released"] * 5, 1)


def test_jobs_that_are_accepted_together_cost_one_look_at_the_heads_and_one_commit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted = Accepted(world, 5)
    accepted.node._follower.advance()
    reads, begun = _count_heads(world, monkeypatch), accepted.disk.commits
    accepted.node.tick()
    assert accepted.states == ["released"] * 5
    assert (reads, accepted.disk.commits - begun) == ([1], 1)


def test_the_heads_are_read_anew_after_so_many_releases(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sealmarket_oracle.service.MOST_AT_ONCE", 2)
    accepted = Accepted(world, 5)
    reads = _count_heads(world, monkeypatch)
    accepted.node.tick()
    assert accepted.states == ["released"] * 5
    assert reads == [3]


def test_promises_are_journaled_in_the_order_of_the_jobs(world: World) -> None:
    accepted = Accepted(world, 4)
    accepted.node.tick()
    sizes = [accepted.journal.promise_size(job) for job in accepted.jobs]
    assert sizes == sorted(sizes)
    assert sizes[-1] - sizes[0] == 3
