"""Gas is spent where it is earned back, or out of a budget for each day that no restart and no account uses up.

Of what all share half is for matches, a quarter of it at once: of a thousand with nothing but strangers 125 at midnight
and 500 when the day ends.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealmarket_backend import spending
from sealmarket_backend.errors import StorageFailed
from sealmarket_backend.spending import DAY_SECONDS, GWEI, PRICE_SECONDS, Cause, KeeperSettings, NotEarned, Spending
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.errors import MalformedDocument
from tests.backend.full import full_disk
from tests.backend.orders import CONSUMER, OWNER, PROVIDER, STRANGER, account
from tests.backend.turncoats import settled_jobs

CONSUMERS, PROVIDERS, OWNERS = account(CONSUMER), account(PROVIDER), account(OWNER)
BOTH = (CONSUMERS, PROVIDERS)
LIMIT = 1_000
MIDNIGHT = 20_000 * DAY_SECONDS
EVENING = MIDNIGHT + DAY_SECONDS - 100
"""When nearly all of the day is given, and there is time left for prices to be asked anew."""


class Bank:
    """A budget whose clock and price of gas a test moves; one gas costs one gwei at first."""

    def __init__(self, database: Database, *, evenly: bool = True, **changes: int) -> None:
        self.now, self.gas_price, self.asked = float(EVENING), GWEI, 0
        self.settings = KeeperSettings(gas_gwei_per_day=LIMIT, **changes)  # type: ignore[arg-type]
        self._evenly = evenly
        self.spending = self.opened(database)

    def opened(self, database: Database) -> Spending:
        """The same budget, of another process."""
        made = Spending(database, self.settings, self, lambda: self.now)
        if not self._evenly:
            made._until_now = lambda most: most  # type: ignore[method-assign]
        return made

    def price(self) -> int:
        """What one gas costs."""
        self.asked += 1
        return self.gas_price


@pytest.fixture
def bank(database: Database) -> Bank:
    """All of it is for jobs under way, and shared."""
    return Bank(database, shared_percent=100, matching_percent=0, evenly=False)


@pytest.fixture
def divided(database: Database) -> Bank:
    """A tenth is shared; of the jobs of the last week the consumer had half, the provider a quarter, the owner one."""
    settled_jobs(database, CONSUMERS, PROVIDERS, 2, EVENING - 5)
    settled_jobs(database, CONSUMERS, OWNERS, 2, EVENING - 5)
    return Bank(database, shared_percent=10)


def test_what_the_day_has_no_room_for_is_not_sent(bank: Bank) -> None:
    bank.spending.reserve(Cause(), LIMIT)
    with pytest.raises(NotEarned, match="spent what it gives for gas today: 1000 gwei") as refused:
        bank.spending.reserve(Cause(), 1)
    assert "send the step yourself" in refused.value.remedy


def test_strangers_get_what_all_share_and_nothing_of_any_accounts_part(divided: Bank) -> None:
    stranger = Cause((account(STRANGER), PROVIDERS))
    assert divided.spending.reserve(stranger, 49).shared
    with pytest.raises(NotEarned, match="for accounts without a part of their own") as refused:
        divided.spending.reserve(stranger, 2)
    assert refused.value.shared
    assert not divided.spending.reserve(Cause(BOTH), 2 * 225).shared


@pytest.mark.parametrize(("hour", "given"), [(0, 125), (12, 312), (24, 499)])
def test_what_all_share_is_given_over_the_day(database: Database, hour: int, given: int) -> None:
    bank = Bank(database, shared_percent=100)
    bank.now = min(MIDNIGHT + hour * 3600, MIDNIGHT + DAY_SECONDS - 1)
    bank.spending.reserve(Cause(matching=True), given)
    with pytest.raises(NotEarned):
        bank.spending.reserve(Cause(matching=True), 2)


def test_a_match_of_strangers_that_takes_very_much_gas_is_left_to_them(database: Database) -> None:
    bank = Bank(database, shared_percent=100)
    bank.gas_price = 1
    bank.spending.reserve(Cause(matching=True), spending.SHARED_MATCH_GAS)
    with pytest.raises(NotEarned, match="expected at most 600000") as refused:
        bank.spending.reserve(Cause(matching=True), spending.SHARED_MATCH_GAS + 1)
    assert not refused.value.shared


def test_a_part_is_as_much_of_the_day_as_an_accounts_jobs_are_of_all(divided: Bank) -> None:
    parts = [divided.spending.part(one) for one in (CONSUMERS, PROVIDERS, OWNERS, account(STRANGER))]
    assert parts == [450, 225, 225, 0]


def test_a_step_is_paid_for_by_both_parties_in_halves_as_far_as_their_parts_go(divided: Bank) -> None:
    assert not divided.spending.reserve(Cause(BOTH), 2 * 225).shared
    assert divided.spending.reserve(Cause(BOTH), 4).shared, "the provider has nothing left of its own"
    assert not divided.spending.reserve(Cause((CONSUMERS, OWNERS)), 4).shared


def test_matches_leave_half_of_a_part_to_jobs_that_are_under_way(divided: Bank) -> None:
    assert not divided.spending.reserve(Cause(BOTH, matching=True), 2 * 112).shared
    assert divided.spending.reserve(Cause(BOTH, matching=True), 2).shared
    assert not divided.spending.reserve(Cause(BOTH), 2 * 113).shared


def test_an_account_that_is_both_parties_of_a_job_is_counted_once(divided: Bank) -> None:
    spent = divided.spending.reserve(Cause((OWNERS, OWNERS)), 225)
    assert not spent.shared
    divided.spending.settle(spent, 160 * GWEI)
    assert not divided.spending.reserve(Cause((OWNERS,)), 65).shared
    assert divided.spending.reserve(Cause((OWNERS,)), 1).shared


@pytest.mark.parametrize(("named", "pays"), [((PROVIDERS,), PROVIDERS), ((CONSUMERS,), CONSUMERS), ((), CONSUMERS)])
def test_a_match_that_failed_is_paid_for_by_who_made_it_fail_and_else_by_its_consumer(
    divided: Bank, named: tuple[Address, ...], pays: Address
) -> None:
    reserved = divided.spending.reserve(Cause(BOTH, matching=True), 200)
    divided.spending.settle(reserved, 80 * GWEI, named)
    day = MIDNIGHT // DAY_SECONDS
    assert [divided.spending._spent(day, one) for one in BOTH] == [80 * (one == pays) for one in BOTH]
    assert divided.spending.today() == 80


def test_what_the_database_did_not_take_counts_all_the_same(bank: Bank, database: Database) -> None:
    bank.spending.reserve(Cause(), 600)
    with full_disk(database, "gas_spent"), pytest.raises(StorageFailed):
        bank.spending.write()
    assert bank.spending.today() == 600
    bank.spending.write()
    assert bank.spending.today() == 600


def test_new_jobs_leave_half_of_what_all_share_to_jobs_that_are_under_way(database: Database) -> None:
    bank = Bank(database, shared_percent=100)
    bank.spending.reserve(Cause(matching=True), 499)
    with pytest.raises(NotEarned):
        bank.spending.reserve(Cause(matching=True), 2)
    bank.spending.reserve(Cause(), 499)


def test_a_match_that_would_earn_its_gas_costs_nothing_where_it_holds_and_counts_where_it_fails(
    database: Database,
) -> None:
    bank = Bank(database, shared_percent=10)
    match = Cause(BOTH, earned=1000 * GWEI, matching=True)
    held, failed = bank.spending.reserve(match, 60), bank.spending.reserve(match, 60)
    with pytest.raises(NotEarned, match="for accounts without a part of their own"):
        bank.spending.reserve(match, 60)
    bank.spending.settle(held, 60 * GWEI)
    assert bank.spending.today() == 0
    bank.spending.settle(failed, 101 * GWEI, ())
    assert bank.spending.today() == 101
    assert bank.spending.reserve(match, 1).shared, "such matches lost what they may: it is paid for as all others"
    assert bank.spending.today() == 102
    bank.spending.reserve(Cause(BOTH, earned=GWEI), 1)


def test_the_part_of_an_account_pays_for_its_matches_once_those_that_earn_lost_what_they_may(divided: Bank) -> None:
    match = Cause(BOTH, earned=1000 * GWEI, matching=True)
    divided.spending.settle(divided.spending.reserve(match, 101), 101 * GWEI, (CONSUMERS,))
    paid = divided.spending.reserve(match, 200)
    assert (paid.rows[CONSUMERS], paid.rows[PROVIDERS], paid.gwei) == (100, 100, 200)
    with pytest.raises(NotEarned):
        divided.spending.reserve(match, 200)


def test_neither_a_restart_nor_another_leader_has_a_budget_of_its_own(bank: Bank, database: Database) -> None:
    bank.spending.reserve(Cause((CONSUMERS,)), 600)
    bank.spending.write()
    another = bank.opened(database)
    assert another.today() == 600
    with pytest.raises(NotEarned):
        another.reserve(Cause(), 401)
    another.reserve(Cause((CONSUMERS,)), 400)
    another.write()
    assert bank.spending.today() == LIMIT


def test_income_of_an_account_that_is_not_named_is_none() -> None:
    assert KeeperSettings().own() == frozenset()
    assert KeeperSettings(own_accounts=(OWNERS.checksum,)).own() == {OWNERS}
    with pytest.raises(MalformedDocument, match="SEALMARKET_KEEPER_OWN_ACCOUNTS"):
        KeeperSettings(own_accounts=("0x12",)).own()


def test_a_step_that_earns_its_gas_is_sent_when_nothing_is_left(bank: Bank) -> None:
    bank.spending.reserve(Cause(), LIMIT)
    bank.spending.reserve(Cause((CONSUMERS,), earned=50 * GWEI, matching=True), 50)
    with pytest.raises(NotEarned):
        bank.spending.reserve(Cause(earned=50 * GWEI - 1), 50)
    assert bank.spending.today() == LIMIT


def test_what_a_job_brings_pays_for_its_steps_once(bank: Bank) -> None:
    bank.spending.reserve(Cause(), LIMIT)
    job = Cause(earned=100 * GWEI, request=Bytes32(b"\x01" * 32))
    first = bank.spending.reserve(job, 60)
    with pytest.raises(NotEarned):
        bank.spending.reserve(job, 60)
    bank.spending.reserve(Cause(earned=100 * GWEI, request=Bytes32(b"\x02" * 32)), 60)
    bank.spending.settle(first, 40 * GWEI)
    bank.spending.reserve(job, 60)
    with pytest.raises(NotEarned):
        bank.spending.reserve(job, 1)
    assert bank.spending.today() == LIMIT


def test_of_how_many_jobs_it_is_known_what_their_income_paid_for_is_bounded(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spending, "MOST_JOBS", 2)
    causes = [Cause(earned=GWEI, request=Bytes32(bytes([number]) * 32)) for number in range(3)]
    for cause in causes:
        bank.spending.reserve(cause, 1)
    assert len(bank.spending._from_income) == 2
    bank.spending.reserve(Cause(), LIMIT)
    with pytest.raises(NotEarned):
        bank.spending.reserve(causes[2], 1)


def test_the_next_day_has_a_budget_of_its_own_and_older_days_are_forgotten(bank: Bank, database: Database) -> None:
    for day in range(4):
        bank.spending.reserve(Cause(), LIMIT)
        bank.spending.write()
        bank.now = EVENING + (day + 1) * DAY_SECONDS
    assert bank.spending.today() == 0
    assert len(database.rows("SELECT DISTINCT day FROM gas_spent")) == 2


def test_a_step_is_set_right_by_what_its_block_says(bank: Bank) -> None:
    dear, unsent = bank.spending.reserve(Cause((CONSUMERS,)), 600), bank.spending.reserve(Cause(), 300)
    bank.spending.write()
    bank.spending.settle(dear, 200 * GWEI + 1)
    bank.spending.settle(unsent, 0)
    assert bank.spending.today() == 201


def test_the_price_is_asked_for_now_and_then(bank: Bank) -> None:
    for _ in range(5):
        bank.spending.reserve(Cause(), 1)
    assert bank.asked == 1
    bank.gas_price, bank.now = 10 * GWEI, bank.now + PRICE_SECONDS + 1
    bank.spending.reserve(Cause(), 1)
    assert (bank.asked, bank.spending.today()) == (2, 15)


STEPS = st.tuples(
    st.integers(1, 400), st.sampled_from([(), (CONSUMERS,), BOTH, (account(STRANGER), OWNERS)]), st.booleans()
)


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(STEPS, max_size=20), now=st.integers(MIDNIGHT, MIDNIGHT + DAY_SECONDS - 1))
def test_however_steps_come_no_limit_is_passed(steps: list[tuple[int, tuple[Address, ...], bool]], now: int) -> None:
    with Database(None) as database:
        settled_jobs(database, CONSUMERS, PROVIDERS, 3, MIDNIGHT - 60)
        bank = Bank(database, shared_percent=30)
        bank.now = now
        by_row: Counter[bytes] = Counter()
        for gas, parties, matching in steps:
            try:
                by_row.update(bank.spending.reserve(Cause(parties, matching=matching), gas).rows)
            except NotEarned:
                continue
            bank.spending.write()
        assert by_row.pop(b"", 0) == bank.spending.today() <= LIMIT
        assert all(gwei <= 350 for row, gwei in by_row.items() if len(row) == 20)
        assert all(gwei <= 150 for row, gwei in by_row.items() if len(row) == 1)
        for one in map(bytes, BOTH):
            assert by_row[one] == bank.spending._spent(MIDNIGHT // DAY_SECONDS, Address(one))
