"""A node's clock that is wrong takes no old head for a new one."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.chain.model import Block
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import BlockNumber
from sealmarket_oracle.errors import StaleChain
from sealmarket_oracle.head_clock import HeadClock

MOST = 300
START = 1_700_000_000


@dataclass
class Scene:
    """``skew``: seconds by which the node's clock differs from the true time; ``passed``: seconds since the start."""

    skew: float = 0.0
    passed: float = 0.0

    def __post_init__(self) -> None:
        self.present = HeadClock(MOST, lambda: START + self.passed + self.skew, lambda: 17.0 + self.passed)

    def head(self, age: float = 0) -> Block:
        return Block(BlockNumber(7), keccak(b"block"), int(START + self.passed - age), keccak(b"parent"))


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_head_that_is_too_old_is_refused(scene: Scene) -> None:
    scene.present.require_recent(scene.head(age=MOST).timestamp)
    with pytest.raises(StaleChain, match="301 seconds old"):
        scene.present.require_recent(scene.head(age=MOST + 1).timestamp)


def test_a_clock_that_is_behind_takes_no_old_head_for_a_new_one_once_it_saw_a_newer(scene: Scene) -> None:
    scene.skew = -50
    scene.present.require_recent(scene.head(age=MOST + 1).timestamp)  # all that it knows is its own clock
    scene.present.saw(scene.head())
    with pytest.raises(StaleChain):
        scene.present.require_recent(scene.head(age=MOST + 1).timestamp)


def test_a_clock_that_is_set_back_while_a_node_runs_makes_no_head_newer(scene: Scene) -> None:
    """A machine that is put back to a snapshot, or a time server that lies."""
    old = scene.head()
    scene.present.saw(old)
    scene.passed, scene.skew = MOST + 1, -86_400
    with pytest.raises(StaleChain):
        scene.present.require_recent(old.timestamp)


def test_a_clock_that_is_ahead_makes_every_head_old(scene: Scene) -> None:
    scene.present.saw(scene.head())
    scene.skew = MOST + 1
    with pytest.raises(StaleChain):
        scene.present.require_recent(scene.head().timestamp)


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(-4000, 4000), st.integers(0, 200)), min_size=1, max_size=20)
)
def test_whatever_a_clock_does_no_head_counts_that_is_older_than_allowed_and_than_the_oldness_of_what_was_seen(
    steps: list[tuple[int, int, int]],
) -> None:
    """Each step: seconds that pass, where the clock stands then, and how old the head is that enough show."""
    scene, best = Scene(), float("inf")
    for passed, skew, age in steps:
        scene.passed, scene.skew = scene.passed + passed, skew
        scene.present.saw(scene.head(age))
        best = min(best, age)
        with pytest.raises(StaleChain):
            scene.present.require_recent(scene.head(MOST + best + 2).timestamp)
