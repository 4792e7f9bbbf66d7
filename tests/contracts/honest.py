"""The honest consumer, provider and owner: what each does at the latest, and the most that it may lose.

The allowances are written from what each signs and from ADR 0014, not from the fault table. A negative one is what the
party is owed. Whatever an honest party must be able to do is done without asking: the market's refusal fails the test.
"""

from __future__ import annotations

from typing import Protocol

from sealmarket.chain.model import Fault
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import Address
from tests.contracts.economy import (
    ACCEPTANCE,
    BOND,
    COMMITTEE,
    CONSUMER,
    FEE,
    OWNER,
    PROVIDER,
    REFUSAL,
    TIMING,
    Job,
    Market,
)

TIME_OUTS = {Fault.WORKLOAD_TIMED_OUT, Fault.VALIDATOR_TIMED_OUT}
CONSUMED = {Fault.NONE, Fault.WORKLOAD_FAILED, Fault.PROVIDER_SILENT, Fault.RESULT_WITHHELD, *TIME_OUTS}
"""Ends after which a use stays taken."""
NOBODYS = {
    Fault.TERMS_REFUSED: REFUSAL,
    Fault.INPUT_REFUSED: REFUSAL,
    Fault.INPUT_FAILED: ACCEPTANCE,
    Fault.READER_TIMED_OUT: ACCEPTANCE,
    Fault.STOPPED_BEFORE_RELEASE: ACCEPTANCE,
    Fault.SHARES_MISSING: ACCEPTANCE,
}
"""Ends that are neither the consumer's nor the provider's doing -> the signatures that the payer has paid for."""
HOLDING = {Status.MATCHED, Status.QUOTED, Status.ACCEPTED}
"""States in which a job holds a use that it may still return."""


class Honest(Protocol):
    """One party. ``accused``: ends that do not happen to it."""

    account: Address
    accused: frozenset[Fault]

    def due(self, market: Market, job: Job) -> int:
        """When it must act on a running job at the latest."""
        ...

    def act(self, market: Market, job: Job) -> None:
        """What it does then."""
        ...

    def lost(self, market: Market, job: Job) -> int:
        """What it has lost by a job, beside what the job still holds of it."""
        ...

    def may_lose(self, market: Market, job: Job) -> int:
        """The most that its own acts and limits allow."""
        ...

    def check_signed(self, market: Market, job: Job) -> None:
        """Hold a job against the party's own limits."""
        ...

    def check_held(self, market: Market, job: Job) -> None:
        """Hold a running job's age against them."""
        ...


def close_or_answer(market: Market, job: Job) -> bool:
    """What any party does: end what is overdue. Honest nodes answer a challenge truly before."""
    if market.now > market.deadline(job):
        market.close(job)
    elif market.status(job) is Status.CHALLENGED and not job.corrupt:
        market.answer(job, available=not job.withheld)
    else:
        return False
    return True


def due_to_anybody(market: Market, job: Job) -> int:
    """The last second of an honest quorum's answer; else the first one in which a job is overdue."""
    answers = market.status(job) is Status.CHALLENGED and not job.corrupt
    return market.deadline(job) + (0 if answers else 1)


class Consumer:
    """Acknowledges a result that is there and challenges one that is not, at the last second."""

    account = CONSUMER
    accused: frozenset[Fault] = frozenset()

    def due(self, market: Market, job: Job) -> int:
        """As the protocol says."""
        return market.deadline(job) if market.status(job) is Status.SETTLED else due_to_anybody(market, job)

    def act(self, market: Market, job: Job) -> None:
        """As the protocol says."""
        if close_or_answer(market, job) or market.status(job) is not Status.SETTLED:
            return
        if job.withheld:
            market.challenge(job)
        else:
            market.acknowledge(job)

    def lost(self, market: Market, job: Job) -> int:
        """As the protocol says."""
        return -job.moved[CONSUMER] - market.locked_of_payer(job)

    def may_lose(self, market: Market, job: Job) -> int:
        """Nothing for a provider's fault; the hold fee for its own; the signatures where nobody is at fault."""
        prices = job.owners + job.earned + ACCEPTANCE
        if job.fault is None:
            before = {Status.MATCHED: 0, Status.QUOTED: 0, Status.ACCEPTED: ACCEPTANCE}
            return before.get(market.status(job), prices)
        match job.fault:
            case Fault.NONE if job.withheld and not job.corrupt:
                return 0
            case Fault.NONE:
                return prices + (BOND if job.answered else 0)
            case Fault.WORKLOAD_FAILED:
                return prices
            case Fault.WORKLOAD_TIMED_OUT | Fault.VALIDATOR_TIMED_OUT:
                asked = min(job.spec.timeout_fee, job.work) + job.owners
                return min(job.request.timeout_limit, asked) + ACCEPTANCE
            case Fault.WITHDRAWN:
                return job.spec.hold_fee
            case Fault.REQUEST_REFUSED:
                return REFUSAL + job.spec.hold_fee if job.corrupt else 0
        return NOBODYS.get(job.fault, 0)

    def check_signed(self, market: Market, job: Job) -> None:
        """As the protocol says."""
        spec, signed = job.spec, job.request
        assert spec.penalty >= signed.min_penalty
        assert spec.compute_price <= signed.max_compute_price
        assert spec.unit_price <= signed.max_unit_price
        assert spec.timeout_fee <= spec.timeout_limit == signed.timeout_limit
        assert all(use.price <= limit.max_price for use, limit in zip(spec.assets, signed.assets, strict=True))

    def check_held(self, market: Market, job: Job) -> None:
        """The windows that it signed, twice where a report renews them, and once more for a challenge."""
        r = job.request
        windows = r.quote_window + 3 * r.decide_window + 2 * r.settle_window + r.challenge_window
        assert market.now - job.spec.matched_at <= windows + 1


class Provider:
    """Quotes and settles at the last second that its enclave allows; says in time that it has no shares."""

    account = PROVIDER
    accused = frozenset(
        {
            Fault.NO_QUOTE,
            Fault.PLATFORM_REFUSED,
            Fault.EVIDENCE_WITHHELD,
            Fault.PROVIDER_SILENT,
            Fault.RESULT_WITHHELD,
        }
    )

    def due(self, market: Market, job: Job) -> int:
        """As the protocol says."""
        if market.status(job) is Status.MATCHED:
            return market.deadline(job)
        if market.status(job) is not Status.ACCEPTED:
            return due_to_anybody(market, job)
        found = market.state.interruptions[job.spec.request_hash]
        if not found.shares_deadline:
            if not job.starved:
                return _ready(job, job.accepted_at)
            return market.now if found.stopped else market.deadline(job)
        if market.now <= found.shares_deadline:
            return found.shares_deadline + 1
        return _ready(job, found.shares_deadline) if self._joins(market, job) else market.deadline(job)

    def act(self, market: Market, job: Job) -> None:
        """As the protocol says."""
        if close_or_answer(market, job):
            return
        if market.status(job) is Status.MATCHED:
            market.quote(job)
        elif market.status(job) is Status.ACCEPTED:
            self._run(market, job)

    def _run(self, market: Market, job: Job) -> None:
        found = market.state.interruptions[job.spec.request_hash]
        if self._joins(market, job):
            finish(market, job, market.most_units(job))
        elif found.stopped:
            market.end_interrupted(job, by_provider=True)
        elif not found.shares_deadline:
            market.report(job, 0)
        elif market.now > found.shares_deadline:
            market.report(job, found.posted & job.garbage)
            market.end_interrupted(job, by_provider=True)

    def _joins(self, market: Market, job: Job) -> bool:
        posted = market.state.interruptions[job.spec.request_hash].posted
        return not job.starved or (posted & ~job.garbage).bit_count() >= COMMITTEE.threshold

    def lost(self, market: Market, job: Job) -> int:
        """As the protocol says."""
        stake = job.owners + job.spec.penalty if job.fault is None else 0
        return -job.moved[PROVIDER] - stake - market.unspent(job)

    def may_lose(self, market: Market, job: Job) -> int:
        """The fees of the releases that it asked for, less what its order asks."""
        posted = FEE * market.state.interruptions[job.spec.request_hash].posted.bit_count()
        if job.fault in (Fault.NONE, Fault.WORKLOAD_FAILED):
            return posted - job.order.price - job.order.unit_price * job.units
        if job.fault in TIME_OUTS:
            return posted - min(job.order.timeout_fee, job.work)
        return posted

    def check_signed(self, market: Market, job: Job) -> None:
        """As the protocol says."""
        spec, signed = job.spec, job.order
        assert job.owners + spec.penalty <= signed.max_stake
        assert spec.quote_window >= signed.min_quote_window
        assert spec.settle_window >= signed.min_settle_window
        assert spec.run_seconds <= signed.max_run_seconds
        assert spec.read_seconds <= signed.max_read_seconds
        assert spec.validate_seconds <= signed.max_validate_seconds
        assert spec.decoded_bytes <= signed.max_decoded_bytes

    def check_held(self, market: Market, job: Job) -> None:
        """As the protocol says."""
        assert market.now - job.spec.matched_at <= job.order.max_hold + 1


class Owner:
    """Owns the first asset of each job and does nothing."""

    account = OWNER
    accused: frozenset[Fault] = frozenset()

    def due(self, market: Market, job: Job) -> int:
        """As the protocol says."""
        return due_to_anybody(market, job)

    def act(self, market: Market, job: Job) -> None:
        """As the protocol says."""
        close_or_answer(market, job)

    def lost(self, market: Market, job: Job) -> int:
        """As the protocol says."""
        return -job.moved[OWNER]

    def may_lose(self, market: Market, job: Job) -> int:
        """The price of a use that a job has consumed; of one that timed out the share that its terms demand."""
        price = job.spec.assets[0].price
        if job.fault is None:
            return 0 if market.status(job) in HOLDING else -price
        if job.fault not in CONSUMED:
            return 0
        return -(price * job.terms[0].timeout_share // 100) if job.fault in TIME_OUTS else -price

    def check_signed(self, market: Market, job: Job) -> None:
        """As the protocol says."""
        terms, use = job.terms[0], job.spec.assets[0]
        assert use.price <= terms.price
        assert use.epsilon <= terms.per_job_cap
        assert 100 * (job.spec.timeout_limit - job.spec.timeout_fee) >= job.owners * terms.timeout_share

    def check_held(self, market: Market, job: Job) -> None:
        """As the protocol says."""
        if market.status(job) in HOLDING:
            assert market.now - job.spec.matched_at <= job.terms[0].max_hold + 1


def finish(market: Market, job: Job, units: int) -> None:
    """Send what the enclave signed."""
    if job.cause is None:
        market.settle(job, units)
    else:
        market.fail(job, job.cause, job.cause_asset, units)


def _ready(job: Job, since: int) -> int:
    """When an enclave whose shares came at ``since`` has finished at the latest, and its report is final."""
    return since + TIMING.transfer_allowance + 4 * TIMING.finality_seconds + job.spec.stage_seconds
