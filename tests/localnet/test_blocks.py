"""Blocks of a chain that is kept: each is on disk before the next one is made, whatever fails between the two."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sealmarket.chain.errors import ChainUnavailable
from sealmarket_localnet import blocks
from sealmarket_localnet.blocks import BlockProducer
from tests.patience import PATIENCE


class ChainTwin:
    """A chain whose state is its height. ``happens`` is called before each answer, with the method."""

    def __init__(self, state: Path) -> None:
        self.height, self.state = 0, state
        self.unsaved: list[int] = []
        """For each block that was asked for: how many blocks the file lacked then."""
        self.happens: Callable[[str], None] = lambda _method: None
        self.enough = threading.Event()

    def call(self, method: str, *_: Any) -> Any:
        """Answer as Anvil does."""
        self.happens(method)
        if method == "evm_mine":
            self.unsaved.append(self.height - (int(self.state.read_bytes()) if self.state.exists() else 0))
            self.height += 1
            if self.height >= 20:
                self.enough.set()
            return "0x0"
        if method == "txpool_status":
            return {"pending": "0x1"}
        return "0x" + gzip.compress(b"%d" % self.height).hex()

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def twin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ChainTwin:
    made = ChainTwin(tmp_path / "chain.json")
    monkeypatch.setattr(blocks, "Rpc", lambda _url: made)
    monkeypatch.setattr(blocks, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(blocks, "BLOCK_SECONDS", 0.001)
    return made


def _run(twin: ChainTwin) -> BlockProducer:
    producer = BlockProducer("http://chain.twin", twin.state)
    producer.start()
    twin.enough.wait(PATIENCE)
    producer.stop()
    return producer


def _failing(*turns: int) -> Callable[[str], None]:
    """No answer at the named calls, counted over all methods but the look at what waits."""
    calls = iter(range(10**6))

    def happen(method: str) -> None:
        if method != "txpool_status" and next(calls) in turns:
            raise ChainUnavailable("http://chain.twin", "it is busy")

    return happen


def test_a_chain_that_does_not_answer_any_more_ends_the_production_with_its_error(twin: ChainTwin) -> None:
    twin.happens = _failing(*range(4, 1000))
    producer = BlockProducer("http://chain.twin", twin.state)
    producer.start()
    producer.join(PATIENCE)
    assert isinstance(producer.failed, ChainUnavailable)


def test_a_disk_that_takes_nothing_ends_the_production_with_its_error(twin: ChainTwin) -> None:
    twin.state.mkdir()
    producer = BlockProducer("http://chain.twin", twin.state)
    producer.start()
    producer.join(PATIENCE)
    assert isinstance(producer.failed, OSError)


def test_every_block_is_on_disk_before_the_next_one_is_asked_for(twin: ChainTwin) -> None:
    assert _run(twin).failed is None
    assert set(twin.unsaved) == {0}
    assert int(twin.state.read_bytes()) == twin.height


def test_answers_that_are_lost_now_and_then_never_leave_two_blocks_unsaved(twin: ChainTwin) -> None:
    twin.happens = _failing(2, 3, 5, 9, 10, 11, 16)
    assert _run(twin).failed is None
    assert set(twin.unsaved) == {0}
