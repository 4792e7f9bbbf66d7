"""Several endpoints of one chain: what they agree on counts, and none is chosen in silence where they do not."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import msgspec
import pytest
from msgspec.structs import replace

from sealmarket.chain import Chain, EndpointsDisagree, NodeDistrusted
from sealmarket.chain.agreement import LEAST_PATIENCE, MOST_PATIENCE, patience_of
from sealmarket.chain.follow import Follower
from sealmarket.chain.quorum import ChainTrust
from sealmarket.protocol.book import FinalityRule
from tests.chain.node import BOOK, Node, block
from tests.chain.test_follow import Reader

HEIGHT = 40
GENESIS = 1_700_000_000
PATIENCE = patience_of(BOOK.timing)


class Replica(Node):
    """A node whose blocks from ``forked_at`` on are others. The chain has a block a second."""

    def __init__(self, height: int = HEIGHT, forked_at: int = 1 << 40) -> None:
        super().__init__(height)
        self.forked_at = forked_at

    def _block(self, tag: str, _full: bool) -> Any:
        number = self.height if tag in ("latest", "finalized") else int(tag, 16)
        return block(number, 1 if number >= self.forked_at else 0) if number <= self.height else None


class Stage:
    """A chain read through several nodes, in the order in which they are asked; ``now`` is our clock."""

    def __init__(self, *nodes: Node, rule: FinalityRule = BOOK.finality, trust: ChainTrust | None = None) -> None:
        self.nodes = nodes
        self.now = GENESIS + HEIGHT
        where = ",".join(f"http://node{place}.twin" for place in range(len(nodes)))
        book = replace(BOOK, finality=rule)
        self.chain = Chain(book, where, trust=trust, pause=lambda _seconds: None, clock=lambda: self.now)
        self.passed = 0.0
        self.chain.rpc._monotonic = lambda: self.passed
        self.chain.rpc.mount(httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        node = self.nodes[int(request.url.host[4:].split(".")[0])]
        return httpx.Response(200, content=msgspec.json.encode(node.handle(msgspec.json.decode(request.content))))

    def asked(self, place: int) -> int:
        return len(self.nodes[place].asked)


class Silent(Replica):
    """A node that is always busy."""

    def handle(self, body: dict[str, Any]) -> dict[str, Any]:
        super().handle(body)
        return {"jsonrpc": "2.0", "id": body["id"], "error": {"code": None, "message": "busy"}}


# --- a final block ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("liar", [0, 1])
def test_two_endpoints_with_two_final_blocks_are_refused_by_name(liar: int) -> None:
    nodes = [Replica(), Replica()]
    nodes[liar].forked_at = 30
    stage = Stage(*nodes)
    with pytest.raises(EndpointsDisagree, match=r"block 38: http://node0.twin has 0x.*, http://node1.twin has 0x"):
        stage.chain.final()


def test_one_of_three_that_lies_is_enough_to_stop() -> None:
    with pytest.raises(EndpointsDisagree, match=r"node2\.twin"):
        Stage(Replica(), Replica(), Replica(forked_at=30)).chain.final()


def test_a_chain_that_runs_ahead_of_an_endpoint_that_keeps_up_does_not_count() -> None:
    """The asked one made blocks of its own up: the other has none there, and another in the place below."""
    with pytest.raises(EndpointsDisagree, match="block 33"):
        Stage(Replica(forked_at=33), Replica(33)).chain.final()


def test_nothing_is_stored_of_a_block_on_which_endpoints_disagree() -> None:
    stage, reader = Stage(Replica(forked_at=30), Replica()), Reader()
    with pytest.raises(EndpointsDisagree):
        Follower(stage.chain, reader).advance()
    assert reader.cursor() is None


def test_an_endpoint_that_keeps_up_a_little_behind_is_waited_for() -> None:
    stage = Stage(Replica(), Replica(33))
    assert stage.chain.final().number == 33
    stage.nodes[1].height = HEIGHT
    assert stage.chain.final().number == 38


def test_an_endpoint_that_stands_still_has_no_say() -> None:
    stage = Stage(Replica(HEIGHT + PATIENCE), Replica(30, forked_at=25))
    stage.now = GENESIS + HEIGHT + PATIENCE
    assert stage.chain.final().number == HEIGHT + PATIENCE - 2


def test_an_endpoint_that_stands_still_and_has_the_block_has_a_say() -> None:
    stage = Stage(Replica(HEIGHT), Replica(HEIGHT, forked_at=30))
    stage.now = GENESIS + 10 * MOST_PATIENCE
    with pytest.raises(EndpointsDisagree):
        stage.chain.final()


def test_an_endpoint_that_does_not_answer_has_no_say_and_is_let_rest(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(Replica(), Silent())
    with caplog.at_level(logging.WARNING):
        for height in range(HEIGHT, HEIGHT + 5):
            stage.nodes[0].height = height
            assert stage.chain.final().number == height - 2
    assert len(caplog.records) == 1
    assert "not compared with" in caplog.text


def test_an_endpoint_of_another_chain_has_no_say() -> None:
    other = Replica(forked_at=0)
    other.answers["eth_chainId"] = "0x1"
    assert Stage(Replica(), other).chain.final().number == 38


def test_what_was_agreed_on_is_not_asked_for_again() -> None:
    stage = Stage(Replica(), Replica())
    stage.chain.final()
    asked = stage.asked(1)
    assert stage.chain.final().number == 38
    assert stage.asked(1) == asked


def test_one_endpoint_alone_is_compared_with_none() -> None:
    stage = Stage(Replica())
    stage.now = GENESIS + 10 * MOST_PATIENCE
    assert (stage.chain.final().number, stage.chain.head().number) == (38, HEIGHT)


@pytest.mark.parametrize("depth", [0, 1])
def test_the_head_itself_is_never_final(depth: int) -> None:
    """Some nodes answer reads at the head's hash from the block that they are mining."""
    stage = Stage(Replica(), rule=FinalityRule(kind="depth", depth=depth))
    assert stage.chain.final().number == HEIGHT - 1


# --- the head ---------------------------------------------------------------------------------------------------


def test_an_endpoint_whose_newest_block_no_longer_moves_is_left_for_the_next(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(Replica(), Replica())
    assert stage.chain.head().number == HEIGHT
    stage.nodes[1].height = HEIGHT + PATIENCE + 1
    stage.now += PATIENCE
    assert stage.chain.head().number == HEIGHT, "not yet"
    stage.now += 1
    with caplog.at_level(logging.WARNING):
        assert stage.chain.head().number == HEIGHT + PATIENCE + 1
    assert "asking http://node1.twin from now on" in caplog.text
    asked = stage.asked(0)
    assert stage.chain.head().number == HEIGHT + PATIENCE + 1
    assert stage.asked(0) == asked


def test_a_chain_without_new_blocks_moves_no_endpoint() -> None:
    stage = Stage(Replica(), Replica())
    stage.now += 10 * MOST_PATIENCE
    assert stage.chain.head().number == HEIGHT
    assert stage.chain.rpc.asked == "http://node0.twin"


def test_an_endpoint_that_claims_more_and_stands_still_itself_is_believed_about_no_block() -> None:
    """It moves the reader once; its final block then meets the other's."""
    stage = Stage(Replica(), Replica(HEIGHT + 1, forked_at=20))
    stage.now += 10 * MOST_PATIENCE
    assert stage.chain.head().number == HEIGHT + 1
    with pytest.raises(EndpointsDisagree):
        stage.chain.final()


def test_the_patience_follows_from_finality_within_bounds() -> None:
    def of(seconds: int) -> int:
        return patience_of(replace(BOOK.timing, finality_seconds=seconds))

    assert [of(1), of(60), of(900)] == [LEAST_PATIENCE, 60, MOST_PATIENCE]


def test_an_endpoint_that_contradicts_itself_is_still_left_for_the_next() -> None:
    liar = Replica()
    liar.answers["eth_getBlockByNumber"] = lambda _tag, _full: block(7)
    stage = Stage(liar, Replica())
    assert stage.chain.block(12).number == 12
    with pytest.raises(NodeDistrusted):
        Stage(liar).chain.block(12)
