"""A provider is told which of its platforms oracle nodes will refuse, how many say so, and nothing of another's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest
from msgspec.structs import replace

from sealmarket.client.nodes import Nodes
from sealmarket.protocol.book import Member
from sealmarket.protocol.outlook import MOST_OF_PROVIDER, Forecasts, Foreseen
from sealmarket_backend.platforms import ASK_SECONDS, RETRY_SECONDS, Platforms
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.numbers import JobId
from tests.backend.orders import BOOK, NOW, PROVIDER, STRANGER, account

MINE, OTHERS, UNKNOWN = (JobId(Bytes32(bytes([n]) * 32)) for n in (1, 2, 3))
OWNERS = {MINE: account(PROVIDER), OTHERS: account(STRANGER)}


def foreseen(job_id: JobId = MINE, provider: Address | None = None, until: int = NOW, kind: str = "lapse") -> Foreseen:
    named = provider or OWNERS.get(job_id, account(PROVIDER))
    return Foreseen(provider=named, job_id=job_id, tee="tdx", kind=kind, until=until, status="OutOfDate")  # type: ignore[arg-type]


class Market:
    """Nodes that answer what a test says; None where they do not."""

    def __init__(self, *answers: tuple[Foreseen, ...] | None) -> None:
        self.answers, self.asked, self.now = answers, 0, 0.0
        self.platforms = Platforms(cast(Nodes, self), BOOK.committees, self.owner, lambda: self.now)

    def outlooks(self, _members: Sequence[Member]) -> list[Forecasts | None]:
        self.asked += 1
        return [None if one is None else Forecasts(items=one) for one in self.answers]

    def owner(self, job_id: Bytes32) -> Address | None:
        return OWNERS.get(JobId(job_id), account(PROVIDER) if job_id[:1] == b"\x09" else None)

    def said(self) -> list[str]:
        return [one.text for one in self.platforms.of(account(PROVIDER), NOW)]


@pytest.mark.parametrize(
    "one",
    [foreseen(OTHERS), foreseen(OTHERS, account(PROVIDER)), foreseen(UNKNOWN), foreseen(MINE, account(STRANGER))],
    ids=["another's platform", "another's job", "no job", "my job as another's"],
)
def test_nothing_is_told_of_what_is_not_this_providers(one: Foreseen) -> None:
    assert Market((one,)).said() == []


def test_what_is_later_is_not_told_yet() -> None:
    assert Market((foreseen(until=NOW + 1),)).said() == []


@pytest.mark.parametrize(
    "lie",
    [{"until": 0}, {"status": "Revoked"}, {"reasons": ("made up",)}, {"tee": "sgx"}, {"provider": account(STRANGER)}],
    ids=["an earlier end", "another status", "other reasons", "another TEE", "another provider"],
)
def test_what_one_node_makes_up_is_not_shown_as_the_word_of_those_that_say_otherwise(lie: dict[str, Any]) -> None:
    true = foreseen(until=NOW - 5, kind="rating")
    (one,) = Market((replace(true, **lie),), (true,), (true,)).platforms.of(account(PROVIDER), NOW)
    (alone,) = Market((true,), (true,)).platforms.of(account(PROVIDER), NOW)
    assert (one.until, one.text) == (NOW - 5, alone.text.replace("2 of 2", "2 of 3"))


def test_nodes_that_foresee_different_times_are_counted_apart_and_together_for_the_operator() -> None:
    market = Market((foreseen(until=NOW - 2),), (foreseen(until=NOW - 1),), ())
    assert "1 of 3 oracle nodes" in market.said()[0]
    assert market.platforms.count(NOW) == 1


def test_it_is_said_how_many_nodes_say_so_with_the_time_and_what_to_do() -> None:
    market = Market((foreseen(until=NOW - 5),), (foreseen(until=NOW - 5),), (), None)
    (one,) = market.platforms.of(account(PROVIDER), NOW)
    assert (one.kind, one.subject, one.until) == ("platform", MINE, NOW - 5)
    assert "2 of 3 oracle nodes" in one.text
    assert "sealmarket worker doctor" in one.remedy
    rated = foreseen(kind="rating")
    (two,) = Market((rated,)).platforms.of(account(PROVIDER), NOW)
    assert "rated OutOfDate from then on" in two.text
    assert "firmware" in two.remedy


def test_a_node_that_makes_things_up_drowns_no_other_and_is_no_alarm_for_the_operator() -> None:
    lies = tuple(foreseen(JobId(Bytes32(b"\x09" * 31 + bytes([n]))), until=0) for n in range(100))
    market = Market(lies, (foreseen(),), (foreseen(),))
    found = market.said()
    assert len(found) == MOST_OF_PROVIDER
    assert "2 of 3" in found[0]
    assert market.platforms.count(NOW) == 1


def test_nodes_are_asked_now_and_then_and_sooner_where_one_was_silent() -> None:
    for answer, pause in (((), ASK_SECONDS), (None, RETRY_SECONDS)):
        market = Market(answer)
        for _ in range(3):
            market.said()
        assert market.asked == 1
        market.now += pause
        market.said()
        assert market.asked == 2
