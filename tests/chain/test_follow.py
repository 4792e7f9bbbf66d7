"""The follower reads each final block once, in ranges, and says so when a block that was final has changed."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from sealmarket.chain import BlockGone, ChainUnavailable, NodeDistrusted, follow
from sealmarket.chain.events import AssetRevoked, ChainEvent
from sealmarket.chain.follow import Cursor, EventRange, Follower, Rewound
from sealmarket.chain.memory import MemoryChain
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import AssetId
from tests.chain.node import BOOK

ASSET = AssetId(keccak(b"asset"))


@dataclass
class Reader:
    """Keeps cursor and events in memory; ``failing`` loses a range as a crash would."""

    last: Cursor | None = None
    events: list[ChainEvent] = field(default_factory=list)
    ranges: list[EventRange] = field(default_factory=list)
    rewinds: list[Rewound] = field(default_factory=list)
    failing: bool = False
    keeping: bool = False

    def cursor(self) -> Cursor | None:
        return self.last

    def store(self, read: EventRange) -> None:
        if self.failing:
            raise OSError("no space left on device")
        self.events += read.events
        self.ranges.append(read)
        self.last = read.end

    def earlier(self) -> list[Cursor]:
        return [read.end for read in reversed(self.ranges)] if self.keeping else []

    def rewind(self, rewound: Rewound) -> None:
        self.rewinds.append(rewound)
        kept = [read for read in self.ranges if read.end.number <= rewound.to_block] if self.keeping else []
        self.ranges, self.events = kept, [event for read in kept for event in read.events]
        self.last = kept[-1].end if kept else None


@pytest.fixture
def chain() -> MemoryChain:
    return MemoryChain(BOOK, finality_lag=2)


def revocations(chain: MemoryChain, count: int) -> None:
    for version in range(1, count + 1):
        chain.revoke(ASSET, version)


def versions(reader: Reader) -> list[int]:
    return [event.version for event in reader.events if isinstance(event, AssetRevoked)]


def test_a_node_that_is_behind_is_refused_and_may_catch_up(chain: MemoryChain) -> None:
    reader = Reader()
    follower = Follower(chain, reader)
    chain.mine(6)
    follower.advance()
    chain.finality_lag = 4
    with pytest.raises(NodeDistrusted, match="is 2, expected 4 or later"):
        follower.advance()
    chain.finality_lag = 2
    assert follower.advance() == chain.final()
    assert reader.rewinds == []


def test_a_rewritten_block_is_reported_and_everything_is_read_again(chain: MemoryChain) -> None:
    reader = Reader()
    revocations(chain, 3)
    chain.finalise()
    follower = Follower(chain, reader)
    follower.advance()
    known = chain.final()
    chain.rewrite(4)
    chain.revoke(ASSET, 9)
    chain.finalise()
    follower.advance()
    (rewound,) = reader.rewinds
    assert rewound.cursor == Cursor(known.number, known.hash)
    assert rewound.found == chain.block(known.number).hash
    assert rewound.to_block == BOOK.deployed_at - 1
    assert versions(reader) == [1, 9]


@pytest.mark.parametrize("depth", range(1, 65))
def test_a_reader_that_keeps_cursors_reads_again_only_what_changed(chain: MemoryChain, depth: int) -> None:
    reader = Reader(keeping=True)
    follower = Follower(chain, reader)
    for version in range(1, 71):
        chain.revoke(ASSET, version)
        follower.advance()
    for _ in range(chain.finality_lag):
        chain.mine()
        follower.advance()
    chain.rewrite(depth + chain.finality_lag)
    chain.revoke(ASSET, 99)
    chain.finalise()
    follower.advance()
    (rewound,) = reader.rewinds
    assert rewound.to_block == 70 - depth
    assert versions(reader) == [*range(1, 71 - depth), 99]


def test_the_newest_blocks_have_a_cursor_of_their_own_below_them(chain: MemoryChain) -> None:
    reader = Reader()
    chain.mine(202)
    Follower(chain, reader).advance()
    assert [read.end.number for read in reader.ranges] == [200 - follow.NEWEST, 200]


def test_a_reader_that_raises_on_a_rewind_stops_for_good(chain: MemoryChain) -> None:
    class Strict(Reader):
        def rewind(self, rewound: Rewound) -> None:
            raise BlockGone(rewound.cursor.number, rewound.cursor.hash, rewound.found)

    reader = Strict()
    chain.mine(5)
    follower = Follower(chain, reader)
    follower.advance()
    chain.rewrite(5)
    for _ in range(2):
        with pytest.raises(BlockGone):
            follower.advance()
    assert len(reader.ranges) == 1


def test_an_event_of_a_block_that_is_gone_is_refused(chain: MemoryChain, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader()
    revocations(chain, 1)
    chain.mine(4)
    stale = chain.events(0, 5)
    chain.rewrite(5)
    monkeypatch.setattr(chain, "events", lambda _first, _last: stale)
    with pytest.raises(BlockGone):
        Follower(chain, reader).advance()
    assert reader.last is None


def test_what_could_not_be_stored_is_read_again(chain: MemoryChain) -> None:
    reader = Reader(failing=True)
    revocations(chain, 2)
    chain.finalise()
    follower = Follower(chain, reader)
    with pytest.raises(OSError, match="no space"):
        follower.advance()
    reader.failing = False
    chain.fall_silent()
    with pytest.raises(ChainUnavailable):
        follower.advance()
    chain.fall_silent(False)
    follower.advance()
    assert versions(reader) == [1, 2]


def test_a_restart_goes_on_after_the_stored_cursor(chain: MemoryChain) -> None:
    reader = Reader()
    revocations(chain, 2)
    chain.finalise()
    Follower(chain, reader).advance()
    chain.revoke(ASSET, 3)
    chain.finalise()
    Follower(chain, reader).advance()
    assert versions(reader) == [1, 2, 3]


def test_many_blocks_are_read_in_ranges_with_a_cursor_each(chain: MemoryChain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "MAX_RANGE", 4)
    reader = Reader()
    revocations(chain, 9)
    chain.finalise()
    Follower(chain, reader).advance()
    assert [read.end.number for read in reader.ranges] == [4, 8, 9]
    assert all(read.end.hash == chain.block(read.end.number).hash for read in reader.ranges)
    assert versions(reader) == list(range(1, 10))


def test_a_reader_far_behind_gets_on_at_a_node_that_fails_now_and_then(
    chain: MemoryChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One block in thirty cannot be read: no range of many is ever read whole."""
    chain.mine(600)
    reader, chance, read = Reader(), random.Random(1), chain.events

    def events(first: int, last: int) -> list[ChainEvent]:
        if any(chance.random() < 1 / 30 for _ in range(first, last + 1)):
            raise ChainUnavailable("http://node", "timeout")
        return read(first, last)

    monkeypatch.setattr(chain, "events", events)
    follower = Follower(chain, reader)
    for _turn in range(200):
        with suppress(ChainUnavailable):
            follower.advance()
            break
    assert reader.last is not None
    assert reader.last.number == chain.final().number


def test_what_is_not_final_is_not_read(chain: MemoryChain) -> None:
    reader = Reader()
    chain.mine(2)
    revocations(chain, 1)
    Follower(chain, reader).advance()
    assert reader.events == []
    chain.finalise()
    Follower(chain, reader).advance()
    assert versions(reader) == [1]
    assert reader.ranges[-1].block_of(reader.events[0]).timestamp == chain.block(3).timestamp
