"""Gas is spent where it is earned back, or out of a budget for each day that no restart and no account uses up."""

from __future__ import annotations

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
from tests.backend.orders import CONSUMER, OWNER, PROVIDER, account

CONSUMERS, PROVIDERS, OWNERS = account(CONSUMER), account(PROVIDER), account(OWNER)
LIMIT = 1_000
NOON = 20_000 * DAY_SECONDS + 43_200


class Bank:
    """A budget whose clock and price of gas a test moves; one gas costs one gwei at first."""

    def __init__(self, database: Database, **changes: int) -> None:
        self.now, self.gas_price, self.asked = float(NOON), GWEI, 0
        self.settings = KeeperSettings(gas_gwei_per_day=LIMIT, **changes)  # type: ignore[arg-type]
        self.spending = self.opened(database)

    def opened(self, database: Database) -> Spending:
        """The same budget, of another process."""
        return Spending(database, self.settings, self, lambda: self.now)

    def price(self) -> int:
        """What one gas costs."""
        self.asked += 1
        return self.gas_price


@pytest.fixture
def bank(database: Database) -> Bank:
    return Bank(database, account_percent=100)


def test_what_the_day_has_no_room_for_is_not_sent(bank: Bank) -> None:
    bank.spending.reserve(Cause(), LIMIT)
    with pytest.raises(NotEarned, match="spent what it gives for gas today: 1000 gwei") as refused:
        bank.spending.reserve(Cause(), 1)
    assert "send the step yourself" in refused.value.remedy


def test_one_account_uses_up_its_own_part_and_no_more(database: Database) -> None:
    bank = Bank(database, account_percent=10)
    bank.spending.reserve(Cause((CONSUMERS, PROVIDERS)), 100)
    for parties in ((CONSUMERS,), (OWNERS, PROVIDERS)):
        with pytest.raises(NotEarned, match=f"for {parties[-1].checksum}: 100 gwei"):
            bank.spending.reserve(Cause(parties), 1)
    bank.spending.reserve(Cause((OWNERS,)), 100)
    assert bank.spending.today() == 200


def test_an_account_that_is_both_parties_of_a_job_is_counted_once(database: Database) -> None:
    bank = Bank(database, account_percent=10)
    spent = bank.spending.reserve(Cause((PROVIDERS, PROVIDERS)), 100)
    bank.spending.settle(spent, 60 * GWEI)
    bank.spending.reserve(Cause((PROVIDERS,)), 40)
    with pytest.raises(NotEarned, match=f"for {PROVIDERS.checksum}: 100 gwei"):
        bank.spending.reserve(Cause((PROVIDERS,)), 1)


def test_what_the_database_did_not_take_counts_all_the_same(bank: Bank, database: Database) -> None:
    bank.spending.reserve(Cause(), 600)
    with full_disk(database, "gas_spent"), pytest.raises(StorageFailed):
        bank.spending.write()
    assert bank.spending.today() == 600
    bank.spending.write()
    assert bank.spending.today() == 600


def test_new_jobs_leave_half_of_the_day_to_jobs_that_are_under_way(bank: Bank) -> None:
    bank.spending.reserve(Cause(matching=True), 500)
    with pytest.raises(NotEarned, match="for new jobs: 500 gwei"):
        bank.spending.reserve(Cause(matching=True), 1)
    bank.spending.reserve(Cause(), 500)


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
        bank.now = NOON + (day + 1) * DAY_SECONDS
    assert bank.spending.today() == 0
    assert len(database.rows("SELECT * FROM gas_spent")) == 2


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
    st.integers(1, 400), st.sampled_from([(), (CONSUMERS,), (PROVIDERS, OWNERS)]), st.integers(0, 300), st.booleans()
)


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(STEPS, max_size=20))
def test_however_steps_come_no_limit_is_passed(steps: list[tuple[int, tuple[Address, ...], int, bool]]) -> None:
    with Database(None) as database:
        bank = Bank(database, account_percent=30)
        given_to: dict[object, int] = {}
        for gas, parties, earned, matching in steps:
            try:
                counted = bank.spending.reserve(Cause(parties, earned * GWEI, matching), gas).gwei
            except NotEarned:
                continue
            assert counted == (0 if earned >= gas else gas)
            for one in (None, *parties):
                given_to[one] = given_to.get(one, 0) + counted
            bank.spending.write()
        assert given_to.pop(None, 0) == bank.spending.today() <= LIMIT
        assert all(counted <= LIMIT * 30 // 100 for counted in given_to.values())
