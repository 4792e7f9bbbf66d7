"""The journal and the follower: a node decides once, remembers it, and never follows two histories."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from sealmarket.chain.errors import NodeDistrusted
from sealmarket.chain.follow import Cursor, Follower
from sealmarket.protocol.decisions import Outcome
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, HexBytes
from sealmarket_oracle.errors import ChainRewritten, DecisionConflict, JournalMismatch
from sealmarket_oracle.follower import JournalReader
from sealmarket_oracle.gate.inputs import Decided, EventBlock
from sealmarket_oracle.journal import Journal
from tests.oracle.world import World

OTHERS: dict[str, Any] = {
    "chain_id": 1,
    "market": Address(bytes(20)),
    "signer": Address(b"\x01" * 20),
    "hpke_key": ZERO_HASH,
    "epoch": 2,
    "name": ZERO_HASH,
}


@pytest.mark.parametrize("field", OTHERS)
def test_a_journal_of_another_node_market_chain_epoch_or_name_is_refused(field: str, world: World) -> None:
    world.journal().close()
    other = dataclasses.replace(world.identity(), **{field: OTHERS[field]})
    with pytest.raises(JournalMismatch):
        Journal(world.folder / "node-0.sqlite", other, None)


def test_a_second_decision_on_one_piece_of_evidence_is_refused(world: World) -> None:
    world.match(world.publish())
    world.quote()
    node = world.node()
    decision = world.decided(node)
    signed = node.status(world.job_id).decision
    assert signed is not None
    other = Decided(replace(decision, outcome=Outcome.PLATFORM_REFUSED), signed.detail)
    with pytest.raises(DecisionConflict):
        world.journal().decide(other, b"")


def test_a_decision_stands_though_the_terms_change_afterwards(world: World) -> None:
    asset = world.publish()
    world.match(asset)
    world.quote()
    first = world.decided(world.node())
    world.chain.revoke(asset.asset_id)
    world.chain.finalise()
    assert world.decided(world.node()) == first


def test_a_decision_is_on_disk_before_it_can_be_signed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.match(world.publish())
    world.quote()
    signer = type(world.keys[0].signer)
    with monkeypatch.context() as patched:
        patched.setattr(signer, "sign", lambda *_: pytest.fail("signed before it was written down"))
        world.node().tick()
    held = world.journal().own_decision(world.job_id, world.hash_of_posted(), 1)
    assert held is not None
    assert held.decision.outcome is Outcome.ACCEPTED


def test_the_journal_is_written_through_to_the_disk(world: World, tmp_path: Path) -> None:
    journal = world.journal()
    assert journal._run("PRAGMA synchronous").fetchone()[0] == 2
    assert journal._run("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_what_was_read_and_the_cursor_are_written_together(world: World) -> None:
    journal = world.journal()

    def half() -> None:
        with journal.writing():
            journal.advance(Cursor(7, world.chain.head().hash))
            journal._run("INSERT INTO promises VALUES (x'00', 'both', x'00', 1)")

    with pytest.raises(sqlite3.IntegrityError):
        half()
    assert journal.cursor() is None


def test_a_final_block_that_changed_is_refused(world: World) -> None:
    world.match(world.publish())
    world.quote()
    node = world.node()
    world.decided(node)
    world.chain.rewrite(3)
    with pytest.raises(ChainRewritten, match="use another chain node"):
        node.tick()
    with pytest.raises(ChainRewritten):
        world.node().tick()


def test_a_chain_node_that_is_behind_is_refused_and_may_catch_up(world: World) -> None:
    journal = world.journal()
    follower = Follower(world.chain, JournalReader(journal))
    follower.advance()
    world.chain.mine(3)
    follower.advance()
    world.chain.finality_lag = 3
    with pytest.raises(NodeDistrusted):
        follower.advance()
    world.chain.finality_lag = 1
    assert follower.advance() == world.chain.final()


def test_a_restarted_node_goes_on_where_it_was(world: World) -> None:
    job = world.match(world.publish())
    node = world.node()
    node.tick()
    package = world.package(job)
    world.chain.quote(job, world.hash_of(package))
    world.post(package)
    world.chain.finalise()
    assert world.decided(world.node()).outcome is Outcome.ACCEPTED


def test_the_seal_that_was_published_first_counts(world: World) -> None:
    asset = world.publish()
    journal = world.journal()
    journal.add_seal(asset.asset_id, 1, asset.seal)
    journal.add_seal(asset.asset_id, 1, replace(asset.seal, content_root=asset.seal.policy_hash))
    assert journal.seal(asset.asset_id, 1) == asset.seal


def test_the_evidence_hash_and_the_quorum_that_were_told_first_count(world: World) -> None:
    asset = world.publish()
    job = world.match(asset)
    moment = EventBlock(number=1, hash=world.chain.block(1).hash, timestamp=1)
    journal = world.journal()
    journal.add_job(job, world.spec, moment)
    journal.add_quote(job, asset.seal.hash(), moment, 10)
    journal.add_quote(job, asset.seal.policy_hash, moment, 20)
    record = journal.job(job)
    assert record is not None
    assert (record.evidence_hash, record.decide_by) == (asset.seal.hash(), 10)


def test_the_enclaves_key_is_kept_beside_a_refusal_too(world: World) -> None:
    world.match(world.publish(), purpose=0)
    world.quote()
    decision = world.decided(world.node())
    held = world.journal().own_decision(world.job_id, decision.evidence_hash, 1)
    assert held is not None
    assert held.enclave_key == HexBytes(world.enclave.hpke.public.raw)
