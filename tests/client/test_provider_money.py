"""What a provider's jobs lock, earn and cost is exact, and no coin that is locked or lost is left out."""

from __future__ import annotations

from dataclasses import replace as change

from hypothesis import given

from sealmarket.chain.events import ChainEvent
from sealmarket.chain.ledger_events import Deposited, OrderUsed, Staked, Withdrawn
from sealmarket.chain.model import NOT_INTERRUPTED, Fault, Payout
from sealmarket.client.explain import ENDINGS
from sealmarket.client.provider_money import Moved, job_money, moves
from sealmarket.client.statement import statement_of
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, Wei
from tests.client.test_statement import AT, CASE, TABLE, Amounts, amounts, decided, ended, payout_of, record_of
from tests.samples import PROVIDER


@given(a=amounts)
def test_a_job_that_runs_locks_owners_prices_and_penalty(a: Amounts) -> None:
    record = record_of(a, Status.ACCEPTED, decided(a, Outcome.ACCEPTED))
    found = job_money(record, statement_of(record, CASE.committee, NOT_INTERRUPTED), 0)
    assert (found.locked, found.lost, found.earned) == (a("O+P"), 0, 0)


@given(a=amounts)
def test_a_provider_that_went_silent_lost_all_that_the_job_locked(a: Amounts) -> None:
    fault, places = Fault.PROVIDER_SILENT, frozenset(range(len(a.prices)))
    end = ended(a, Status.EXPIRED, fault, payout_of(a, TABLE[fault], a("O"), places))
    record = record_of(a, Status.EXPIRED, decided(a, Outcome.ACCEPTED), end)
    found = job_money(record, statement_of(record, CASE.committee, NOT_INTERRUPTED), 5)
    assert (found.locked, found.lost, found.earned, found.ended_at) == (0, a("O+P"), 0, 5)
    assert found.why == ENDINGS[fault].what


@given(a=amounts)
def test_a_job_that_went_well_earned_its_price_and_lost_nothing(a: Amounts) -> None:
    end = ended(a, Status.MATURED, Fault.NONE, Payout(Wei(0), Wei(a("C+u")), Wei(a("O+P"))))
    record = record_of(a, Status.MATURED, decided(a, Outcome.ACCEPTED), end)
    found = job_money(record, statement_of(record, CASE.committee, NOT_INTERRUPTED), 5)
    assert (found.locked, found.lost, found.earned) == (0, 0, a("C+u"))


def test_the_ledger_of_an_account_names_what_came_and_went() -> None:
    later = change(AT, log_index=AT.log_index + 1)
    events: list[ChainEvent] = [
        Deposited(AT, ZERO_ADDRESS, PROVIDER, Wei(5)),
        Staked(later, ZERO_ADDRESS, PROVIDER, Wei(4)),
        OrderUsed(later, PROVIDER, ZERO_HASH),
        Withdrawn(later, ZERO_ADDRESS, PROVIDER, PROVIDER, Wei(1)),
    ]
    assert list(moves(events)) == [
        Moved(block=AT.block_number, what="deposited", amount=5),
        Moved(block=AT.block_number, what="staked", amount=4),
        Moved(block=AT.block_number, what=f"withdrawn to {PROVIDER.checksum}", amount=-1),
    ]
