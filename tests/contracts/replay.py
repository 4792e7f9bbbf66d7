"""The whole state of the contracts, rebuilt from their events alone by the rules of the interfaces."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sealmarket.chain import abi
from sealmarket.chain.model import Fault
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, Address, Bytes32
from sealmarket_enclave.protocol.hashing import Word, keccak, words

Fields = dict[str, Any]
PROVIDERS_REFUSALS = {Fault.PLATFORM_REFUSED, Fault.EVIDENCE_WITHHELD}
EXPIRIES = {Fault.NO_QUOTE, Fault.PROVIDER_SILENT, Fault.RESULT_WITHHELD}
FAILURES = {Fault.WORKLOAD_FAILED, Fault.WORKLOAD_TIMED_OUT, Fault.VALIDATOR_TIMED_OUT}
SEEN = {Fault.NONE, Fault.PROVIDER_SILENT, Fault.RESULT_WITHHELD, *FAILURES}
"""Rows after which uses and budgets stay taken: a workload saw the assets, or may have."""
STRICT = ("allow_root", "consumer_root", "purposes")
"""Members of the terms whose change takes a job that is not yet accepted."""


@dataclass
class Balance:
    """One account's slot."""

    free: int = 0
    staked: int = 0
    generation: int = 0
    settled: int = 0
    refused: int = 0
    expired: int = 0
    failed: int = 0


@dataclass
class Meter:
    """One version's uses and budget, and which terms are in force."""

    owner: Address
    terms: Fields
    terms_version: int = 1
    strict_version: int = 1
    revoked: bool = False
    suspended: bool = False
    uses_taken: int = 0
    budget_taken: int = 0


@dataclass
class JobState:
    """One job's slot, and what its events said. ``stage``: what the slot commits to beside key and bargain."""

    spec: Fields
    status: Status
    deadline: int
    stage: Bytes32 = ZERO_HASH
    settled: tuple[Word, ...] = ()
    challenger: Address = ZERO_ADDRESS


@dataclass
class Interrupted:
    """What was reported about one job after its acceptance; the fields of the contract's ``Interruption``."""

    provider: Address = ZERO_ADDRESS
    shares_deadline: int = 0
    posted: int = 0
    excluded: int = 0
    stopped: bool = False
    token: Address = ZERO_ADDRESS
    unspent: int = 0


@dataclass
class State:
    """Everything; filled by :meth:`apply`, one event after the other."""

    balances: dict[tuple[Address, Address], Balance] = field(default_factory=lambda: defaultdict(Balance))
    unbonding: dict[tuple[Address, Address], tuple[int, int]] = field(default_factory=dict)
    burned: dict[Address, int] = field(default_factory=lambda: defaultdict(int))
    unclaimed: dict[tuple[int, Address], list[int]] = field(default_factory=dict)
    members: dict[int, list[Address]] = field(default_factory=dict)
    removed: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    ends: dict[int, int] = field(default_factory=dict)
    anchors: dict[Bytes32, int] = field(default_factory=dict)
    meters: dict[tuple[Bytes32, int], Meter] = field(default_factory=dict)
    jobs: dict[Bytes32, JobState] = field(default_factory=dict)
    interruptions: dict[Bytes32, Interrupted] = field(default_factory=lambda: defaultdict(Interrupted))
    fees: dict[tuple[int, Address], int] = field(default_factory=dict)
    voided: set[Bytes32] = field(default_factory=set)
    used: dict[tuple[Address, Bytes32], int] = field(default_factory=lambda: defaultdict(int))
    paused: bool = False

    def apply(self, name: str, f: Fields, time: int) -> None:
        """Apply one event of a block with this time. Raises KeyError for an event that has no rule."""
        _RULES[name](self, f, time)


def read(contract: str, log: dict[str, Any]) -> tuple[str, Fields]:
    """Name and fields of a raw log."""
    topics = [Bytes32(bytes.fromhex(topic[2:])) for topic in log["topics"]]
    entry = abi.load(contract).events[topics[0]]
    return entry.name, abi.decode_log(entry, topics, bytes.fromhex(log["data"][2:]))


def _free(state: State, token: Address, holder: Address, amount: int) -> None:
    state.balances[token, holder].free += amount


def _deposited(state: State, f: Fields, _time: int) -> None:
    _free(state, f["token"], f["holder"], f["amount"])


def _withdrawn(state: State, f: Fields, _time: int) -> None:
    _free(state, f["token"], f["holder"], -f["amount"])


def _transferred(state: State, f: Fields, _time: int) -> None:
    _free(state, f["token"], f["from"], -f["amount"])
    _free(state, f["token"], f["to"], f["amount"])


def _staked(state: State, f: Fields, _time: int) -> None:
    balance = state.balances[f["token"], f["holder"]]
    balance.free -= f["amount"]
    balance.staked += f["amount"]


def _unstake_begun(state: State, f: Fields, _time: int) -> None:
    state.balances[f["token"], f["holder"]].staked -= f["amount"]
    state.unbonding[f["token"], f["holder"]] = (f["total"], f["ready_at"])


def _unstaked(state: State, f: Fields, _time: int) -> None:
    del state.unbonding[f["token"], f["holder"]]
    _free(state, f["token"], f["holder"], f["amount"])


def _book_opened(state: State, f: Fields, _time: int) -> None:
    state.unclaimed[f["epoch"], f["token"]] = [0] * f["members"]
    state.fees[f["epoch"], f["token"]] = f["fee"]


def _claimed(state: State, f: Fields, _time: int) -> None:
    index = state.members[f["epoch"]].index(f["signer"])
    state.unclaimed[f["epoch"], f["token"]][index] = 0
    _free(state, f["token"], f["signer"], f["amount"])


def _announced(state: State, f: Fields, _time: int) -> None:
    state.members[f["epoch"]] = list(f["signers"])


def _removed(state: State, f: Fields, _time: int) -> None:
    state.removed[f["epoch"]] |= 1 << f["index"]


def _advisory_anchored(state: State, f: Fields, time: int) -> None:
    if f["statement"] in state.anchors or f["anchored_at"] != time:
        raise AssertionError("a hash is anchored once, at the time of its block")
    state.anchors[f["statement"]] = time


def _epoch_ends(state: State, f: Fields, _time: int) -> None:
    state.ends[f["epoch"]] = f["ends_at"]


def _published(state: State, f: Fields, _time: int) -> None:
    state.meters[f["asset_id"], f["version"]] = Meter(f["owner"], f["terms"])


def _tightened(state: State, f: Fields, _time: int) -> None:
    meter = state.meters[f["asset_id"], f["version"]]
    if any(meter.terms[name] != f["terms"][name] for name in STRICT):
        meter.strict_version = f["terms_version"]
    meter.terms, meter.terms_version = f["terms"], f["terms_version"]


def _allow_list(state: State, f: Fields, _time: int) -> None:
    meter = state.meters[f["asset_id"], f["version"]]
    meter.terms = meter.terms | {"allow_root": f["allow_root"]}
    meter.terms_version = meter.strict_version = f["terms_version"]


def _suspended(state: State, f: Fields, _time: int) -> None:
    state.meters[f["asset_id"], f["version"]].suspended = True


def _lifted(state: State, f: Fields, _time: int) -> None:
    state.meters[f["asset_id"], f["version"]].suspended = False


def _paid_to_lift(state: State, f: Fields, _time: int) -> None:
    _free(state, f["token"], state.meters[f["asset_id"], f["version"]].owner, -f["burned"])
    state.burned[f["token"]] += f["burned"]


def _revoked(state: State, f: Fields, _time: int) -> None:
    state.meters[f["asset_id"], f["version"]].revoked = True


def _matched(state: State, f: Fields, _time: int) -> None:
    spec = f["spec"]
    owners = sum(use["price"] for use in spec["assets"])
    work = spec["compute_price"] + spec["unit_price"] * spec["max_units"]
    _free(state, spec["token"], spec["payer"], -(owners + work + f["fees_held"] + spec["hold_fee"]))
    state.balances[spec["token"], spec["provider"]].staked -= owners + spec["penalty"]
    for use in spec["assets"]:
        meter = state.meters[use["asset_id"], use["version"]]
        meter.uses_taken += 1
        meter.budget_taken += use["epsilon"]
    deadline = spec["matched_at"] + spec["quote_window"]
    state.jobs[f["job_id"]] = JobState(spec, Status.MATCHED, deadline)


def _quoted(state: State, f: Fields, _time: int) -> None:
    job = state.jobs[f["job_id"]]
    job.status, job.deadline, job.stage = Status.QUOTED, f["deadline"], f["evidence_hash"]


def _owe(state: State, job: JobState, signers: int) -> None:
    book = state.unclaimed[job.spec["epoch"], job.spec["token"]]
    for index in range(len(book)):
        book[index] += signers >> index & 1


def _decided(state: State, f: Fields, _time: int) -> None:
    job = state.jobs[f["job_id"]]
    _owe(state, job, f["signers"])
    if f["core"]["outcome"] == Outcome.ACCEPTED and f["deadline"]:
        _free(state, job.spec["token"], job.spec["payer"], f["fees_returned"])
        job.status, job.deadline = Status.ACCEPTED, f["deadline"]
        core = f["core"]
        job.stage = keccak(words(core["evidence_hash"], core["enclave_signer"], core["enclave_key_hash"]))


def _stopped(state: State, f: Fields, _time: int) -> None:
    state.interruptions[state.jobs[f["job_id"]].spec["request_hash"]].stopped = True


def _missing(state: State, f: Fields, _time: int) -> None:
    job = state.jobs[f["job_id"]]
    record = state.interruptions[job.spec["request_hash"]]
    record.provider, record.token = job.spec["provider"], job.spec["token"]
    record.shares_deadline, record.excluded = f["shares_deadline"], f["excluded"]
    record.unspent += f["set_aside"]
    job.deadline = f["settle_deadline"]
    balance = state.balances[record.token, record.provider]
    free = min(balance.free, f["set_aside"])
    balance.free -= free
    balance.staked -= f["set_aside"] - free


def _posted(state: State, f: Fields, _time: int) -> None:
    job = state.jobs[f["job_id"]]
    record, bit = state.interruptions[job.spec["request_hash"]], 1 << f["index"]
    record.posted |= bit
    record.unspent -= state.fees[job.spec["epoch"], job.spec["token"]]
    _owe(state, job, bit)


def _unspent(state: State, f: Fields, _time: int) -> None:
    state.interruptions[f["request_hash"]].unspent -= f["amount"]
    _free(state, f["token"], f["provider"], f["amount"])


def _settled(state: State, f: Fields, time: int) -> None:
    job = state.jobs[f["job_id"]]
    for use in job.spec["assets"]:
        _free(state, job.spec["token"], use["owner"], use["price"])
    _free(state, job.spec["token"], job.spec["payer"], f["refunded"])
    job.status, job.deadline = Status.SETTLED, time + job.spec["challenge_window"]
    job.settled = (f["result_hash"], f["receipt_hash"], f["units"])
    job.stage = keccak(words(*job.settled))


def _challenged(state: State, f: Fields, _time: int) -> None:
    job = state.jobs[f["job_id"]]
    _free(state, job.spec["token"], f["challenger"], -f["bond"])
    job.status, job.deadline = Status.CHALLENGED, f["deadline"]
    job.challenger = f["challenger"]
    job.stage = keccak(words(*job.settled, f["challenger"]))


def _answered(state: State, f: Fields, _time: int) -> None:
    job = state.jobs[f["job_id"]]
    _owe(state, job, f["signers"])
    _free(state, job.spec["token"], job.challenger, f["bond_returned"])


def _ended(state: State, f: Fields, _time: int) -> None:
    job, payout = state.jobs[f["job_id"]], f["payout"]
    token = job.spec["token"]
    if f["fault"] not in SEEN:
        _give_back(state, job)
    _free(state, token, job.spec["payer"], payout["refunded"])
    _pay_owners(state, job, payout)
    state.burned[token] += payout["burned"]
    balance = state.balances[token, job.spec["provider"]]
    balance.free += payout["paid"]
    balance.staked += payout["stake_returned"]
    balance.settled += f["status"] == Status.MATURED
    balance.refused += f["fault"] in PROVIDERS_REFUSALS
    balance.expired += f["fault"] in EXPIRIES
    balance.failed += f["fault"] in FAILURES
    job.status = Status(f["status"])


def _pay_owners(state: State, job: JobState, payout: Fields) -> None:
    """Each owner in the bitmap gets its part of ``owners_total``; the rounding of one is made up for by the next."""
    paid = [use for place, use in enumerate(job.spec["assets"]) if payout["owners_paid"] >> place & 1]
    owed, prices, before = sum(use["price"] for use in paid), 0, 0
    for use in paid:
        prices += use["price"]
        due = prices * payout["owners_total"] // owed
        _free(state, job.spec["token"], use["owner"], due - before)
        before = due


def _give_back(state: State, job: JobState) -> None:
    for use in job.spec["assets"]:
        meter = state.meters[use["asset_id"], use["version"]]
        meter.uses_taken -= 1
        meter.budget_taken -= use["epsilon"]


def _order_used(state: State, f: Fields, _time: int) -> None:
    state.used[f["signer"], f["order_hash"]] += 1


def _order_cancelled(state: State, f: Fields, _time: int) -> None:
    state.used[f["signer"], f["order_hash"]] = 2**256 - 1


def _all_cancelled(state: State, f: Fields, _time: int) -> None:
    state.balances[f["token"], f["signer"]].generation = f["generation"]


def _request_cancelled(state: State, f: Fields, _time: int) -> None:
    state.voided.add(f["request_hash"])


def _paused(state: State, f: Fields, _time: int) -> None:
    state.paused = f["paused"]


def _says_nothing_new(_state: State, _f: Fields, _time: int) -> None:
    """Another event of the same transaction carries the change."""


_RULES: dict[str, Callable[[State, Fields, int], None]] = {
    "Deposited": _deposited,
    "Withdrawn": _withdrawn,
    "Transferred": _transferred,
    "Staked": _staked,
    "UnstakeBegun": _unstake_begun,
    "Unstaked": _unstaked,
    "FeeBookOpened": _book_opened,
    "FeesClaimed": _claimed,
    "EpochAnnounced": _announced,
    "EpochEndAnnounced": _epoch_ends,
    "AdvisoryAnchored": _advisory_anchored,
    "EquivocatorRemoved": _removed,
    "VersionPublished": _published,
    "TermsTightened": _tightened,
    "AllowListReplaced": _allow_list,
    "VersionRevoked": _revoked,
    "VersionSuspended": _suspended,
    "SuspensionLifted": _lifted,
    "SuspensionPaid": _paid_to_lift,
    "JobMatched": _matched,
    "JobQuoted": _quoted,
    "JobDecided": _decided,
    "JobStopped": _stopped,
    "SharesReportedMissing": _missing,
    "ReleasePosted": _posted,
    "UnspentReturned": _unspent,
    "JobSettled": _settled,
    "JobChallenged": _challenged,
    "ChallengeAnswered": _answered,
    "JobEnded": _ended,
    "OrderUsed": _order_used,
    "OrderCancelled": _order_cancelled,
    "AllOrdersCancelled": _all_cancelled,
    "RequestCancelled": _request_cancelled,
    "MatchingPaused": _paused,
    "TokenAdmitted": _says_nothing_new,
    "JobFailed": _says_nothing_new,
    "BatchEntryFailed": _says_nothing_new,
}
