"""The money of a job is told to the wei for every ending: it sums to zero, and each party gets what the table says."""

from __future__ import annotations

from dataclasses import replace as change
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.chain.events import (
    ChainEvent,
    ChallengeAnswered,
    JobChallenged,
    JobDecided,
    JobEnded,
    JobMatched,
    JobQuoted,
    JobSettled,
    ReleasePosted,
    SharesReportedMissing,
)
from sealmarket.chain.model import NOT_INTERRUPTED, Fault, JobSlot, Payout
from sealmarket.client.explain import ENDINGS, ended_otherwise, ending_of, meaning
from sealmarket.client.jobs import JobRecord
from sealmarket.client.statement import Statement, Who, statement_of
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.transitions import TRANSITIONS, Status
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, HexBytes, Wei
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import AssetId
from tests import samples
from tests.client.bundles import Case

CASE = Case()
KNOWN = CASE.facts(CASE.bundle()).record
AT, BLOCK = KNOWN.matched.at, KNOWN.at
OWNERS = (Address(b"\x0a" * 20), Address(b"\x0b" * 20))
THRESHOLD, REFUSING, MEMBERS = 2, 2, 3
TABLE = {
    Fault.NO_QUOTE: ("O+C+U+F+H", "0", "O", "P"),
    Fault.PLATFORM_REFUSED: ("O+C+U+F+H", "0", "O", "P-f"),
    Fault.REQUEST_REFUSED: ("O+C+U+F-f", "0", "O+P", "H"),
    Fault.TERMS_REFUSED: ("O+C+U+F-f+H", "0", "O+P", "0"),
    Fault.INPUT_REFUSED: ("O+C+U+F-f+H", "0", "O+P", "0"),
    Fault.EVIDENCE_WITHHELD: ("O+C+U+F+H", "0", "O", "P-f"),
    Fault.COMMITTEE_SILENT: ("O+C+U+F+H", "0", "O+P", "0"),
    Fault.WITHDRAWN: ("O+C+U+F", "0", "O+P", "H"),
    Fault.STOPPED_BEFORE_RELEASE: ("O+C+U", "0", "O+P", "0"),
    Fault.SHARES_MISSING: ("O+C+U", "0", "O+P", "0"),
    Fault.INPUT_FAILED: ("O+C+U", "0", "O+P", "0"),
    Fault.WORKLOAD_FAILED: ("U-u", "C+u", "O+P", "0"),
    Fault.PROVIDER_SILENT: ("O+C+U+f", "0", "0", "P-f"),
}
"""docs/spec/contracts.md, "The fault table": what payer, provider and stake get, and what is burned; written again."""
PAID_IN_FULL = {Fault.WORKLOAD_FAILED, Fault.PROVIDER_SILENT}
DECIDED = {
    Fault.PLATFORM_REFUSED: Outcome.PLATFORM_REFUSED,
    Fault.REQUEST_REFUSED: Outcome.REQUEST_REFUSED,
    Fault.TERMS_REFUSED: Outcome.TERMS_REFUSED,
    Fault.INPUT_REFUSED: Outcome.INPUT_REFUSED,
    Fault.EVIDENCE_WITHHELD: Outcome.EVIDENCE_WITHHELD,
}
BEFORE_A_DECISION = {Fault.NO_QUOTE, Fault.COMMITTEE_SILENT, Fault.WITHDRAWN}


class Amounts:
    """The letters of the fault table for one job."""

    def __init__(self, prices: tuple[int, ...], compute: int, units: int, used: int, penalty: int, fee: int, hold: int):
        self.letters = {"O": sum(prices), "C": compute, "U": units, "u": min(used, units), "H": hold}
        self.letters |= {"F": REFUSING * fee, "f": THRESHOLD * fee, "P": penalty + 4 * THRESHOLD * fee}
        self.prices, self.fee = prices, fee

    def __call__(self, formula: str) -> int:
        terms = formula.replace("-", "+-").split("+")
        return sum(self._term(term) for term in terms if term)

    def _term(self, term: str) -> int:
        sign, name = (-1, term[1:]) if term.startswith("-") else (1, term)
        return sign * (0 if name == "0" else self.letters[name])

    @property
    def spec(self) -> JobSpec:
        uses = [
            samples.asset_use(asset_id=AssetId(keccak(b"%d" % n)), owner=OWNERS[n % 2], price=Wei(price))
            for n, price in enumerate(self.prices)
        ]
        fields = {"compute_price": Wei(self("C")), "unit_price": Wei(1), "max_units": self("U")}
        return samples.job(*uses, **fields, penalty=Wei(self("P")), hold_fee=Wei(self("H")))


amounts = st.builds(
    Amounts,
    prices=st.lists(st.integers(0, 10**20), min_size=1, max_size=4).map(tuple),
    compute=st.integers(0, 10**20),
    units=st.integers(0, 2**20),
    used=st.integers(0, 2**20),
    penalty=st.integers(0, 10**20),
    fee=st.integers(0, 10**16),
    hold=st.integers(0, 10**18),
)


def record_of(a: Amounts, status: Status, *events: ChainEvent) -> JobRecord:
    """A job with these events after its match."""
    spec = a.spec
    job_id = spec.job_id(31337, CASE.book.market)
    matched = JobMatched(AT, job_id, spec, Wei(a("F")))
    slot = JobSlot(status, 0, b"")
    found = JobRecord(job_id=job_id, spec=spec, at=BLOCK, slot=slot, matched=matched, history=(matched, *events))
    ended = next((event for event in events if isinstance(event, JobEnded)), None)
    settled = next((event for event in events if isinstance(event, JobSettled)), None)
    return change(found, ended=ended, settled=settled)


def decided(a: Amounts, outcome: Outcome) -> JobDecided:
    accepted = outcome is Outcome.ACCEPTED
    returned = Wei(a("F-f+H")) if accepted else Wei(0)
    return JobDecided(AT, a.spec.job_id(31337, CASE.book.market), CASE.core(), (0, 1), outcome, 0, returned)


def ended(a: Amounts, status: Status, fault: Fault, payout: Payout) -> JobEnded:
    return JobEnded(AT, a.spec.job_id(31337, CASE.book.market), status, fault, ZERO_HASH, payout)


def payout_of(
    a: Amounts, row: tuple[str, str, str, str], owners: int = 0, places: frozenset[int] = frozenset()
) -> Payout:
    payer, provider, stake, burned = (Wei(a(formula)) for formula in row)
    return Payout(payer, provider, stake, burned, Wei(owners), places)


def told(record: JobRecord, interruption: Any = NOT_INTERRUPTED) -> Statement:
    statement = statement_of(record, CASE.committee, interruption)
    assert sum(entry.amount for entry in statement.entries) == 0
    return statement


STATUSES = {row.fault.upper(): row.after for row in TRANSITIONS if row.fault}


def status_of(fault: Fault) -> Status:
    return STATUSES[fault.name.replace("_", "")]


@pytest.mark.parametrize("fault", TABLE)
@given(a=amounts)
def test_every_row_without_a_result_is_told_to_the_wei(fault: Fault, a: Amounts) -> None:
    places = frozenset(range(len(a.prices))) if fault in PAID_IN_FULL else frozenset()
    payout = payout_of(a, TABLE[fault], a("O") if places else 0, places)
    events: list[ChainEvent] = []
    if fault not in BEFORE_A_DECISION:
        events.append(decided(a, DECIDED.get(fault, Outcome.ACCEPTED)))
    statement = told(record_of(a, status_of(fault), *events, ended(a, status_of(fault), fault, payout)))
    spec = a.spec
    assert statement.total(Who.UNEXPLAINED) == statement.total(Who.HELD) == 0
    assert statement.total(Who.BURNED) == a(TABLE[fault][3])
    assert statement.total(Who.NODES) == (0 if fault in BEFORE_A_DECISION else a("f"))
    returned = a("F-f+H") if fault not in BEFORE_A_DECISION | set(DECIDED) else 0
    assert statement.total(Who.PAYER, spec.payer) == a(TABLE[fault][0]) + returned - a("O+C+U+F+H")
    assert statement.total(Who.PROVIDER, spec.provider) == a(TABLE[fault][1]) + a(TABLE[fault][2]) - a("O+P")
    assert statement.total(Who.OWNER) == (a("O") if places else 0)


@given(a=amounts, part=st.integers(0, 100), left_out=st.booleans())
def test_owners_who_share_what_a_time_out_pays_get_all_of_it(a: Amounts, part: int, left_out: bool) -> None:
    places = frozenset(range(1 if left_out else 0, len(a.prices)))
    owed = sum(a.prices[place] for place in places)
    total = owed * part // 100
    row = ("O+C+U", "0", "O+P", "0")
    payout = payout_of(a, row, total, places if total else frozenset())
    payout = change(payout, refunded=Wei(payout.refunded - total))
    end = ended(a, Status.FAILED, Fault.WORKLOAD_TIMED_OUT, payout)
    statement = told(record_of(a, Status.FAILED, decided(a, Outcome.ACCEPTED), end))
    assert statement.total(Who.UNEXPLAINED) == 0
    assert statement.total(Who.OWNER) == total
    for place in places:
        due = [
            e.amount for e in statement.entries if e.who is Who.OWNER and str(a.spec.assets[place].asset_id) in e.why
        ]
        assert all(abs(amount - a.prices[place] * total // max(1, owed)) <= 1 for amount in due)


@given(a=amounts, bond=st.integers(0, 10**18), answered=st.booleans(), available=st.booleans())
def test_a_result_and_a_challenge_of_it_are_told_to_the_wei(
    a: Amounts, bond: int, answered: bool, available: bool
) -> None:
    spec, fees = a.spec, (a("f") if answered else 0)
    bond += fees
    job_id = spec.job_id(31337, CASE.book.market)
    events: list[ChainEvent] = [
        decided(a, Outcome.ACCEPTED),
        JobSettled(AT, job_id, ZERO_HASH, ZERO_HASH, a("u"), True, Wei(a("U-u")), Wei(a("C+u"))),
        JobChallenged(AT, job_id, spec.payer, Wei(bond), 0),
    ]
    if answered and not available:
        back, kept = bond, a("P") - fees - a("f")
        payout = Payout(Wei(a("O+C+u+f")), Wei(0), Wei(0), Wei(kept))
        end = ended(a, Status.EXPIRED, Fault.RESULT_WITHHELD, payout)
    else:
        back = 0 if answered else bond
        paid = a("C+u") + (bond - fees if answered else 0)
        end = ended(a, Status.MATURED, Fault.NONE, Payout(Wei(0), Wei(paid), Wei(a("O+P"))))
    events += [ChallengeAnswered(AT, job_id, available, (0, 1), Wei(fees), Wei(back)), end]
    statement = told(record_of(a, end.status, *events))
    assert statement.total(Who.UNEXPLAINED) == 0
    assert statement.total(Who.OWNER) == a("O")
    assert statement.total(Who.CHALLENGER, spec.payer) == back - bond


@given(a=amounts, posted=st.integers(0, MEMBERS), fee=st.integers(0, 10**16), over=st.booleans())
def test_what_a_report_of_missing_shares_sets_aside_is_accounted_for(
    a: Amounts, posted: int, fee: int, over: bool
) -> None:
    spec = a.spec
    job_id = spec.job_id(31337, CASE.book.market)
    aside, spent = MEMBERS * fee, posted * fee
    events: list[ChainEvent] = [
        decided(a, Outcome.ACCEPTED),
        SharesReportedMissing(AT, job_id, (), 1, 2, Wei(aside)),
        *(ReleasePosted(AT, job_id, n, (HexBytes(b"1"),), ZERO_HASH, ZERO_HASH) for n in range(posted)),
        ended(a, Status.EXPIRED, Fault.SHARES_MISSING, payout_of(a, TABLE[Fault.SHARES_MISSING])),
    ]
    unspent = 0 if over else aside - spent
    statement = told(record_of(a, Status.EXPIRED, *events), change(NOT_INTERRUPTED, unspent=Wei(unspent)))
    assert statement.total(Who.UNEXPLAINED) == 0
    assert statement.total(Who.NODES) == a("f") + spent
    assert statement.total(Who.HELD) == unspent
    assert statement.total(Who.PROVIDER) == -spent - unspent


@given(a=amounts)
def test_a_job_that_runs_holds_what_its_parties_gave(a: Amounts) -> None:
    quoted = JobQuoted(AT, a.spec.job_id(31337, CASE.book.market), ZERO_HASH)
    assert told(record_of(a, Status.QUOTED, quoted)).total(Who.HELD) == a("O+C+U+F+H") + a("O+P")
    accepted = told(record_of(a, Status.ACCEPTED, quoted, decided(a, Outcome.ACCEPTED)))
    assert accepted.total(Who.HELD) == a("O+C+U") + a("O+P")


@given(a=amounts.filter(lambda a: a("C") > 0))
def test_money_that_no_event_explains_is_never_hidden(a: Amounts) -> None:
    payout = payout_of(a, ("O+U", "0", "O+P", "0"))
    found = record_of(
        a, Status.EXPIRED, decided(a, Outcome.ACCEPTED), ended(a, Status.EXPIRED, Fault.SHARES_MISSING, payout)
    )
    assert told(found).total(Who.UNEXPLAINED) == a("C")


def test_every_row_of_the_fault_table_has_its_own_words() -> None:
    assert set(ENDINGS) == set(Fault)
    assert len({ending.what for ending in ENDINGS.values()}) == len(Fault)
    assert all(ending.bears and ending.remedy for ending in ENDINGS.values())


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.NONE])
def test_no_ending_is_without_a_reason_and_what_it_cost(fault: Fault) -> None:
    a = Amounts((10,), 7, 0, 0, 13, 1, 3)
    status = status_of(fault)
    found = record_of(a, status, ended(a, status, fault, Payout()))
    error = ended_otherwise(found)
    assert error.reason == meaning(found) == ENDINGS[fault].what
    assert ending_of(found) is ENDINGS[fault]
    assert f"sealmarket consumer explain {found.job_id}" in error.remedy
    assert "the money is in the ledger" not in error.remedy
