"""A market of numbers: matches by the limits, steps by the table of transitions, money by the fault table.

Nothing is signed and nothing is hashed. Each step becomes the events that the contracts would emit, and the books are
what :mod:`tests.contracts.replay` makes of them. Amounts are in the token's smallest unit, times in seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sealmarket.chain.model import AssetState, Fault
from sealmarket.protocol import payouts
from sealmarket.protocol.book import Committee, Member, Timing, Windows
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.fitting import Rules, Side, why_not
from sealmarket.protocol.orders import ComputeOrder, Request
from sealmarket.protocol.payouts import Amounts
from sealmarket.protocol.transitions import ENDS, TRANSITIONS, Status
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, Address, Bytes32, HexBytes, Uint64, Wei
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import AssetId, FailureCause
from sealmarket_enclave.protocol.terms import Terms
from tests import samples
from tests.contracts.fault_rows import of_interface, value
from tests.contracts.replay import Meter, State

CONSUMER, PROVIDER, OWNER = samples.CONSUMER, samples.PROVIDER, samples.OWNER
OTHER = Address(b"\x0b" * 20)
"""The owner of the second asset."""
NODES = tuple(Address(bytes([0xE0 + index]) * 20) for index in range(4))
COMMITTEE = Committee(
    epoch=1,
    threshold=2,
    members=tuple(Member(signer=node, hpke_public_key=HexBytes(b""), url="") for node in NODES),
)
"""Refusing takes one signature more than accepting, so that the fees used differ from those set aside."""
START, FUNDS, FEE, FACTOR, UNIT_SECONDS = 1_700_000_000, 1_000_000, 7, 3, 60
TIMING = Timing(finality_seconds=10, transfer_allowance=20, windows=Windows(60, 60, 60, 60), hold_rate=Uint64(10**13))
RULES = Rules(timing=TIMING, committees={1: COMMITTEE}, fee_of={ZERO_ADDRESS: FEE}.get, ends_of=lambda _: 0)
ACCEPTANCE = FEE * COMMITTEE.threshold
REFUSAL = FEE * COMMITTEE.refusal_threshold
"""Also what each job sets aside."""
BOND = REFUSAL + FEE * FACTOR
EVERY_NODE_ONCE = FEE * len(NODES)
FAILED = {
    FailureCause.INPUT: Fault.INPUT_FAILED,
    FailureCause.WORKLOAD: Fault.WORKLOAD_FAILED,
    FailureCause.WORKLOAD_TIME: Fault.WORKLOAD_TIMED_OUT,
    FailureCause.VALIDATOR: Fault.VALIDATOR_TIMED_OUT,
    FailureCause.READER: Fault.READER_TIMED_OUT,
}
PRINTED = of_interface()
Plant = Callable[[Fault, Amounts], Amounts]


class NotAllowed(Exception):
    """The market refuses a step."""


@dataclass
class Job:
    """One job, its orders, and how the adversary arranged it.

    ``corrupt``: the adversary holds a quorum, else node 3 alone. ``starved``: no share comes but by a posted release.
    ``withheld``: the result's ciphertext is kept back. ``cause``: what the enclave signs at the end, None for a
    result. ``garbage``: bit i, node i posted no share. ``moved``: what an account's own money gained by the job.
    """

    spec: JobSpec
    job_id: Bytes32
    request: Request
    order: ComputeOrder
    terms: tuple[Terms, ...]
    corrupt: bool = False
    starved: bool = False
    withheld: bool = False
    cause: FailureCause | None = None
    cause_asset: int = 0
    garbage: int = 0
    accepted_at: int = 0
    units: int = 0
    answered: bool = False
    fault: Fault | None = None
    moved: Counter[Address] = field(default_factory=Counter)

    @property
    def owners(self) -> int:
        """O."""
        return sum(use.price for use in self.spec.assets)

    @property
    def work(self) -> int:
        """C + U."""
        return self.spec.compute_price + self.spec.unit_price * self.spec.max_units

    @property
    def earned(self) -> int:
        """C + u."""
        return self.spec.compute_price + self.spec.unit_price * self.units


class Market:
    """The books, the clock and all jobs. ``plant`` changes what a row pays: a mistake that a model must notice."""

    def __init__(self, plant: Plant = lambda _fault, amounts: amounts) -> None:
        self.now = START
        self.state = State()
        self.jobs: list[Job] = []
        self.ended: Counter[Fault] = Counter()
        self._plant = plant
        self._tell("EpochAnnounced", epoch=1, signers=NODES)
        self._tell("FeeBookOpened", epoch=1, token=ZERO_ADDRESS, members=len(NODES), fee=FEE)
        for holder in (CONSUMER, PROVIDER, OWNER, OTHER):
            self._tell("Deposited", token=ZERO_ADDRESS, holder=holder, amount=FUNDS)
        self._tell("Staked", token=ZERO_ADDRESS, holder=PROVIDER, amount=FUNDS // 2)

    # ---- what a reader sees ----

    def wealth(self, holder: Address) -> int:
        """Free and staked money."""
        balance = self.state.balances[ZERO_ADDRESS, holder]
        return balance.free + balance.staked

    def status(self, job: Job) -> Status:
        """Where a job stands."""
        return self.state.jobs[job.job_id].status

    def deadline(self, job: Job) -> int:
        """The last second for the next step."""
        return self.state.jobs[job.job_id].deadline

    def running(self) -> list[Job]:
        """Jobs that have not ended."""
        return [job for job in self.jobs if job.fault is None]

    def unspent(self, job: Job) -> int:
        """What is left of the fees for posted releases."""
        return self.state.interruptions[job.spec.request_hash].unspent

    def locked_of_payer(self, job: Job) -> int:
        """What a job holds of the payer's money and may still return in part."""
        match self.status(job):
            case Status.MATCHED | Status.QUOTED:
                return job.owners + job.work + REFUSAL + job.spec.hold_fee
            case Status.ACCEPTED:
                return job.owners + job.work
            case Status.CHALLENGED:
                return BOND
        return 0

    def total(self) -> int:
        """All money: of accounts, owed to nodes, burned, set aside, held by jobs."""
        balances = sum(balance.free + balance.staked for balance in self.state.balances.values())
        owed = FEE * sum(self.state.unclaimed[1, ZERO_ADDRESS])
        held = sum(self.locked_of_payer(job) + job.owners + job.spec.penalty for job in self.running())
        earned = sum(job.earned for job in self.running() if self.status(job) in (Status.SETTLED, Status.CHALLENGED))
        return (
            balances + owed + held + earned + self.state.burned[ZERO_ADDRESS] + sum(self.unspent(j) for j in self.jobs)
        )

    def meter(self, asset: AssetId) -> Meter:
        """Uses and budget of an asset's only version."""
        return self.state.meters[asset, 1]

    def version(self, asset: AssetId) -> AssetState:
        """The same, as the registry has it."""
        meter = self.meter(asset)
        return AssetState(
            owner=meter.owner,
            seal_hash=ZERO_HASH,
            epoch=1,
            terms=Terms(**meter.terms),
            terms_version=meter.terms_version,
            revoked=meter.revoked,
            suspended=meter.suspended,
            strict_version=meter.strict_version,
            uses_taken=meter.uses_taken,
            budget_taken=meter.budget_taken,  # type: ignore[arg-type]
        )

    # ---- owners ----

    def publish(self, owner: Address, terms: Terms) -> AssetId:
        """A new asset."""
        asset = AssetId(keccak(b"asset %d" % len(self.state.meters)))
        self._tell("VersionPublished", asset_id=asset, version=1, owner=owner, terms=_fields(terms))
        return asset

    def tighten(self, asset: AssetId, **changes: Any) -> None:
        """Replace some of the terms."""
        meter = self.meter(asset)
        if meter.revoked or not changes.items() - meter.terms.items():
            raise NotAllowed("tighten")
        terms = meter.terms | changes
        newer = meter.terms_version + 1
        self._tell("TermsTightened", asset_id=asset, version=1, terms=terms, terms_version=newer)

    def revoke(self, asset: AssetId) -> None:
        """End an asset's sale."""
        self._tell("VersionRevoked", asset_id=asset, version=1)

    def lift(self, asset: AssetId) -> None:
        """Pay for a suspended version."""
        if not self.meter(asset).suspended:
            raise NotAllowed("lift")
        self._tell("SuspensionLifted", asset_id=asset, version=1)
        self._tell("SuspensionPaid", asset_id=asset, version=1, token=ZERO_ADDRESS, burned=REFUSAL)

    # ---- before acceptance ----

    def match(self, request: Request, order: ComputeOrder, sides: Sequence[Side]) -> Job:
        """A job of these orders. Raises NotAllowed with the name of the limit that is not kept."""
        if unmet := why_not(request, order, sides, RULES, self.now):
            raise NotAllowed(unmet.limit)
        job = self._job(request, order, sides)
        free = self.state.balances[ZERO_ADDRESS, CONSUMER].free
        staked = self.state.balances[ZERO_ADDRESS, PROVIDER].staked
        if free < job.owners + job.work + REFUSAL + job.spec.hold_fee or staked < job.owners + job.spec.penalty:
            raise NotAllowed("money")
        for limit in request.assets:
            meter = self.meter(limit.asset_id)
            if meter.uses_taken == meter.terms["max_uses"]:
                raise NotAllowed("uses")
            if meter.budget_taken + limit.epsilon > meter.terms["budget"]:
                raise NotAllowed("budget")
        self.jobs.append(job)
        self._tell("JobMatched", job, spec=_fields(job.spec), fees_held=REFUSAL)
        return job

    def _job(self, request: Request, order: ComputeOrder, sides: Sequence[Side]) -> Job:
        uses = tuple(
            samples.asset_use(
                asset_id=side.limit.asset_id,
                owner=self.meter(side.limit.asset_id).owner,
                terms_version=side.limit.terms_version,
                price=Wei(side.price),
                epsilon=side.limit.epsilon,
            )
            for side in sides
        )
        held = (2 * sum(use.price for use in uses) + request.min_penalty) * TIMING.hold_rate
        held *= request.quote_window + request.decide_window
        name = Bytes32((len(self.jobs) + 1).to_bytes(32))
        spec = samples.job_of(
            *(request, order, uses),
            request_hash=name,
            hold_fee=Wei(FEE * FACTOR - -held // 10**18),
            matched_at=self.now,
        )
        terms = tuple(self.version(use.asset_id).terms for use in uses)
        return Job(spec, name, request, order, terms)

    def cancel(self, job: Job) -> None:
        """The consumer withdraws."""
        self._timely(job)
        self._end(job, "cancel", Fault.WITHDRAWN)

    def quote(self, job: Job) -> None:
        """The provider's evidence is posted."""
        self._goes_on(job, "quote", Status.QUOTED)
        self._tell("JobQuoted", job, evidence_hash=ZERO_HASH, deadline=self.now + job.spec.decide_window)

    def decide(self, job: Job, outcome: Outcome) -> None:
        """A quorum decides; an acceptance counts only while the terms let the job stand."""
        accepted = outcome is Outcome.ACCEPTED
        stands = accepted and all(self._stands(use.asset_id, use.terms_version) for use in job.spec.assets)
        self._timely(job)
        if stands:
            self._goes_on(job, "decide", Status.ACCEPTED)
        elif self.status(job) is not Status.QUOTED:
            raise NotAllowed("decide")
        count = COMMITTEE.threshold if accepted else COMMITTEE.refusal_threshold
        core = {"outcome": outcome, "evidence_hash": ZERO_HASH, "enclave_signer": NODES[0]}
        self._tell(
            *("JobDecided", job),
            core=core | {"enclave_key_hash": ZERO_HASH},
            signers=(1 << count) - 1,
            deadline=self.now + job.spec.settle_window if stands else 0,
            fees_returned=REFUSAL - ACCEPTANCE + job.spec.hold_fee if stands else 0,
        )
        if stands:
            job.accepted_at = self.now
        else:
            fault = Fault.TERMS_REFUSED if accepted else Fault[outcome.name]
            self._end(job, "decide", fault, f=FEE * count)

    def _stands(self, asset: AssetId, terms_version: int) -> bool:
        meter = self.meter(asset)
        return not meter.revoked and meter.strict_version <= terms_version and self.now <= meter.terms["expiry"]

    # ---- after acceptance ----

    def most_units(self, job: Job) -> int:
        """Minutes since the current window began, with the one begun."""
        begun = self.deadline(job) - job.spec.settle_window
        passed = (self.now - begun) // UNIT_SECONDS + 1 if self.now > begun else 1
        return min(passed, job.spec.max_units)

    def settle(self, job: Job, units: int) -> None:
        """The enclave's result."""
        self._goes_on(job, "settle", Status.SETTLED)
        self._metered(job, units)
        self._tell(
            *("JobSettled", job),
            refunded=job.work - job.earned,
            result_hash=ZERO_HASH,
            receipt_hash=ZERO_HASH,
            units=units,
        )

    def fail(self, job: Job, cause: FailureCause, asset: int, units: int) -> None:
        """The enclave's signed failure."""
        self._timely(job)
        if self.status(job) is not Status.ACCEPTED:
            raise NotAllowed("fail")
        self._metered(job, units)
        self._end(job, "fail", FAILED[cause])
        if cause is FailureCause.INPUT:
            self._tell("VersionSuspended", asset_id=job.spec.assets[asset].asset_id, version=1)

    def stop(self, job: Job) -> None:
        """A quorum promises not to release."""
        self._goes_on(job, "stop", Status.ACCEPTED)
        if self.state.interruptions[job.spec.request_hash].stopped:
            raise NotAllowed("stop")
        self._tell("JobStopped", job)

    def report(self, job: Job, excluded: int) -> None:
        """The enclave misses shares and leaves nodes out."""
        self._goes_on(job, "reportMissing", Status.ACCEPTED)
        found = self.state.interruptions[job.spec.request_hash]
        first = found.shares_deadline == 0
        balance = self.state.balances[ZERO_ADDRESS, PROVIDER]
        covered = balance.free + balance.staked >= EVERY_NODE_ONCE
        if excluded & found.excluded != found.excluded or (first and not covered):
            raise NotAllowed("reportMissing")
        shares = self.now + job.spec.decide_window if first else found.shares_deadline
        self._tell(
            *("SharesReportedMissing", job),
            excluded=excluded,
            shares_deadline=shares,
            settle_deadline=shares + job.spec.settle_window if first else self.deadline(job),
            set_aside=EVERY_NODE_ONCE if first else 0,
        )

    def post(self, job: Job, index: int) -> None:
        """A node's release comes on chain."""
        self._goes_on(job, "postRelease", Status.ACCEPTED)
        found = self.state.interruptions[job.spec.request_hash]
        if self.now > found.shares_deadline or found.posted >> index & 1:
            raise NotAllowed("postRelease")
        self._tell("ReleasePosted", job, index=index)

    def interrupted_by(self, job: Job) -> Fault | None:
        """The row of what was reported about a job."""
        found = self.state.interruptions[job.spec.request_hash]
        if found.stopped:
            return Fault.STOPPED_BEFORE_RELEASE
        left = (found.posted & ~found.excluded).bit_count()
        over = 0 < found.shares_deadline < self.now
        return Fault.SHARES_MISSING if over and left < COMMITTEE.threshold else None

    def end_interrupted(self, job: Job, *, by_provider: bool) -> None:
        """End a job by what was reported."""
        fault = self.interrupted_by(job)
        early = fault is Fault.STOPPED_BEFORE_RELEASE and not by_provider and self.now <= self.deadline(job)
        if fault is None or early:
            raise NotAllowed("endInterrupted")
        self._end(job, "endInterrupted", fault)

    def return_unspent(self, job: Job) -> None:
        """What was set aside for releases and not used."""
        found = self.state.interruptions[job.spec.request_hash]
        if not found.unspent or self.now <= found.shares_deadline:
            raise NotAllowed("returnUnspent")
        fields = {"request_hash": job.spec.request_hash, "token": ZERO_ADDRESS, "provider": PROVIDER}
        self._tell("UnspentReturned", job, **fields, amount=found.unspent)

    # ---- after settlement ----

    def acknowledge(self, job: Job) -> None:
        """The consumer has the result."""
        self._timely(job)
        self._end(job, "acknowledge", Fault.NONE)

    def challenge(self, job: Job) -> None:
        """The consumer says that the result is not there."""
        self._goes_on(job, "challenge", Status.CHALLENGED)
        if self.state.balances[ZERO_ADDRESS, CONSUMER].free < BOND:
            raise NotAllowed("challenge")
        self._tell("JobChallenged", job, challenger=CONSUMER, bond=BOND, deadline=self.now + job.spec.decide_window)

    def answer(self, job: Job, *, available: bool) -> None:
        """A quorum says whether it is."""
        self._timely(job)
        if self.status(job) is not Status.CHALLENGED:
            raise NotAllowed("answerChallenge")
        count = COMMITTEE.threshold if available else COMMITTEE.refusal_threshold
        job.answered = True
        self._tell("ChallengeAnswered", job, signers=(1 << count) - 1, bond_returned=0 if available else BOND)
        fault = Fault.NONE if available else Fault.RESULT_WITHHELD
        self._end(job, "answerChallenge", fault, a=FEE * count, B=BOND)

    def close(self, job: Job) -> None:
        """End what is overdue."""
        if self.now <= self.deadline(job):
            raise NotAllowed("close")
        match self.status(job):
            case Status.MATCHED:
                self._end(job, "close", Fault.NO_QUOTE)
            case Status.QUOTED:
                self._end(job, "close", Fault.COMMITTEE_SILENT)
            case Status.ACCEPTED:
                self._end(job, "close", self.interrupted_by(job) or Fault.PROVIDER_SILENT)
            case Status.SETTLED:
                self._end(job, "mature", Fault.NONE)
            case Status.CHALLENGED:
                self._tell("ChallengeAnswered", job, signers=0, bond_returned=BOND)
                self._end(job, "closeChallenge", Fault.NONE)

    # ---- inside ----

    def _timely(self, job: Job) -> None:
        if self.now > self.deadline(job):
            raise NotAllowed("too late")

    def _goes_on(self, job: Job, step: str, after: Status) -> None:
        self._timely(job)
        if (self.status(job), step, after, "") not in TRANSITIONS:
            raise NotAllowed(step)

    def _metered(self, job: Job, units: int) -> None:
        if units > self.most_units(job):
            raise NotAllowed("units")
        job.units = units

    def _end(self, job: Job, step: str, fault: Fault, **symbols: int) -> None:
        named = fault.name.title().replace("_", "")
        rows = (row for row in TRANSITIONS if (row.before, row.step, row.fault) == (self.status(job), step, named))
        row = next(rows, None)
        if row is None:
            raise NotAllowed(step)
        printed = amounts_of(job, fault, symbols)
        if rule := payouts.ROWS.get(fault.name):
            paid = rule(job.spec, job.units, ACCEPTANCE)
            assert paid == printed, f"{named}: the interface prints {printed}, payouts.py pays {paid}"
        amounts = self._plant(fault, printed)
        job.fault = fault
        self.ended[fault] += 1
        payout = {
            "refunded": amounts.payer,
            "paid": amounts.provider,
            "stake_returned": amounts.stake,
            "burned": amounts.burned,
            "owners_total": amounts.owners,
            "owners_paid": (1 << len(job.spec.assets)) - 1 if amounts.owners else 0,
        }
        self._tell("JobEnded", job, status=row.after, fault=fault, payout=payout)
        assert self.status(job) in ENDS

    def _tell(self, event: str, job: Job | None = None, **fields: Any) -> None:
        if job is None:
            return self.state.apply(event, fields, self.now)
        before = {holder: self.wealth(holder) for holder in (CONSUMER, PROVIDER, OWNER, OTHER)}
        self.state.apply(event, {"job_id": job.job_id} | fields, self.now)
        for holder, amount in before.items():
            job.moved[holder] += self.wealth(holder) - amount
        return None


def amounts_of(job: Job, fault: Fault, symbols: dict[str, int]) -> Amounts:
    """What the printed row comes to; ``symbols`` are those that the step alone knows."""
    spec = job.spec
    t = min(spec.timeout_fee, job.work, spec.timeout_limit)
    compute = int(spec.compute_price)
    known = {"O": job.owners, "C": compute, "U": job.work - compute, "u": job.earned - compute, "P": int(spec.penalty)}
    known |= {"H": int(spec.hold_fee), "F": REFUSAL, "f": ACCEPTANCE, "B": 0, "a": 0}
    known |= {"T": t, "X": min(spec.timeout_limit - t, job.owners)}
    cells = PRINTED[fault.name.title().replace("_", "")]
    return Amounts(*(value(cell, known | symbols) for cell in cells[:5]))


def _fields(shape: Any) -> dict[str, Any]:
    """A shape's members, those of its assets as well."""
    found = {name: getattr(shape, name) for name in shape.__struct_fields__}
    if "assets" in found:
        found["assets"] = [_fields(asset) for asset in found["assets"]]
    return found
