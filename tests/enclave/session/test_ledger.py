"""The ledger of a service: a host that lies in every way it can never has more served than the lease."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from msgspec.structs import replace

from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32, Uint64, Wei
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import AssetId, JobId
from sealmarket_enclave.protocol.policy import Serving
from sealmarket_enclave.protocol.session import (
    Grant,
    Renewal,
    Royalty,
    SessionCode,
    SessionRequest,
    SessionTerms,
    Statement,
    TabState,
)
from sealmarket_enclave.runtime.kinds.session import ledger as ledger_module
from sealmarket_enclave.runtime.kinds.session.ledger import GRANTS_EACH, Ledger, Reservation
from sealmarket_enclave.runtime.kinds.session.refusals import RenewalRefused, RequestRefused

JOB = JobId(Bytes32(b"\x01" * 32))
LEASE, SECONDS, END = 100, 60, 10_000
RULES = Serving(
    per_unit=Wei(1),
    max_lease=Uint64(LEASE),
    max_prompt_units=Uint64(30),
    max_answer_units=Uint64(30),
    unit_bytes=64,
    endpoints=("chat",),
)
TERMS = SessionTerms(
    sessions=Address(bytes(20)),
    lease=Uint64(LEASE),
    lease_seconds=SECONDS,
    redemption_window=600,
    end=END,
    bucket=Uint64(10),
    unit_price=Wei(2),
    least_tab=Wei(1),
    renewal_fee=Wei(0),
    royalties=(Royalty(asset_id=AssetId(Bytes32(bytes(32))), per_unit=Wei(1)),),
)
ALICE, BOB, CAROL = (Address(bytes([n]) * 20) for n in (10, 11, 12))


def nonce(number: int) -> Bytes32:
    return keccak(b"nonce %d" % number)


def grant(account: Address = ALICE, cap: int = 1000, until: int = 5000, salt: int = 0) -> Grant:
    return Grant(
        job_id=JOB,
        workload=Bytes32(account + bytes(12)),
        weights=Bytes32(bytes(32)),
        session_key=Address(salt.to_bytes(20)),
        cap=Uint64(cap),
        until=until,
    )


def request(given: Grant, number: int = 1, most: int = 10, last: Bytes32 = ZERO_HASH) -> SessionRequest:
    return SessionRequest(
        grant_hash=given.struct_hash(),
        number=Uint64(number),
        most_units=Uint64(most),
        acknowledged=last,
        endpoint="chat",
        body_hash=ZERO_HASH,
        secret_hash=ZERO_HASH,
    )


def renewal(answer: Bytes32, *tabs: TabState, block: int = 10, time: int = 1000, redeemed: int = 0) -> Renewal:
    return Renewal(
        job_id=JOB,
        nonce=answer,
        block_number=Uint64(block),
        block_time=time,
        redeemed=Uint64(redeemed),
        tabs=tabs or (tab(ALICE), tab(BOB), tab(CAROL)),
    )


def tab(account: Address, units: int = 500, *, closing: bool = False) -> TabState:
    return TabState(account=account, units=Uint64(units), closing=closing)


def serving(*tabs: TabState, **changes: int) -> Ledger:
    """A ledger with a renewal in force, whose nonce was made at second 0."""
    made = Ledger(JOB, TERMS, RULES)
    made.open_nonce(nonce(0), 0.0)
    made.renew(renewal(nonce(0), *tabs, **changes), 1.0)
    return made


def refused(made: Ledger, given: Grant, asked: SessionRequest, now: float = 2.0, account: Address = ALICE) -> str:
    before = (made.served, made.charged)
    with pytest.raises(RequestRefused) as refusal:
        made.reserve(account, given, asked, now)
    assert (made.served, made.charged) == before
    return refusal.value.code


def spend(made: Ledger, given: Grant, number: int, units: int, last: Bytes32 = ZERO_HASH, most: int = 0) -> Bytes32:
    """One request from start to end; returns its receipt's hash."""
    taken = made.reserve(account_of(given), given, request(given, number, most or units, last), 2.0)
    receipt = keccak(given.struct_hash() + number.to_bytes(8))
    made.settle(taken, units, receipt)
    return receipt


def account_of(given: Grant) -> Address:
    return Address(given.workload[:20])


def test_without_a_renewal_nothing_is_served() -> None:
    made = Ledger(JOB, TERMS, RULES)
    assert refused(made, grant(), request(grant())) == SessionCode.NO_LEASE
    made.open_nonce(nonce(0), 0.0)
    assert refused(made, grant(), request(grant())) == SessionCode.NO_LEASE


def test_a_lease_ends_its_seconds_after_its_nonce_was_made() -> None:
    made = Ledger(JOB, TERMS, RULES)
    made.open_nonce(nonce(0), 0.0)
    made.renew(renewal(nonce(0)), 50.0)
    made.reserve(ALICE, grant(), request(grant()), SECONDS - 0.001)
    assert refused(made, grant(salt=1), request(grant(salt=1)), SECONDS) == SessionCode.NO_LEASE


def test_a_clock_that_is_turned_back_gives_no_lease_back() -> None:
    made = serving()
    assert refused(made, grant(), request(grant()), SECONDS) == SessionCode.NO_LEASE
    assert refused(made, grant(), request(grant()), 1.0) == SessionCode.NO_LEASE


def test_a_clock_that_stands_still_serves_no_more_than_the_lease() -> None:
    made, last = serving(), ZERO_HASH
    for number in range(1, 11):
        last = spend(made, grant(), number, 10, last)
    assert refused(made, grant(), request(grant(), 11, 1, last)) == SessionCode.LEASE_SPENT


def test_a_request_that_would_pass_the_lease_with_what_is_reserved_is_refused() -> None:
    made = serving()
    made.reserve(ALICE, grant(), request(grant(), most=60), 2.0)
    assert refused(made, grant(salt=1), request(grant(salt=1), most=41)) == SessionCode.LEASE_SPENT


def test_a_stockpiled_renewal_is_refused_since_its_nonce_is_not_the_open_one() -> None:
    made = Ledger(JOB, TERMS, RULES)
    made.open_nonce(nonce(0), 0.0)
    made.open_nonce(nonce(1), 1.0)
    with pytest.raises(RenewalRefused, match="nonce"):
        made.renew(renewal(nonce(0)), 2.0)
    made.renew(renewal(nonce(1)), 2.0)
    with pytest.raises(RenewalRefused, match="nonce"):
        made.renew(renewal(nonce(1)), 3.0)


STALE = {
    "an older block": {"block": 9},
    "an earlier time": {"time": 999},
    "less that was redeemed": {"redeemed": 0},
    "more than was signed": {"redeemed": 21},
}


@pytest.mark.parametrize("change", STALE.values(), ids=STALE)
def test_a_renewal_that_cannot_follow_the_last_one_is_refused_and_the_lease_stays(change: dict[str, int]) -> None:
    made = serving()
    spend(made, grant(), 1, 20)
    made.statement([ALICE])
    made.open_nonce(nonce(1), 2.0)
    made.renew(renewal(nonce(1), redeemed=20), 2.0)
    made.open_nonce(nonce(2), 3.0)
    with pytest.raises(RenewalRefused):
        made.renew(renewal(nonce(2), **{"redeemed": 20, **change}), 3.0)
    made.reserve(BOB, grant(BOB), request(grant(BOB), most=60), 4.0)


def test_a_renewal_of_another_service_is_refused() -> None:
    made = Ledger(JOB, TERMS, RULES)
    made.open_nonce(nonce(0), 0.0)
    with pytest.raises(RenewalRefused):
        made.renew(replace(renewal(nonce(0)), job_id=JobId(Bytes32(bytes(32)))), 1.0)


def test_a_renewal_that_names_an_account_twice_is_refused() -> None:
    made = Ledger(JOB, TERMS, RULES)
    made.open_nonce(nonce(0), 0.0)
    with pytest.raises(RenewalRefused, match="twice"):
        made.renew(renewal(nonce(0), tab(ALICE), tab(ALICE, 9000)), 1.0)


def test_an_account_without_a_tab_in_the_newest_renewal_is_not_served() -> None:
    made = serving(tab(BOB))
    assert refused(made, grant(), request(grant())) == SessionCode.NO_TAB


def test_an_account_that_closes_is_served_no_more_even_if_a_later_renewal_does_not_say_so() -> None:
    made = serving()
    last = spend(made, grant(), 1, 5)
    made.open_nonce(nonce(1), 2.0)
    assert made.renew(renewal(nonce(1), tab(ALICE, closing=True), tab(BOB)), 2.0) == (ALICE,)
    assert refused(made, grant(), request(grant(), 2, last=last)) == SessionCode.NO_TAB
    made.open_nonce(nonce(2), 3.0)
    made.renew(renewal(nonce(2)), 3.0)
    assert refused(made, grant(), request(grant(), 2, last=last), 4.0) == SessionCode.NO_TAB


def test_a_request_beyond_the_tab_or_the_grant_is_refused() -> None:
    made = serving(tab(ALICE, 15))
    assert refused(made, grant(), request(grant(), most=16)) == SessionCode.TAB_SPENT
    small = grant(cap=9)
    assert refused(made, small, request(small, most=10)) == SessionCode.GRANT_SPENT
    made.reserve(ALICE, grant(), request(grant(), most=10), 2.0)
    assert refused(made, grant(salt=1), request(grant(salt=1), most=6)) == SessionCode.TAB_SPENT


def test_a_request_that_is_replayed_skipped_or_comes_while_another_runs_is_refused() -> None:
    made = serving()
    assert refused(made, grant(), request(grant(), 2)) == SessionCode.NUMBER_UNEXPECTED
    taken = made.reserve(ALICE, grant(), request(grant(), 1), 2.0)
    assert refused(made, grant(), request(grant(), 1)) == SessionCode.ANSWER_RUNS
    made.settle(taken, 3, keccak(b"receipt"))
    assert refused(made, grant(), request(grant(), 1)) == SessionCode.NUMBER_UNEXPECTED
    assert refused(made, grant(), request(grant(), 2)) == SessionCode.NOT_ACKNOWLEDGED
    made.reserve(ALICE, grant(), request(grant(), 2, last=keccak(b"receipt")), 2.0)


def test_a_grant_counts_for_the_account_that_signed_it_alone() -> None:
    made = serving()
    spend(made, grant(), 1, 1)
    assert refused(made, grant(), request(grant(), 2), account=BOB) == SessionCode.GRANT_REFUSED


@pytest.mark.parametrize(("change", "code"), [
    ({"endpoint": "score"}, SessionCode.ENDPOINT_REFUSED),
    ({"most_units": Uint64(0)}, SessionCode.UNITS_REFUSED),
    ({"most_units": Uint64(61)}, SessionCode.UNITS_REFUSED),
])  # fmt: skip
def test_what_the_owners_do_not_allow_is_refused(change: dict[str, object], code: SessionCode) -> None:
    assert refused(serving(), grant(), replace(request(grant()), **change)) == code


def test_a_grant_and_a_service_end_by_the_time_that_blocks_show_and_the_clock_adds() -> None:
    made = serving(time=1000)
    made.reserve(ALICE, grant(until=1002), request(grant(until=1002)), 2.5)
    assert refused(made, grant(until=1003, salt=1), request(grant(until=1003, salt=1)), 4.0) == SessionCode.GRANT_OVER
    assert refused(made, grant(until=1003, salt=1), request(grant(until=1003, salt=1)), 1.0) == SessionCode.GRANT_OVER
    late = serving(time=END)
    assert refused(late, grant(until=2 * END), request(grant(until=2 * END))) == SessionCode.ENDED


def test_an_account_has_a_bounded_number_of_grants_until_some_are_over() -> None:
    made = serving(time=1000)
    for salt in range(GRANTS_EACH):
        spend(made, grant(until=1010, salt=salt), 1, 1)
    more = grant(until=5000, salt=GRANTS_EACH)
    assert refused(made, more, request(more, most=1)) == SessionCode.BUSY
    made.reserve(BOB, grant(BOB), request(grant(BOB), most=1), 3.0)
    made.reserve(ALICE, more, request(more, most=1), 20.0)


def test_accounts_beyond_the_bound_are_refused_and_known_ones_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MAX_ACCOUNTS", 1)
    made = serving()
    last = spend(made, grant(), 1, 1)
    assert refused(made, grant(BOB), request(grant(BOB)), account=BOB) == SessionCode.BUSY
    spend(made, grant(), 2, 1, last)


def test_units_beyond_what_was_reserved_are_not_charged_and_no_request_is_settled_twice() -> None:
    made = serving()
    taken = made.reserve(ALICE, grant(), request(grant(), most=7), 2.0)
    assert made.cumulative(taken, 99) == 7
    made.settle(taken, 99, keccak(b"receipt"))
    assert (made.charged, made.served) == (7, 7)
    with pytest.raises(ValueError, match="settled already"):
        made.settle(taken, 1, keccak(b"receipt"))


def test_statements_show_buckets_and_exact_units_of_what_is_over_only() -> None:
    made = serving()
    spend(made, grant(), 1, 27)
    spend(made, grant(BOB), 1, 9)
    first = made.statement([ALICE, BOB, Address(b"\x0c" * 20)])
    assert [(entry.account, entry.units, entry.last) for entry in first.entries] == [
        (ALICE, 20, False),
        (BOB, 0, False),
    ]
    assert first.total == 30
    made.open_nonce(nonce(1), 2.0)
    made.renew(renewal(nonce(1), tab(ALICE, closing=True), redeemed=30), 2.0)
    assert [(entry.units, entry.last) for entry in made.statement([ALICE]).entries] == [(27, True)]
    last = made.statement(made.unclosed(), last=True)
    assert (last.total, last.last, [entry.units for entry in last.entries]) == (36, True, [9])
    assert refused(made, grant(BOB, salt=1), request(grant(BOB, salt=1)), account=BOB) == SessionCode.ENDED


def test_at_the_end_every_account_gets_one_last_entry_though_all_its_units_were_stated() -> None:
    made = serving()
    spend(made, grant(), 1, 20)
    spend(made, grant(BOB), 1, 9)
    made.settle(made.reserve(CAROL, grant(CAROL), request(grant(CAROL)), 2.0), 0, keccak(b"receipt"))
    made.statement([ALICE])
    assert made.unstated() == [BOB]
    last = made.statement(made.unclosed(), last=True)
    assert {entry.account: (int(entry.units), entry.last) for entry in last.entries} == {
        ALICE: (20, True),
        BOB: (9, True),
        CAROL: (0, True),
    }
    assert made.unclosed() == []


def test_an_account_that_closes_while_its_answer_runs_gets_its_last_entry_afterwards() -> None:
    made = serving()
    taken = made.reserve(ALICE, grant(), request(grant(), most=20), 2.0)
    made.open_nonce(nonce(1), 2.0)
    made.renew(renewal(nonce(1), tab(ALICE, closing=True)), 2.0)
    assert [(entry.units, entry.last) for entry in made.statement([ALICE]).entries] == [(0, False)]
    made.settle(taken, 13, keccak(b"receipt"))
    assert [(entry.units, entry.last) for entry in made.statement([ALICE]).entries] == [(13, True)]


def test_a_service_does_not_end_while_an_answer_runs() -> None:
    made = serving()
    made.reserve(ALICE, grant(), request(grant()), 2.0)
    with pytest.raises(ValueError, match="no request runs"):
        made.statement((), last=True)


@dataclass
class Chain:
    """What the chain shows: the highest total that was posted, each account's tab, and the block."""

    redeemed: int = 0
    block: int = 1
    units: dict[Address, int] = field(default_factory=dict)
    closing: set[Address] = field(default_factory=set)


class LyingHost(RuleBasedStateMachine):
    """A host that orders, repeats, delays and withholds everything, and owns the clock. The others are honest."""

    renewals = Bundle("renewals")
    statements = Bundle("statements")
    requests = Bundle("requests")
    runs = Bundle("runs")

    @initialize()
    def begin(self) -> None:
        self.ledger, self.chain = Ledger(JOB, TERMS, RULES), Chain()
        self.nonces = 0
        self.now = 0.0
        self.taken: set[tuple[Bytes32, int]] = set()
        self.receipts: dict[Bytes32, tuple[int, Bytes32]] = {}
        self.spent: dict[Bytes32, int] = {}
        self.charged: dict[Address, int] = {ALICE: 0, BOB: 0}
        self.said: dict[Address, int] = {ALICE: 0, BOB: 0}
        self.total = 0
        self.chain.units = {ALICE: 150, BOB: 90}
        self.renew_honestly()

    @rule()
    def renew_honestly(self) -> None:
        """A nonce, its renewal and its delivery, with nothing between."""
        self.ask_for_a_nonce()
        self.deliver(self.nodes_sign(0))

    @rule(step=st.sampled_from([1.0, 5.0, 61.0, -30.0, -300.0]))
    def clock(self, step: float) -> None:
        self.now += step

    @rule(account=st.sampled_from([ALICE, BOB]), units=st.sampled_from([0, 40, 400]))
    def open_tab(self, account: Address, units: int) -> None:
        self.chain.units[account] = self.chain.units.get(account, 0) + units

    @rule(account=st.sampled_from([ALICE, BOB]))
    def ask_to_close(self, account: Address) -> None:
        self.chain.closing.add(account)

    @rule()
    def block(self) -> None:
        self.chain.block += 1

    @rule(target=renewals, answer=st.integers(0, 2))
    def nodes_sign(self, answer: int) -> Renewal:
        """For the newest nonce or an older one."""
        tabs = [tab(name, units, closing=name in self.chain.closing) for name, units in self.chain.units.items()]
        asked = nonce(max(0, self.nonces - answer))
        return replace(
            renewal(asked, block=self.chain.block, time=1000 + self.chain.block, redeemed=self.chain.redeemed),
            tabs=tuple(tabs),
        )

    @rule()
    def ask_for_a_nonce(self) -> None:
        self.nonces += 1
        self.ledger.open_nonce(nonce(self.nonces), self.now)

    @rule(given=renewals)
    def deliver(self, given: Renewal) -> None:
        try:
            closing = self.ledger.renew(given, self.now)
        except RenewalRefused:
            return
        self._check(self.ledger.statement(closing))

    @rule(
        target=requests,
        account=st.sampled_from([ALICE, BOB]),
        salt=st.integers(0, 2),
        cap=st.sampled_from([15, 1000]),
        most=st.sampled_from([1, 7, 33, 60]),
    )
    def account_asks(self, account: Address, salt: int, cap: int, most: int) -> tuple[Grant, SessionRequest]:
        given = grant(account, cap, salt=salt)
        number, last = self.receipts.get(given.struct_hash(), (0, ZERO_HASH))
        return given, request(given, number + 1, most, last)

    @rule(
        target=runs,
        account=st.sampled_from([ALICE, BOB]),
        salt=st.integers(0, 2),
        cap=st.sampled_from([15, 1000]),
        most=st.sampled_from([1, 7, 33, 60]),
    )
    def ask_and_serve(self, account: Address, salt: int, cap: int, most: int) -> Reservation | object:
        return self.serve(self.account_asks(account, salt, cap, most))

    @rule(target=runs, asked=requests)
    def serve(self, asked: tuple[Grant, SessionRequest]) -> Reservation | object:
        given, wanted = asked
        account = account_of(given)
        try:
            taken = self.ledger.reserve(account, given, wanted, self.now)
        except RequestRefused:
            return multiple()
        assert (taken.grant_hash, taken.number) not in self.taken
        self.taken.add((taken.grant_hash, taken.number))
        assert self.spent.get(taken.grant_hash, 0) + taken.most <= given.cap
        return taken

    @rule(taken=consumes(runs), units=st.integers(0, 200))
    def finish(self, taken: Reservation, units: int) -> None:
        receipt = keccak(taken.grant_hash + taken.number.to_bytes(8))
        charged = min(units, taken.most)
        self.spent[taken.grant_hash] = self.spent.get(taken.grant_hash, 0) + charged
        assert self.ledger.cumulative(taken, units) == self.spent[taken.grant_hash]
        self.ledger.settle(taken, units, receipt)
        self.charged[taken.account] += charged
        self.receipts[taken.grant_hash] = (taken.number, receipt)

    @rule(target=statements, accounts=st.lists(st.sampled_from([ALICE, BOB])))
    def state(self, accounts: list[Address]) -> Statement:
        return self._check(self.ledger.statement(accounts))

    @rule(given=statements)
    def post(self, given: Statement) -> None:
        """In any order, any number of times; the chain keeps the highest total."""
        self.chain.redeemed = max(self.chain.redeemed, given.total)

    def _check(self, given: Statement) -> Statement:
        assert self.total <= given.total <= self.ledger.charged
        self.total = given.total
        for entry in given.entries:
            assert self.said[entry.account] <= entry.units <= self.charged[entry.account]
            assert entry.units % TERMS.bucket == 0 or entry.last
            self.said[entry.account] = entry.units
        assert sum(self.said.values()) <= given.total
        return given

    @invariant()
    def no_more_is_served_than_what_was_redeemed_and_the_lease(self) -> None:
        assert self.ledger.served <= self.chain.redeemed + LEASE
        assert self.ledger.charged == sum(self.charged.values()) <= self.ledger.served

    @invariant()
    def no_account_is_charged_beyond_its_tab(self) -> None:
        for account, units in self.charged.items():
            assert units <= self.chain.units.get(account, 0)


LyingHost.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLyingHost = LyingHost.TestCase
