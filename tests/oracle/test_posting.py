"""Releases on chain: what is posted for a job whose shares were reported missing, and what is not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace

from sealmarket.chain.calls import Call
from sealmarket.chain.errors import Reverted
from sealmarket.operate.releases import ReleasePoster
from sealmarket.protocol.book import Member
from sealmarket.protocol.reasons import reason_bits
from sealmarket.protocol.wire import NodeStatus
from sealmarket_enclave.protocol.codec import Bytes32, HexBytes
from sealmarket_enclave.protocol.job import SharesMissing
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.release import read_release
from sealmarket_oracle.release import core_of
from sealmarket_oracle.service import Node
from tests.oracle.world import World


@dataclass
class Posting:
    """Nodes that released, an account that posts, and what it sent."""

    world: World
    nodes: list[Node]
    sent: list[Call] = field(default_factory=list)
    answers: dict[int, NodeStatus | None] = field(default_factory=dict)
    refuse: bool = False

    def send(self, call: Call) -> None:
        if self.refuse:
            raise Reverted("TooLate", {}, "it is too late", "be quicker")
        self.sent.append(call)

    def ask(self, member: Member, job_id: JobId) -> NodeStatus | None:
        place = self.world.committee.members.index(member)
        return self.answers[place] if place in self.answers else self.nodes[place].status(job_id)

    def post(self) -> int:
        return ReleasePoster(self.world.chain, self.send, self.ask).post(self.world.job_id)

    def indices(self) -> list[Any]:
        return [call.arguments[4] for call in self.sent]


def _report(world: World) -> None:
    missing = SharesMissing(job_id=world.job_id, evidence_hash=world.hash_of_posted(), excluded=0)
    world.chain.report_missing(missing)


@pytest.fixture
def posting(world: World) -> Posting:
    """Three nodes that have released for one job."""
    world.match(world.publish())
    world.quote()
    nodes = [world.node(index) for index in range(3)]
    decisions = [world.decided(node) for node in nodes]
    world.accept(core_of(decisions[0]))
    for node in nodes:
        node.tick()
    return Posting(world, nodes)


def test_nothing_is_posted_for_a_job_that_reported_nothing(posting: Posting) -> None:
    assert posting.post() == 0
    assert posting.sent == []


def test_nothing_is_posted_once_the_window_is_over(posting: Posting) -> None:
    _report(posting.world)
    posting.world.chain.mine(1, seconds=posting.world.spec.decide_window + 1)
    assert posting.post() == 0


def test_what_is_on_chain_already_or_excluded_is_not_posted_again(posting: Posting) -> None:
    _report(posting.world)
    raw = posting.nodes[0].status(posting.world.job_id).release
    assert raw is not None
    release = read_release(raw)
    posting.world.chain.post_release(release)
    excluded = SharesMissing(job_id=release.job_id, evidence_hash=release.evidence_hash, excluded=0b100)
    posting.world.chain.report_missing(excluded)
    assert posting.post() == 1
    assert posting.indices() == [1]


@pytest.mark.parametrize("what", ["another's place", "another job", "another signature", "no release", "no answer"])
def test_a_node_that_answers_with_another_release_costs_no_gas(what: str, posting: Posting) -> None:
    _report(posting.world)
    status = posting.nodes[0].status(posting.world.job_id)
    assert status.release is not None
    release = read_release(status.release)
    wrong = {
        "another's place": replace(release, index=1).raw,
        "another job": replace(release, evidence_hash=Bytes32(bytes(32))).raw,
        "another signature": replace(release, signature=HexBytes(bytes(65))).raw,
        "no release": HexBytes(b"no release"),
    }
    posting.answers[0] = replace(status, release=wrong[what]) if what in wrong else None
    assert posting.post() == 2
    assert posting.indices() == [1, 2]


def test_a_refused_transaction_keeps_no_other_release_from_the_chain(posting: Posting) -> None:
    _report(posting.world)
    posting.refuse = True
    assert posting.post() == 0
    posting.refuse = False
    assert posting.post() == 3


def test_every_nodes_release_is_posted_as_it_was_signed(posting: Posting) -> None:
    _report(posting.world)
    poster = ReleasePoster(posting.world.chain, posting.send, posting.ask)
    head = posting.world.chain.head()
    [(job_id, until)] = poster.reported(0, head.number).items()
    assert (job_id, until) == (posting.world.job_id, head.timestamp + posting.world.spec.decide_window)
    assert poster.post(job_id) == 3
    assert posting.indices() == [0, 1, 2]


def test_a_node_serves_its_release_after_the_job_was_stopped(posting: Posting) -> None:
    world = posting.world
    world.chain.stop(world.job_id, world.hash_of_posted(), reason_bits([225]))
    world.chain.finalise()
    posting.nodes[0].tick()
    assert posting.nodes[0].status(world.job_id).state == "released"


def test_a_job_of_an_epoch_that_the_address_book_lacks_ends_no_poster(
    posting: Posting, caplog: pytest.LogCaptureFixture
) -> None:
    _report(posting.world)
    posting.world.chain.book = replace(posting.world.chain.book, committees=())
    assert (posting.post(), posting.sent) == (0, [])
    assert "has no epoch 1: update it" in caplog.text
