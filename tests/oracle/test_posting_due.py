"""A poster of what nodes signed misses no job: none from before its start, and none of a replaced block."""

from __future__ import annotations

from typing import Any

import pytest

from sealmarket.chain import ChainUnavailable
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_oracle import posting
from sealmarket_oracle.posting import Due

ONE, TWO = (JobId(Bytes32(bytes([n]) * 32)) for n in (1, 2))


class Posters:
    """Stands for both posters: the jobs that events name, by block and deadline, and those that were posted."""

    def __init__(self, **named: tuple[JobId, int, int]) -> None:
        self.named = list(named.values())
        self.asked: list[tuple[int, int]] = []
        self.posted: list[JobId] = []
        self.silent = False

    def reported(self, first: int, last: int) -> dict[JobId, int]:
        if self.silent:
            raise ChainUnavailable("http://node", "it is silent")
        self.asked.append((first, last))
        return {job_id: until for job_id, block, until in self.named if first <= block <= last}

    challenged = reported

    def post(self, job_id: JobId) -> bool:
        self.posted.append(job_id)
        return True


def due(challenges: Posters, first: int = 0) -> Due:
    nothing: Any = Posters()
    found: Any = challenges
    return Due(nothing, found, first)


def test_a_challenge_from_before_the_start_is_answered() -> None:
    challenges = Posters(old=(ONE, 3, 500))
    jobs = due(challenges)
    assert jobs.read(90, 100)
    jobs.post(400)
    assert challenges.posted == [ONE]


def test_a_challenge_whose_time_is_over_is_left() -> None:
    challenges = Posters(old=(ONE, 3, 500))
    jobs = due(challenges)
    assert jobs.read(90, 100)
    jobs.post(501)
    assert challenges.posted == []


def test_a_challenge_in_a_block_that_replaced_one_that_was_read_is_answered() -> None:
    challenges = Posters()
    jobs = due(challenges)
    assert jobs.read(90, 100)
    challenges.named = [(TWO, 95, 500)]
    assert jobs.read(91, 100)
    jobs.post(400)
    assert challenges.posted == [TWO]


def test_many_blocks_are_read_in_parts_and_each_final_one_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "MOST_BLOCKS", 40)
    challenges = Posters()
    jobs = due(challenges)
    turns = [jobs.read(100, 110) for _ in range(3)]
    assert turns == [False, False, True]
    assert challenges.asked == [(0, 39), (40, 79), (80, 110)]
    assert jobs.read(100, 110)
    assert challenges.asked[-1] == (101, 110)


def test_blocks_that_could_not_be_read_are_read_again() -> None:
    challenges = Posters(old=(ONE, 3, 500))
    jobs = due(challenges)
    challenges.silent = True
    with pytest.raises(ChainUnavailable):
        jobs.read(90, 100)
    challenges.silent = False
    assert jobs.read(90, 100)
    jobs.post(400)
    assert challenges.posted == [ONE]
