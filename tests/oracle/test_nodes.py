"""Three nodes of one committee over one chain: one is down, one lies, and the job still ends as the rules say."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from msgspec.structs import replace

from sealmarket.chain.errors import ChainUnavailable, NodeDistrusted
from sealmarket.protocol.decisions import Decision, Outcome
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import SignedDecision, SignedStop
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.signing import recover
from sealmarket_enclave.sealed.errors import WrongShare
from sealmarket_enclave.sealed.shares import Share, join
from sealmarket_oracle.release import core_of
from sealmarket_oracle.service import Node
from tests.oracle.test_release import open_for_enclave
from tests.oracle.world import CHAIN_ID, MARKET, Dealt, World


class Keeper:
    """Collects signed decisions and submits what a quorum signed, as the backend's keeper does."""

    def __init__(self, world: World) -> None:
        self.world = world

    def collect(self, nodes: list[Node]) -> list[SignedDecision]:
        found = []
        for node in nodes:
            node.tick()
            if (decision := node.status(self.world.job_id).decision) is not None:
                found.append(self.checked(decision))
        return found

    def checked(self, signed: SignedDecision) -> SignedDecision:
        signer = recover(signed.decision.digest(CHAIN_ID, MARKET), signed.signature)
        assert signer == self.world.committee.members[signed.index].signer
        return signed

    def submit(self, decisions: list[SignedDecision]) -> Decision | None:
        count = Counter(core_of(signed.decision) for signed in decisions)
        for core, votes in count.items():
            accepts = core.outcome is Outcome.ACCEPTED
            needed = self.world.committee.threshold if accepts else self.world.committee.refusal_threshold
            if votes >= needed:
                self.world.chain_core = core
                self.world.accept(core)
                return core
        return None


def _releases(world: World, nodes: list[Node]) -> list[bytes]:
    found = []
    for node in nodes:
        node.tick()
        if (release := node.status(world.job_id).release) is not None:
            found.append(bytes(release))
    return found


def _start(world: World, **wrong: Any) -> Dealt:
    asset = world.publish()
    world.match(asset)
    world.quote(**wrong)
    return asset


def test_with_two_nodes_down_the_job_waits(world: World) -> None:
    _start(world)
    assert Keeper(world).submit(Keeper(world).collect([world.node(0)])) is None
    assert world.chain.at(world.chain.head()).job(world.spec.request_hash).status is Status.QUOTED


def test_with_one_node_down_the_job_goes_on(world: World) -> None:
    asset = _start(world)
    up = [world.node(0), world.node(2)]
    core = Keeper(world).submit(Keeper(world).collect(up))
    assert core is not None
    releases = _releases(world, up)
    opened = [open_for_enclave(world, asset, release) for release in releases]
    assert join(opened, asset.share_set.commitments) == asset.key


def test_a_node_that_accepted_and_died_is_replaced_by_one_that_comes_back(world: World) -> None:
    asset = _start(world)
    first, second = world.node(0), world.node(1)
    Keeper(world).submit(Keeper(world).collect([first, second]))
    returned = world.node(2)  # the second accepter is gone for good
    releases = _releases(world, [first, returned])
    opened = [open_for_enclave(world, asset, release) for release in releases]
    assert join(opened, asset.share_set.commitments) == asset.key


def test_one_node_that_accepts_everything_opens_nothing(world: World) -> None:
    _start(world, debug=True)
    nodes = [world.node(index) for index in range(3)]
    decisions = Keeper(world).collect(nodes)
    lie = replace(
        decisions[0].decision,
        outcome=Outcome.ACCEPTED,
        enclave_signer=world.enclave.address,
        reasons=type(decisions[0].decision.reasons)(0),
        grade=2,
    )
    signed = replace(decisions[0], decision=lie, signature=world.keys[0].signer.sign_statement(lie, CHAIN_ID, MARKET))
    core = Keeper(world).submit([signed, *decisions[1:]])
    assert core is not None
    assert core.outcome is Outcome.PLATFORM_REFUSED
    assert _releases(world, nodes) == []


def test_a_false_share_is_named_and_the_others_join(world: World) -> None:
    asset = _start(world)
    nodes = [world.node(index) for index in range(3)]
    Keeper(world).submit(Keeper(world).collect(nodes))
    releases = _releases(world, nodes)
    opened = [open_for_enclave(world, asset, release) for release in releases]
    false = Share(opened[1].index, bytes(32), opened[1].salt)
    with pytest.raises(WrongShare) as caught:
        join([opened[0], false, opened[2]], asset.share_set.commitments)
    assert caught.value.index == 2
    assert join([opened[0], opened[2]], asset.share_set.commitments) == asset.key


def test_after_a_revocation_at_the_head_enough_nodes_stop_and_nobody_releases(world: World) -> None:
    asset = _start(world)
    nodes = [world.node(index) for index in range(3)]
    Keeper(world).submit(Keeper(world).collect(nodes))
    world.chain.revoke(asset.asset_id)
    assert _releases(world, nodes) == []
    stops: list[SignedStop] = [s for node in nodes if (s := node.status(world.job_id).stop) is not None]
    assert len(stops) >= world.committee.refusal_threshold
    assert len({stop.stop for stop in stops}) == 1


def test_a_chain_that_goes_away_and_returns_loses_nothing(world: World) -> None:
    _start(world)
    node = world.node(0)
    world.chain.fall_silent()
    with pytest.raises(ChainUnavailable):
        node.tick()
    world.chain.fall_silent(False)
    assert world.decided(node).outcome is Outcome.ACCEPTED


def test_one_job_with_broken_papers_does_not_hold_up_the_others(world: World) -> None:
    broken = world.match(world.publish(1))
    world.quote(broken)
    world.store.packages[broken, world.hash_of_posted()] = b"broken"
    good = world.match(world.publish(2))
    world.quote(good)
    node = world.node(0)
    assert world.decided(node, good).outcome is Outcome.ACCEPTED
    assert node.status(broken).decision is None


def test_a_log_that_does_not_read_stops_no_node_and_no_other_job(world: World) -> None:
    asset = world.publish()
    unread = world.match(asset)
    world.chain._events[-1].clear()
    world.chain.tell_unreadable("Market", "JobMatched", unread)
    world.chain.tell_unreadable("AssetRegistry", "VersionPublished", None)
    world.chain.quote(unread, keccak(b"evidence"))
    job = world.match(asset, purpose=1)
    world.quote(job)
    node = world.node()
    assert world.decided(node, job).outcome is Outcome.ACCEPTED
    status = node.status(unread)
    assert (status.state, status.decision) == ("unknown", None)
    assert "JobMatched" in status.reason


def test_a_quote_without_any_word_of_its_match_still_stops_the_node(world: World) -> None:
    job = world.match(world.publish())
    world.chain._events[-1].clear()
    world.chain.quote(job, keccak(b"evidence"))
    world.chain.finalise()
    with pytest.raises(NodeDistrusted, match="a match before the quote"):
        world.node().tick()
