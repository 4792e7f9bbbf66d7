"""k of n endpoints: fewer than k liars neither move a node, nor stop it while k others agree."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealmarket.chain import EndpointsDisagree, NodeDistrusted
from sealmarket.chain.errors import (
    AbiMismatch,
    ChainError,
    ChainUnavailable,
    EndpointsRefused,
    Reverted,
    TooFewAgree,
)
from sealmarket.chain.model import Block
from sealmarket.chain.node import TIMEOUT_SECONDS
from sealmarket.chain.quorum import MOST_AHEAD, MOST_BEHIND, ChainTrust
from sealmarket.chain.rpc import LONGEST_REST, LOOK_SECONDS
from sealmarket_enclave.protocol.numbers import BlockNumber
from tests.chain.node import BOOK, error
from tests.chain.test_agreement import GENESIS, HEIGHT, PATIENCE, Replica, Silent, Stage


def stage(*nodes: Replica, agree: int = 0) -> Stage:
    return Stage(*nodes, trust=ChainTrust(agree=agree, proofs=False))


def shown_by_the_last(made: Stage, number: int) -> Block:
    return made.chain.rpc.at("http://node2.twin", lambda: made.chain._at_one(number))


# --- a final block ----------------------------------------------------------------------------------------------


def test_more_endpoints_must_not_agree_than_there_are() -> None:
    with pytest.raises(EndpointsRefused, match="2 endpoints, of which 3 must agree"):
        stage(Replica(), Replica(), agree=3)


@pytest.mark.parametrize("liar", [0, 1])
def test_of_two_endpoints_both_must_agree(liar: int) -> None:
    nodes = [Replica(), Replica()]
    nodes[liar].forked_at = 30
    with pytest.raises(EndpointsDisagree, match=r"node0\.twin has 0x.*node1\.twin has 0x"):
        stage(*nodes).chain.final()


def test_three_endpoints_with_three_chains_are_refused() -> None:
    nodes = [Replica(), Replica(forked_at=30), Replica(forked_at=20)]
    nodes[2].answers["eth_getBlockByNumber"] = lambda tag, full: {
        **nodes[1]._block(tag, full),
        "hash": f"0x{'77' * 32}",
    }
    with pytest.raises(EndpointsDisagree):
        stage(*nodes).chain.final()


def test_a_fabricated_chain_at_two_of_three_is_refused_where_three_must_agree() -> None:
    with pytest.raises(EndpointsDisagree):
        stage(Replica(), Replica(forked_at=30), Replica(forked_at=30), agree=3).chain.final()


def test_one_silent_endpoint_of_two_is_too_few() -> None:
    with pytest.raises(TooFewAgree, match="1 endpoints of the chain can be relied on, expected 2"):
        stage(Replica(), Silent()).chain.final()


@pytest.mark.parametrize("liar", range(3))
def test_an_earlier_block_is_the_one_that_enough_endpoints_have(liar: int) -> None:
    """Or one endpoint could say that the chain was rewritten below what is final, and a node would stop."""
    nodes = [Replica(), Replica(), Replica()]
    made = stage(*nodes)
    true = made.chain.block(20)
    nodes[liar].forked_at = 15
    assert made.chain.block(20) == true
    assert [alarm.endpoint for alarm in made.chain.alarms] == [f"http://node{liar}.twin"]


def test_an_earlier_block_on_which_too_few_agree_is_refused() -> None:
    with pytest.raises(EndpointsDisagree, match="block 20"):
        stage(Replica(), Replica(forked_at=15)).chain.block(20)


def test_no_endpoint_that_answers_is_as_unavailable_as_one_alone() -> None:
    with pytest.raises(ChainUnavailable):
        stage(Silent(), Silent()).chain.final()


@pytest.mark.parametrize("field", ["hash", "parentHash"])
@pytest.mark.parametrize("value", ["0x12", "0x" + "11" * 33, "0x", 7, None])
def test_a_block_whose_hash_is_none_is_the_failure_of_that_endpoint_alone(field: str, value: object) -> None:
    """Whatever its length: an error that is not the endpoint's would end each look at the chain."""
    liar = Replica()
    liar.answers["eth_getBlockByNumber"] = lambda tag, full: Replica._block(liar, tag, full) | {field: value}
    made = stage(liar, Replica(), Replica())
    assert (made.chain.final().number, made.chain.head().number, made.chain.block(20).number) == (38, HEIGHT, 20)
    assert {alarm.endpoint for alarm in made.chain.alarms} == {"http://node0.twin"}


@pytest.mark.parametrize("liar", [0, 1, 2])
@pytest.mark.parametrize("height", [HEIGHT, HEIGHT + 50])
def test_one_of_three_that_lies_is_left_out_and_named(liar: int, height: int, caplog: pytest.LogCaptureFixture) -> None:
    nodes = [Replica(), Replica(), Replica()]
    nodes[liar] = Replica(height, forked_at=30)
    made = stage(*nodes)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            assert made.chain.final() == stage(Replica()).chain.final()
    (alarm,) = [one for one in made.chain.alarms if one.what == "block 38"]
    assert alarm.endpoint == f"http://node{liar}.twin"
    assert alarm.found.startswith(nodes[liar]._block("0x26", False)["hash"])
    assert sum("ALARM" in record.message and "block 38" in record.message for record in caplog.records) == 1


def test_a_true_hash_with_another_time_is_a_lie() -> None:
    liar = Replica()
    liar.answers["eth_getBlockByNumber"] = lambda tag, full: Replica._block(liar, tag, full) | {"timestamp": "0x1"}
    made = stage(liar, Replica(), Replica())
    assert made.chain.final().timestamp == stage(Replica()).chain.final().timestamp
    assert made.chain.head().timestamp == stage(Replica()).chain.head().timestamp


def test_an_endpoint_that_was_left_out_is_asked_nothing() -> None:
    liar = Replica(forked_at=30)
    made = stage(liar, Replica(), Replica())
    made.chain.final()
    asked = made.asked(0)
    assert made.chain.final().number == 38
    assert made.chain.block(30).hash == stage(Replica()).chain.block(30).hash
    assert made.asked(0) == asked


def test_the_newest_block_on_which_enough_agree_counts() -> None:
    assert stage(Replica(33), Replica(), Replica(36)).chain.final().number == 34


def test_one_silent_endpoint_of_three_stops_nothing() -> None:
    made = stage(Silent(), Replica(), Replica())
    assert (made.chain.final().number, made.chain.head().number) == (38, HEIGHT)


def test_a_reader_does_not_go_back_behind_a_final_block() -> None:
    nodes = [Replica(), Replica(), Replica()]
    made = stage(*nodes)
    found = made.chain.final()
    for node in nodes:
        node.height = HEIGHT - 5
    assert made.chain.final() == found


@settings(max_examples=20)
@given(heights=st.lists(st.integers(3, 60), min_size=3, max_size=5), liar=st.integers(0, 2), fork=st.integers(0, 60))
def test_no_liar_alone_makes_a_block_final(heights: list[int], liar: int, fork: int) -> None:
    """Whatever one endpoint shows: what counts is a block of the honest ones, or nothing does."""
    nodes = [Replica(height, forked_at=fork if place == liar else 1 << 40) for place, height in enumerate(heights)]
    made = stage(*nodes)
    made.now = GENESIS + max(heights)
    try:
        found = made.chain.final()
    except (EndpointsDisagree, TooFewAgree):
        return
    assert str(found.hash) == Replica(60)._block(hex(found.number), False)["hash"]


def test_an_endpoint_that_refuses_headers_keeps_no_events_from_a_reader() -> None:
    """It has the final block, so it is asked first; of the blocks before it says nothing."""
    nodes = [Replica(), Replica(), Replica()]
    made = Stage(*nodes, trust=ChainTrust(proofs=True))
    nodes[0].answers["eth_getBlockByNumber"] = lambda tag, full: (
        Replica._block(nodes[0], tag, full) if tag in ("latest", hex(HEIGHT - 2)) else error(-32000, "no")
    )
    assert made.chain.final().number == HEIGHT - 2
    assert made.chain.events(30, HEIGHT - 2) == []
    assert {alarm.endpoint for alarm in made.chain.alarms} == {"http://node0.twin"}


# --- the head ---------------------------------------------------------------------------------------------------


def test_no_head_counts_by_a_clock_that_is_far_behind_the_chain() -> None:
    made = stage(Replica(), Replica(HEIGHT - 1), Replica(HEIGHT - 2))
    made.now = GENESIS + HEIGHT - 3600
    with pytest.raises(TooFewAgree, match="this machine: clock: expected about") as refused:
        made.chain.head()
    assert "clock" in str(refused.value.remedy)


def test_by_a_clock_that_is_far_ahead_every_head_is_as_old_as_it_says() -> None:
    """How old a head may be is for its reader to say; no endpoint is blamed for our clock."""
    made = stage(Replica(), Replica(HEIGHT - 1), Replica(HEIGHT - 2))
    made.now = GENESIS + HEIGHT + 3600
    assert made.now - made.chain.head().timestamp > 3600
    assert list(made.chain.alarms) == []


def test_a_block_of_the_future_at_one_endpoint_moves_no_reader() -> None:
    made = stage(Replica(), Replica(), Replica(HEIGHT + MOST_AHEAD + 1))
    assert made.chain.head().number == HEIGHT
    (alarm,) = made.chain.alarms
    assert (alarm.endpoint, alarm.what) == ("http://node2.twin", "newest block")


def test_an_endpoint_that_stands_still_has_no_say() -> None:
    later = HEIGHT + PATIENCE + 1
    made = stage(Replica(), Replica(later), Replica(later))
    made.now = GENESIS + later
    assert [one.endpoint for one in made.chain.heads(lambda view: view.block)] == [
        "http://node1.twin",
        "http://node2.twin",
    ]
    assert made.chain.alarms[0].endpoint == "http://node0.twin"


@pytest.mark.parametrize("skew", [-MOST_AHEAD, 0, 100 * PATIENCE])
def test_an_endpoint_stands_still_by_the_blocks_of_others_and_not_by_our_clock(skew: int) -> None:
    later = HEIGHT + PATIENCE + 1
    made = stage(Replica(later), Replica(), Replica(later))
    made.now = GENESIS + later + skew
    assert made.chain.head().number == later
    assert {one.endpoint for one in made.chain.heads(lambda view: view.block)} == {
        "http://node0.twin",
        "http://node2.twin",
    }
    assert "http://node1.twin" in {alarm.endpoint for alarm in made.chain.alarms}


def test_one_endpoint_alone_with_a_newer_block_silences_no_other_and_keeps_its_say() -> None:
    """It may have made the block up, or the two others stand still: all have a say against a release, none is asked
    alone, and the alarm names those that may stand still."""
    made = stage(Replica(), Replica(), Replica(HEIGHT + PATIENCE + 1))
    made.now += PATIENCE + 1
    assert len(made.chain.heads(lambda view: view.block)) == 3
    assert made.chain.head().number == HEIGHT
    assert {alarm.endpoint for alarm in made.chain.alarms} == {"http://node0.twin", "http://node1.twin"}


def test_a_clock_that_is_behind_the_blocks_of_enough_endpoints_is_an_alarm() -> None:
    made = stage(Replica(), Replica(), Replica(HEIGHT + MOST_AHEAD + 1))
    made.now -= MOST_BEHIND
    made.chain.head()
    assert "this machine" not in {alarm.endpoint for alarm in made.chain.alarms}
    made.now -= 1
    made.chain.head()
    (alarm,) = [alarm for alarm in made.chain.alarms if alarm.endpoint == "this machine"]
    assert (alarm.what, alarm.found) == ("clock", str(made.now))


def test_a_chain_without_new_blocks_silences_no_endpoint() -> None:
    made = stage(Replica(), Replica(), Replica())
    made.now += 100 * PATIENCE
    assert made.chain.head().number == HEIGHT


def test_fewer_liars_than_must_agree_do_not_move_the_newest_block_forward() -> None:
    made = stage(Replica(HEIGHT + 30), Replica(), Replica())
    assert made.chain.head().number == HEIGHT
    made.nodes[0].height = HEIGHT
    assert made.chain.head().number == HEIGHT


def test_a_newest_block_behind_one_that_enough_had_reached_is_refused() -> None:
    nodes = [Replica(), Replica(), Replica()]
    made = stage(*nodes)
    made.chain.head()
    for node in nodes[1:]:
        node.height = HEIGHT - 1
    with pytest.raises(NodeDistrusted, match=f"{HEIGHT} or later"):
        made.chain.heads(lambda view: view.block)


def test_heads_that_another_thread_sees_move_on_meanwhile_are_no_lie() -> None:
    """Or whoever asks for renewals, which read the heads as well, ends a node's look at the chain."""
    nodes = [Replica(), Replica(), Replica()]
    made = stage(*nodes)
    true = nodes[2]._block

    def moving(tag: str, full: bool) -> object:
        shown = true(tag, full)
        nodes[2].answers["eth_getBlockByNumber"] = true
        for node in nodes:
            node.height = HEIGHT + 1
        assert made.chain.head().number == HEIGHT + 1
        return shown

    nodes[2].answers["eth_getBlockByNumber"] = moving
    assert made.chain.head().number == HEIGHT
    assert made.chain.head().number == HEIGHT + 1


def test_alarms_that_are_over_take_no_room() -> None:
    made = stage(Replica(), Replica(), Replica())
    alarms = made.chain._quorum.alarms if made.chain._quorum else None
    assert alarms is not None
    for number in range(100):
        alarms.sound("http://node0.twin", f"block {number}", "a block", "none", 60.0)
        made.now += 30
    assert len(alarms._standing) <= 2
    assert [alarm.what for alarm in alarms.standing()] == ["block 99"]


def test_the_state_at_every_head_is_read_at_its_own_endpoint() -> None:
    made = stage(Replica(), Replica(HEIGHT + 1), Replica(HEIGHT + 2))
    found = made.chain.heads(lambda view: (made.chain.rpc.asked, view.block.number))
    assert [one.value for one in found] == [(f"http://node{n}.twin", HEIGHT + n) for n in range(3)]


@pytest.mark.parametrize(
    "made_up",
    [
        Reverted("UnknownVersion", {}, "no such version", "ask for one that was published"),
        AbiMismatch("asset", "expected a word"),
        NodeDistrusted("job's slot", "accepted", "ended"),
    ],
)
def test_an_endpoint_whose_head_shows_what_no_contract_has_stops_no_other(made_up: ChainError) -> None:
    """Whoever makes a head up makes its state up: a version that was never published, a word of another shape."""
    made = stage(Replica(), Replica(), Replica())

    def read(_view: object) -> str:
        if made.chain.rpc.asked == "http://node2.twin":
            raise made_up
        return made.chain.rpc.asked

    assert [one.value for one in made.chain.heads(read)] == ["http://node0.twin", "http://node1.twin"]
    assert [alarm.endpoint for alarm in made.chain.alarms] == ["http://node2.twin"]


# --- doubts -----------------------------------------------------------------------------------------------------


def test_an_endpoint_that_made_a_head_up_is_left_out_once_that_height_is_final() -> None:
    nodes = [Replica(), Replica(), Replica(forked_at=HEIGHT)]
    made = stage(*nodes)
    made.chain.doubt("http://node2.twin", shown_by_the_last(made, HEIGHT))
    for node in nodes:
        node.height = HEIGHT + 2
    nodes[2].forked_at = 1 << 40  # it shows the true block now
    made.now += 2
    assert made.chain.final().number == HEIGHT
    assert [alarm.endpoint for alarm in made.chain.alarms] == ["http://node2.twin"]


def test_no_endpoint_vouches_for_a_head_of_its_own() -> None:
    """Whichever is asked first: the block of that height is the one on which enough agree."""
    nodes = [Replica(HEIGHT + 4), Replica(HEIGHT + 4), Replica(HEIGHT + 4)]
    own = Replica(HEIGHT + 4, forked_at=HEIGHT)
    nodes[0].answers["eth_getBlockByNumber"] = lambda tag, full: (
        own if tag == hex(HEIGHT) else Replica(HEIGHT + 4)
    )._block(tag, full)
    made = stage(*nodes)
    made.now += 4
    made.chain.doubt("http://node0.twin", made.chain.rpc.at("http://node0.twin", lambda: made.chain._at_one(HEIGHT)))
    assert made.chain.final().number == HEIGHT + 2
    assert {alarm.endpoint for alarm in made.chain.alarms} == {"http://node0.twin"}


def test_an_endpoint_that_says_nothing_of_a_doubted_block_stops_no_reader() -> None:
    nodes = [Replica(), Replica(), Replica()]
    made = stage(*nodes)
    made.chain.doubt("http://node0.twin", made.chain.rpc.at("http://node0.twin", lambda: made.chain._at_one(HEIGHT)))
    for node in nodes:
        node.height = HEIGHT + 4
    made.now += 4
    nodes[0].answers["eth_getBlockByNumber"] = lambda tag, full: (
        error(-32000, "no") if tag == hex(HEIGHT) else Replica._block(nodes[0], tag, full)
    )
    assert made.chain.final().number == HEIGHT + 2
    nodes[1].answers["eth_getBlockByNumber"] = nodes[0].answers["eth_getBlockByNumber"]
    made.chain.doubt("http://node0.twin", shown_by_the_last(made, HEIGHT))
    assert made.chain.final().number == HEIGHT + 2


def test_an_endpoint_that_alone_had_the_newer_block_is_right_in_the_end() -> None:
    nodes = [Replica(), Replica(), Replica(HEIGHT + 1)]
    made = stage(*nodes)
    made.chain.doubt("http://node2.twin", shown_by_the_last(made, HEIGHT + 1))
    for node in nodes:
        node.height = HEIGHT + 3
    made.now += 3
    assert made.chain.final().number == HEIGHT + 1
    assert list(made.chain.alarms) == []


@pytest.mark.parametrize("height", [HEIGHT + 3, 1 << 60])
def test_a_made_up_head_of_a_height_that_is_never_reached_is_a_lie_by_its_time(height: int) -> None:
    """Otherwise one endpoint of three holds each release back for good."""
    nodes = [Replica(), Replica(), Replica()]
    made = stage(*nodes)
    shown = shown_by_the_last(made, HEIGHT)
    made.chain.doubt("http://node2.twin", replace(shown, number=BlockNumber(height)))
    assert made.chain.final().number == HEIGHT - 2
    assert list(made.chain.alarms) == []
    for node in nodes:
        node.height = HEIGHT + 2
    made.now += 2
    made.chain.final()
    assert list(made.chain.alarms) == []  # a block may have the time of the one before it
    for node in nodes:
        node.height = HEIGHT + 3
    made.now += 1
    made.chain.final()
    (alarm,) = made.chain.alarms
    assert (alarm.endpoint, alarm.found) == ("http://node2.twin", str(GENESIS + HEIGHT))
    asked = made.asked(2)
    made.chain.final()
    assert made.asked(2) == asked


def test_two_accounts_at_one_provider_are_two_endpoints() -> None:
    from sealmarket.chain.rpc import Rpc

    rpc = Rpc("http://a.twin/KEYONE,http://a.twin/KEYTWO")
    assert len({node.url for node in rpc._nodes}) == 2


def test_an_endpoint_without_an_answer_is_asked_again_only_where_too_few_others_answer() -> None:
    broken = Replica()
    broken.answers["eth_getBlockByNumber"] = error(-32000, "no")
    made = stage(broken, Replica(), Replica())
    made.chain.final()
    asked = made.asked(0)
    assert made.chain.final().number == 38
    assert made.asked(0) == asked
    assert BOOK.chain_id == made.chain.chain_id


# --- an endpoint that is slow -----------------------------------------------------------------------------------


class Slow(Replica):
    """A node that gives each answer just within its time."""

    def __init__(self, seconds: float = 19.0, **answers: int) -> None:
        super().__init__(**answers)
        self.seconds = seconds
        self.stage: Stage | None = None

    def handle(self, body: dict[str, Any]) -> dict[str, Any]:
        assert self.stage is not None
        self.stage.passed += self.seconds
        return super().handle(body)


def slow_stage(*nodes: Replica) -> Stage:
    made = stage(*nodes)
    for node in nodes:
        if isinstance(node, Slow):
            node.stage = made
    return made


def one_look(made: Stage) -> float:
    """A node's look: a final block, the head, and again before a release. Returns what it took, in seconds."""
    before = made.passed
    made.chain.final()
    made.chain.heads(lambda view: view.block)
    made.chain.heads(lambda view: view.block)
    return made.passed - before


@pytest.mark.parametrize("place", [0, 2])
def test_an_endpoint_that_answers_just_in_time_slows_one_look_and_rests_ever_longer(place: int) -> None:
    nodes, slow = [Replica(), Replica(), Replica()], Slow(seconds=0.0)
    nodes[place] = slow
    made, looks = slow_stage(*nodes), list[float]()
    one_look(made)
    slow.seconds = 19.0
    for _ in range(150):  # of 75 minutes
        looks.append(one_look(made))
        made.passed += 30
    assert max(looks) <= LOOK_SECONDS + TIMEOUT_SECONDS
    assert sum(seconds > 0 for seconds in looks) <= 8, "rests of 60, 120, 240, 480, and then 960 seconds"


def test_an_endpoint_that_is_slow_for_weeks_stops_no_look() -> None:
    made = slow_stage(Replica(), Replica(), Slow(seconds=31.0))
    for _ in range(1_100):  # each as soon as it rested
        one_look(made)
        made.passed += LONGEST_REST
    assert {alarm.endpoint for alarm in made.chain.alarms} == {"http://node2.twin"}


def test_a_slow_endpoint_is_named_for_as_long_as_it_rests() -> None:
    made = slow_stage(Replica(), Replica(), Slow())
    one_look(made)
    (alarm,) = made.chain.alarms
    assert alarm.endpoint == "http://node2.twin"
    assert "for one look at the chain, expected at most 30 s" in alarm.found


def test_what_a_slow_endpoint_says_at_its_head_counts_while_it_answers() -> None:
    """It speaks against a release within its share of the time; the others do without it only after that."""
    made = slow_stage(Replica(), Replica(), Slow(seconds=4.0))
    assert {found.endpoint for found in made.chain.heads(lambda view: view.block)} == {
        "http://node0.twin",
        "http://node1.twin",
        "http://node2.twin",
    }


@pytest.mark.parametrize("away", [0, 1])
def test_a_slow_endpoint_is_asked_on_where_no_others_are_enough(away: int) -> None:
    """One that is away and one that is slow must not stop a node for which two of three agree."""
    nodes: list[Replica] = [Replica(), Replica(), Slow()]
    nodes[away] = Silent()
    made = slow_stage(*nodes)
    for _ in range(3):
        one_look(made)
    assert {alarm.endpoint for alarm in made.chain.alarms} == {f"http://node{away}.twin"}


def test_endpoints_that_are_all_slow_are_all_asked() -> None:
    made = slow_stage(Slow(), Slow(), Slow())
    for _ in range(3):
        one_look(made)
    assert len({found.endpoint for found in made.chain.heads(lambda view: view.block)}) == 3


def test_a_single_endpoint_has_all_the_time_that_its_answers_take() -> None:
    made = slow_stage(Slow())
    one_look(made)
    assert list(made.chain.alarms) == []
