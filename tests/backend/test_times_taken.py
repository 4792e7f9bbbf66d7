"""How long jobs took is said of those that settled at a final block, with the number of them, and of no others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sealmarket.chain.memory import MemoryChain
from sealmarket.protocol.market import TimesTaken, TimeTaken
from sealmarket_backend.index import Index
from sealmarket_backend.tables import Database
from sealmarket_backend.times_taken import NEWEST, summary, times_taken
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.job import Settlement
from sealmarket_enclave.protocol.numbers import Tee
from tests.backend.orders import BOOK, PROVIDER, STRANGER, account
from tests.backend.test_index import EVIDENCE, RECEIPT, RESULT, core, spec, told

WORKLOAD, OTHER = spec().workload_digest, Bytes32(b"\x0f" * 32)


class History:
    """A chain with jobs, and the index that follows it."""

    def __init__(self, database: Database) -> None:
        self.database, self.chain = database, MemoryChain(BOOK)
        self.index = Index(database, self.chain, start=0)
        self._made = 0

    def job(self, seconds: int | None, **changes: object) -> None:
        """A job that settles so many seconds after its match; or that stays accepted."""
        self._made += 1
        matched_at, name = self.chain.head().timestamp + 1, Bytes32(self._made.to_bytes(32, "big"))
        job_id = self.chain.match(replace(spec(), matched_at=matched_at, request_hash=name, **changes))
        self.chain.quote(job_id, EVIDENCE)
        self.chain.decide(core(job_id))
        if seconds is not None:
            self.chain.mine(seconds=seconds - 3)
            self.chain.settle(Settlement(job_id=job_id, result_hash=RESULT, receipt_hash=RECEIPT, units=0, last=True))

    def read(self) -> TimesTaken:
        self.chain.finalise()
        self.index.advance()
        return self.told()

    def told(self) -> TimesTaken:
        return times_taken(self.database, WORKLOAD, spec().tee, account(PROVIDER))


@pytest.fixture
def history(database: Database) -> History:
    return History(database)


def test_without_history_nothing_is_said(history: History) -> None:
    history.job(None)
    assert history.read() == TimesTaken()


def test_what_is_not_final_counts_not_and_what_is_taken_back_counts_no_more(history: History) -> None:
    history.job(None)
    history.read()
    history.job(100)
    history.index.advance()
    assert history.told() == TimesTaken()
    assert history.read().both == TimeTaken(jobs=1, median=100, ninetieth=100)
    history.chain.rewrite(history.chain.finality_lag + 1)
    assert history.read() == TimesTaken()
    with Database(None) as fresh:
        Index(fresh, history.chain, start=0).advance()
        assert told(history.database) == told(fresh)


def test_jobs_count_by_workload_by_provider_and_by_both_on_one_kind_of_tee(history: History) -> None:
    history.job(100)
    history.job(200, workload_digest=OTHER)
    history.job(300, provider=account(STRANGER))
    history.job(400, tee=Tee.SNP if spec().tee is not Tee.SNP else Tee.TDX)
    one, two = TimeTaken(jobs=1, median=100, ninetieth=100), TimeTaken(jobs=2, median=100, ninetieth=200)
    assert history.read() == TimesTaken(both=one, workload=replace(two, ninetieth=300), provider=two)
    assert times_taken(history.database, WORKLOAD, spec().tee, None).provider is None


def test_an_answer_rests_on_the_newest_alone(history: History) -> None:
    history.job(100)
    history.read()
    with history.database.write() as connection:
        for number in range(10, NEWEST + 11):
            connection.execute(
                "INSERT INTO jobs (job_id, request_hash, provider, consumer, status, spec, facts, sequence, workload,"
                " tee, matched_at, settled_at) VALUES (?, ?, ?, ?, 4, ?, ?, ?, ?, ?, 1, 8)",
                (
                    number.to_bytes(32, "big"),
                    number.to_bytes(32, "big"),
                    account(PROVIDER),
                    account(PROVIDER),
                    b"",
                    b"",
                    number,
                    WORKLOAD,
                    int(spec().tee),
                ),
            )
    assert history.told().both == TimeTaken(jobs=NEWEST, median=7, ninetieth=7)


@given(st.lists(st.integers(-5, 10**6), max_size=60))
def test_half_took_no_longer_than_the_middle_and_nine_of_ten_no_longer_than_the_other(seconds: list[int]) -> None:
    found = summary(seconds)
    assert (found is None) == (not seconds)
    if found is not None:
        assert found.jobs == len(seconds)
        assert sum(one <= found.median for one in seconds) * 2 >= len(seconds)
        assert sum(one <= found.ninetieth for one in seconds) * 10 >= 9 * len(seconds)
        assert 0 <= found.median <= found.ninetieth
