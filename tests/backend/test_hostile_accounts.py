"""Accounts that have the keeper send what fails cost it a bounded part of a day, and take no honest account's turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from sealmarket.chain.model import Account, Unbonding
from sealmarket_backend.locked import MOST_STRANGER
from sealmarket_backend.matcher import IN_LINE
from sealmarket_backend.spending import DAY_SECONDS, GWEI, KeeperSettings
from sealmarket_backend.tables import Database
from sealmarket_backend.waits import FIRST_SECONDS
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Bytes32, Wei
from tests.backend.orders import CONSUMER, PROVIDER, account, state_of
from tests.backend.turncoats import MATCH_GAS, MIDNIGHT, REFUSED_GAS, Turncoats, key

DAY = KeeperSettings(gas_gwei_per_day=20_000_000)
"""Of which strangers' matches get 2,500,000: thirteen, or twenty-seven that are refused."""
FOR_STRANGERS = 2_500_000
TURNS = 24
"""Of a day."""
REGULAR, NEWCOMER = key(900), key(901)


Opens = Callable[[KeeperSettings], Turncoats]


@pytest.fixture
def opens() -> Iterator[Opens]:
    """Markets whose tables are closed with the test."""
    with ExitStack() as opened:
        yield lambda settings: Turncoats(opened.enter_context(Database(None)), settings)


@pytest.fixture
def market(opens: Opens) -> Turncoats:
    return opens(DAY)


def hours(market: Turncoats, *asked: Bytes32) -> list[float]:
    """How long each request waited for its match."""
    assert all(one in market.matched_at for one in asked), [state_of(market.book, one) for one in asked]
    return [market.matched_at[one] / 3600 for one in asked]


def test_an_account_whose_matches_fail_has_one_tried_at_a_time_and_after_longer_and_longer(market: Turncoats) -> None:
    market.offer()
    market.hostile = {account(CONSUMER)}
    for salt in range(20):
        market.ask(CONSUMER, salt, "hostile")
    tried = []
    for _ in range(TURNS):
        market.turn(DAY_SECONDS / TURNS - 0.01)
        tried.append(market.refused_by[account(CONSUMER)])
    doublings = int(DAY_SECONDS / FIRST_SECONDS).bit_length()
    assert tried[1] <= MOST_STRANGER
    assert tried[-1] <= MOST_STRANGER + doublings
    assert market.cost == tried[-1] * REFUSED_GAS * GWEI


def test_strangers_without_number_use_up_what_strangers_share_and_no_other_accounts_part(market: Turncoats) -> None:
    market.offer()
    market.settled(account(REGULAR), account(PROVIDER), 20)
    regular = []
    for turn in range(TURNS):
        for number in range(4):
            stranger = key(4 * turn + number)
            market.hostile.add(account(stranger))
            market.ask(stranger, 0, f"address {number % 2}")
        if turn % 4 == 0:
            regular.append(market.ask(REGULAR, turn, "regular"))
        market.turn(DAY_SECONDS / TURNS - 0.01)
    market.keeper._outgoing.look()
    lost = sum(market.refused_by.values()) * REFUSED_GAS
    assert FOR_STRANGERS / 2 < lost <= FOR_STRANGERS
    assert len(hours(market, *regular)) == 6
    assert market.cost == GWEI * (lost + 6 * MATCH_GAS)


def test_an_honest_stranger_waits_for_one_match_of_each_address_before_it(market: Turncoats) -> None:
    """Three hostile addresses with fresh accounts for every turn, when all that is given at once is used up."""
    market.offer()
    addresses, posted = 3, 0
    wanted: Bytes32 | None = None
    for turn in range(TURNS):
        for number in range(addresses):
            posted += 1
            market.hostile.add(account(key(posted)))
            market.ask(key(posted), 0, f"address {number}")
        if turn == 12:
            wanted = market.ask(NEWCOMER, 0, "honest")
            began = market.now
        market.turn(DAY_SECONDS / TURNS - 0.01)
        if turn == 12:
            assert wanted is not None
            assert state_of(market.book, wanted).explanation == (IN_LINE,)
    assert wanted is not None
    a_match_each = DAY_SECONDS * MATCH_GAS / (FOR_STRANGERS * 3 / 4)
    assert market.matched_at[wanted] - began <= (addresses + 2) * a_match_each


def test_any_number_of_requests_on_the_coin_of_one_job_fails_in_no_block(market: Turncoats) -> None:
    market.offer()
    for salt in range(50):
        market.ask(CONSUMER, salt, "hostile", has=Account(Wei(500), Wei(0)))
    for _ in range(4):
        market.turn()
    assert len(market.matched_at) == 2
    assert not market.refused_by.total()


def test_a_provider_that_moves_its_stake_away_takes_no_other_providers_jobs(opens: Opens) -> None:
    market, cheap = opens(KeeperSettings()), key(1)
    market.offer()
    market.offer(cheap, price=1)
    market.hostile = {account(cheap)}
    asked = [market.ask(REGULAR, salt, "regular") for salt in range(3)]
    for _ in range(5):
        market.turn()
    assert all(one in market.matched_at for one in asked)
    assert market.refused_by[account(cheap)] <= MOST_STRANGER


@pytest.mark.parametrize("withdrew", [False, True])
def test_a_provider_whose_stake_strangers_take_waits_for_none_and_one_that_withdrew_it_does(
    opens: Opens, withdrew: bool
) -> None:
    """Who had a match of its own before the keeper's in each block had a provider left out for up to six hours."""
    market, provider = opens(KeeperSettings()), account(PROVIDER)
    market.offer()
    market.drained.add(provider)
    if withdrew:
        market.chain.set_unbonding(ZERO_ADDRESS, provider, Unbonding(Wei(10**18), MIDNIGHT))
    for number in range(3):
        market.ask(key(number), 0, f"address {number}")
        market.turn()
    market.drained.clear()
    asked = market.ask(REGULAR, 0, "regular")
    for _ in range(2):
        market.turn()
    assert (asked in market.matched_at) is not withdrew


@pytest.fixture
def priced(opens: Opens) -> Turncoats:
    """A market of twenty offers, the best of which takes any number of jobs at a price of 20."""
    market = opens(KeeperSettings())
    for number in range(20):
        market.offer(key(number), price=20 + number)
    return market


def test_a_request_that_waits_for_its_own_payer_gets_the_best_offer_all_the_same(priced: Turncoats) -> None:
    asked = [priced.ask(CONSUMER, salt, "one address") for salt in range(3 * MOST_STRANGER)]
    for _ in range(6):
        priced.turn()
    assert [priced.prices.get(one) for one in asked] == [20] * len(asked)


def test_a_payer_that_lacked_its_coin_at_first_gets_the_best_offer_all_the_same(priced: Turncoats) -> None:
    late = priced.ask(CONSUMER, 0, "one address", has=Account(Wei(0), Wei(0)))
    priced.turn()
    again = priced.ask(CONSUMER, 1, "one address")
    for _ in range(3):
        priced.turn()
    assert [priced.prices.get(one) for one in (late, again)] == [20, 20]


def test_a_request_whose_match_could_not_be_handed_in_gets_the_best_offer_all_the_same(priced: Turncoats) -> None:
    asked, priced.is_away = priced.ask(CONSUMER, 0, "one address"), True
    priced.turn()
    priced.is_away = False
    for _ in range(2):
        priced.turn()
    assert priced.prices == {asked: 20}


def test_what_an_honest_provider_has_left_is_not_touched_by_matches_that_others_make_fail(market: Turncoats) -> None:
    market.offer()
    hostile = key(1)
    market.settled(account(hostile), account(PROVIDER), 10)
    market.hostile = {account(hostile)}
    before = market.spending.part(account(PROVIDER))
    for salt in range(10):
        market.ask(hostile, salt, "hostile")
    for _ in range(3):
        market.turn()
    assert market.refused_by[account(hostile)] > MOST_STRANGER, "its own part pays for what it makes fail"
    day = int(market.now) // DAY_SECONDS
    assert market.spending._spent(day, account(hostile)) == market.cost // GWEI
    assert market.spending._spent(day, account(PROVIDER)) == 0 < before


def newcomers(market: Turncoats, count: int = 3) -> list[Bytes32]:
    """Honest strangers, each from an address of its own."""
    return [market.ask(key(500 + number), 0, f"honest {number}") for number in range(count)]


@pytest.mark.parametrize("unmatchable", [False, True])
def test_a_peer_whose_stranger_settled_a_job_in_the_meantime_keeps_no_stranger_waiting(
    market: Turncoats, unmatchable: bool
) -> None:
    """An address kept the first place for ever, with a request of an account that asked the line no more: three honest
    strangers were not matched in 47 hours."""
    market.offer()
    market.settled(account(REGULAR), account(key(801)), 1000)
    for number in range(8):
        market.ask(key(100 + number), 0, f"early {number}")
    for _ in range(2):
        market.turn()
    settles = key(700)
    market.ask(settles, 0, "shared address")
    market.turn()
    if unmatchable:
        market.ask(settles, 1, "shared address", most=1)
    market.settled(account(settles), account(PROVIDER), 1)
    honest = newcomers(market)
    for _ in range(47):
        market.turn(3600)
    assert max(hours(market, *honest)) - MIDNIGHT / 3600 < 24


def test_an_account_with_a_part_too_small_for_a_match_waits_in_the_line_as_strangers_do(market: Turncoats) -> None:
    """One settled job of a thousand let an account have matches of what strangers share before those that waited."""
    market.offer()
    market.settled(account(REGULAR), account(key(801)), 1000)
    small = key(1)
    market.settled(account(small), account(small), 1)
    assert 0 < market.spending.part(account(small)) < MATCH_GAS
    honest = newcomers(market, 8)
    market.turn(3600)
    asked = [market.ask(small, salt, "small part") for salt in range(200)]
    for _ in range(22):
        market.turn(3600)
    last = max(market.matched_at[one] for one in honest)
    assert not [one for one in asked if market.matched_at.get(one, last) < last]


def test_a_request_of_an_account_with_a_part_needs_no_place_in_the_line(market: Turncoats) -> None:
    market.offer()
    market.settled(account(REGULAR), account(PROVIDER), 20)
    for number in range(8):
        market.ask(key(100 + number), 0, f"early {number}")
    for _ in range(2):
        market.turn()
    regular = market.ask(REGULAR, 0, "early 7")
    for _ in range(2):
        market.turn()
    assert regular in market.matched_at
    assert len(market.matched_at) < 8


def test_matches_of_the_operators_own_provider_that_fail_are_bounded_too(opens: Opens) -> None:
    own = KeeperSettings(gas_gwei_per_day=2_000_000, own_accounts=(account(PROVIDER).checksum,))
    market = opens(own)
    dear = MATCH_GAS * GWEI
    market.offer(price=dear)
    for turn in range(40):
        stranger = key(turn)
        market.hostile.add(account(stranger))
        market.ask(stranger, 0, f"address {turn}", most=dear)
        market.turn()
    shared = 2_000_000 * own.shared_percent // 100
    assert REFUSED_GAS < sum(market.refused_by.values()) * REFUSED_GAS <= shared + MATCH_GAS


def test_accounts_with_a_settled_job_each_make_the_keeper_lose_no_more_than_its_day(opens: Opens) -> None:
    """Accounts, each with one job of its own with itself, lost many times the day's gas."""
    own = KeeperSettings(gas_gwei_per_day=2_000_000, own_accounts=(account(PROVIDER).checksum,))
    market, dear = opens(own), MATCH_GAS * GWEI
    market.offer(price=dear)
    for number in range(10, 20):
        name = account(key(number))
        market.settled(name, name, 1)
        market.hostile.add(name)
        for salt in range(12):
            market.ask(key(number), salt, f"address {number}", most=dear)
    for _ in range(40):
        market.turn(1200)
    shared = own.gas_gwei_per_day * own.shared_percent // 100
    assert shared / 2 < market.cost // GWEI <= own.gas_gwei_per_day + shared
