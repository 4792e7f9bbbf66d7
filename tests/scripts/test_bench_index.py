"""The measurement of the index is about events of every part of a market, and stores all of them."""

from __future__ import annotations

from scripts.benchmarks import index
from scripts.benchmarks._events import Market, logs_of
from sealmarket.chain import abi
from sealmarket_backend.index import Index
from sealmarket_backend.tables import Database


def test_the_logs_are_of_a_market_in_use_and_each_of_them_gets_a_row() -> None:
    logs = list(logs_of(20))
    names = {abi.load(log.contract).events[log.topics[0]].name for log in logs}
    assert names >= {
        "VersionPublished",
        "JobMatched",
        "JobEnded",
        "ChallengeAnswered",
        "OrderUsed",
        "TabFunded",
        "Staked",
    }
    market = Market(logs, 3)
    with Database(None) as database:
        stored = Index(database, market, start=1)  # type: ignore[arg-type]
        for _ in market.parts():
            stored.advance()
        assert len(database.rows("SELECT * FROM events")) == len(logs)
        assert len(database.rows("SELECT * FROM jobs WHERE status = 5")) == 20


def test_both_sides_are_measured() -> None:
    ours, bare, size = index.measured(4, 2)
    assert ours > 0
    assert bare > 0
    assert size > 1000
