"""What a client knows of a market's rules, and how seldom it asks the chain for them."""

from __future__ import annotations

import pytest

from sealmarket.chain.memory import MemoryChain, MemoryView
from sealmarket.client.rules import rules_of
from tests.client.test_owner import BOOK

ENDS_AT = 2_000_000_000


def test_the_end_of_an_epoch_is_seen_within_seconds_and_asked_for_once_in_them(monkeypatch: pytest.MonkeyPatch) -> None:
    chain, now, asked = MemoryChain(BOOK), [0.0], list[int]()
    monkeypatch.setattr("sealmarket.client.rules.time.monotonic", lambda: now[0])
    read = MemoryView.epoch_end

    def counted(view: MemoryView, epoch: int) -> int:
        asked.append(epoch)
        return read(view, epoch)

    monkeypatch.setattr(MemoryView, "epoch_end", counted)
    rules = rules_of(chain)
    assert [rules.ends_of(1), rules.ends_of(1)] == [0, 0]
    chain.end_epoch(1, ENDS_AT)
    assert (rules.ends_of(1), asked) == (0, [1])
    now[0] += 11
    assert (rules.ends_of(1), asked) == (ENDS_AT, [1, 1])


def test_ends_of_epochs_that_seals_alone_name_are_not_asked_for() -> None:
    chain = MemoryChain(BOOK)
    rules = rules_of(chain)
    chain.fall_silent()
    assert [rules.ends_of(epoch) for epoch in (0, 2, 65_535)] == [0, 0, 0]
