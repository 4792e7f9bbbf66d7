"""Logs to typed events. Fields that a log does not repeat are completed by :mod:`sealmarket.chain.logs`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sealmarket.chain import abi
from sealmarket.chain.errors import AbiMismatch, NodeDistrusted
from sealmarket.chain.events import (
    AllowListReplaced,
    AssetRevoked,
    ChainEvent,
    ChallengeAnswered,
    Deposited,
    EpochAnnounced,
    JobChallenged,
    JobDecided,
    JobEnded,
    JobFailed,
    JobMatched,
    JobQuoted,
    JobSettled,
    JobStopped,
    OtherEvent,
    ReleasePosted,
    SharesReportedMissing,
    SuspensionLifted,
    TermsTightened,
    UnreadableLog,
    VersionPublished,
    VersionSuspended,
    Withdrawn,
)
from sealmarket.chain.model import EventRef, Fault, Payout, places
from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.decisions import Decision, Outcome
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32, Uint, Wei
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import AssetId, JobId
from sealmarket_enclave.protocol.terms import Seal, Terms

UNKNOWN_EPOCH = 0
"""In a decision's core until the chain reader fills it in from the job: the event does not repeat it."""


def event(book: AddressBook, contract: str, topics: Sequence[Bytes32], raw: bytes, at: EventRef) -> ChainEvent | None:
    """One log as an event, :class:`UnreadableLog` when it is not what its topic says; None for an unknown topic.

    Raises:
        NodeDistrusted: a job whose specification does not hash to its id.
    """
    entry = abi.load(contract).events.get(topics[0]) if topics else None
    if entry is None:
        return None
    try:
        return _read(book, contract, entry, topics, raw, at)
    except (AbiMismatch, MalformedDocument, ValueError) as error:
        return UnreadableLog(at, contract, entry.name, _subject(entry, topics), str(error)[:500])


def _read(
    book: AddressBook, contract: str, entry: abi.Entry, topics: Sequence[Bytes32], raw: bytes, at: EventRef
) -> ChainEvent:
    fields = abi.decode_log(entry, topics, raw)
    reader = _READERS.get(entry.name)
    if reader is None:
        return OtherEvent(at, contract, entry.name, dict(fields))
    return reader(book, fields, at)


def _subject(entry: abi.Entry, topics: Sequence[Bytes32]) -> Bytes32 | None:
    first = next((part.name for part in entry.inputs if part.indexed), "")
    return topics[1] if first in ("jobId", "assetId") and len(topics) > 1 else None


def _published(_book: AddressBook, f: abi.Fields, at: EventRef) -> ChainEvent:
    seal, terms = abi.to_shape(Seal, f["seal"]), abi.to_shape(Terms, f["terms"])
    return VersionPublished(at, AssetId(f["asset_id"]), f["owner"], f["version"], seal, terms, f["location"])


def _tightened(_book: AddressBook, f: abi.Fields, at: EventRef) -> ChainEvent:
    terms = abi.to_shape(Terms, f["terms"])
    return TermsTightened(at, AssetId(f["asset_id"]), f["version"], f["terms_version"], terms)


def _allow_list(_book: AddressBook, f: abi.Fields, at: EventRef) -> ChainEvent:
    return AllowListReplaced(at, AssetId(f["asset_id"]), f["version"], f["terms_version"], f["allow_root"])


def _revoked(_book: AddressBook, f: abi.Fields, at: EventRef) -> ChainEvent:
    return AssetRevoked(at, AssetId(f["asset_id"]), f["version"])


def _suspended(_book: AddressBook, f: abi.Fields, at: EventRef) -> ChainEvent:
    return VersionSuspended(at, AssetId(f["asset_id"]), f["version"], JobId(f["job_id"]))


def _lifted(_book: AddressBook, f: abi.Fields, at: EventRef) -> ChainEvent:
    return SuspensionLifted(at, AssetId(f["asset_id"]), f["version"])


def _matched(book: AddressBook, f: abi.Fields, at: EventRef) -> ChainEvent:
    spec = abi.to_shape(JobSpec, f["spec"])
    computed = spec.job_id(book.chain_id, book.market)
    if computed != f["job_id"]:
        raise NodeDistrusted("job specification", f"one that hashes to {f['job_id']}", computed)
    return JobMatched(at, computed, spec, Wei(f["fees_held"]), f["compute_order"])


def _quoted(_book: AddressBook, f: abi.Fields, at: EventRef) -> ChainEvent:
    return JobQuoted(at, JobId(f["job_id"]), f["evidence_hash"], f["deadline"])


def _decided(_book: AddressBook, f: abi.Fields, at: EventRef) -> ChainEvent:
    job_id = JobId(f["job_id"])
    core = abi.to_shape(Decision, f["core"], job_id=job_id, epoch=UNKNOWN_EPOCH, detail=ZERO_HASH)
    outcome = Outcome(core.outcome)
    return JobDecided(at, job_id, core, places(f["signers"]), outcome, f["deadline"], Wei(f["fees_returned"]))


def _stopped(_book: AddressBook, f: abi.Fields, at: EventRef) -> ChainEvent:
    return JobStopped(at, JobId(f["job_id"]), f["evidence_hash"], Uint(f["reasons"]), places(f["signers"]))


def _missing(_book: AddressBook, f: abi.Fields, at: EventRef) -> ChainEvent:
    deadlines = f["shares_deadline"], f["settle_deadline"]
    return SharesReportedMissing(at, JobId(f["job_id"]), places(f["excluded"]), *deadlines, Wei(f["set_aside"]))


def _posted(_book: AddressBook, f: abi.Fields, at: EventRef) -> ChainEvent:
    return ReleasePosted(at, JobId(f["job_id"]), f["index"], f["sealed_"], f["r"], f["vs"])


def _settled(_book: AddressBook, f: abi.Fields, at: EventRef) -> ChainEvent:
    # The market accepts only a final settlement, so one that it accepted is final.
    return JobSettled(
        at,
        JobId(f["job_id"]),
        f["result_hash"],
        f["receipt_hash"],
        f["units"],
        True,
        Wei(f["refunded"]),
        Wei(f["payable_"]),
    )


def _failed(_book: AddressBook, f: abi.Fields, at: EventRef) -> ChainEvent:
    return JobFailed(at, JobId(f["job_id"]), f["cause"], f["asset_index"], f["units"], f["receipt_hash"])


def _ended(_book: AddressBook, f: abi.Fields, at: EventRef) -> ChainEvent:
    p = f["payout"]
    payout = Payout(
        refunded=Wei(p["refunded"]),
        paid=Wei(p["paid"]),
        stake_returned=Wei(p["stake_returned"]),
        burned=Wei(p["burned"]),
        owners_total=Wei(p["owners_total"]),
        owners_paid=frozenset(places(p["owners_paid"])),
    )
    return JobEnded(at, JobId(f["job_id"]), Status(f["status"]), Fault(f["fault"]), f["evidence_hash"], payout)


def _challenged(_book: AddressBook, f: abi.Fields, at: EventRef) -> ChainEvent:
    return JobChallenged(at, JobId(f["job_id"]), f["challenger"], Wei(f["bond"]), f["deadline"])


def _answered(_book: AddressBook, f: abi.Fields, at: EventRef) -> ChainEvent:
    fees, returned = Wei(f["fees"]), Wei(f["bond_returned"])
    return ChallengeAnswered(at, JobId(f["job_id"]), f["available"], places(f["signers"]), fees, returned)


def _deposited(_book: AddressBook, f: abi.Fields, at: EventRef) -> ChainEvent:
    return Deposited(at, f["token"], f["holder"], Wei(f["amount"]))


def _withdrawn(_book: AddressBook, f: abi.Fields, at: EventRef) -> ChainEvent:
    return Withdrawn(at, f["token"], f["holder"], f["to"], Wei(f["amount"]))


def _announced(_book: AddressBook, f: abi.Fields, at: EventRef) -> ChainEvent:
    return EpochAnnounced(at, f["epoch"], f["signers"], f["hpke_key_hashes"], f["threshold"], f["active_at"])


_READERS: dict[str, Callable[[AddressBook, abi.Fields, EventRef], ChainEvent]] = {
    "VersionPublished": _published,
    "TermsTightened": _tightened,
    "AllowListReplaced": _allow_list,
    "VersionRevoked": _revoked,
    "VersionSuspended": _suspended,
    "SuspensionLifted": _lifted,
    "JobMatched": _matched,
    "JobQuoted": _quoted,
    "JobDecided": _decided,
    "JobStopped": _stopped,
    "SharesReportedMissing": _missing,
    "ReleasePosted": _posted,
    "JobSettled": _settled,
    "JobFailed": _failed,
    "JobEnded": _ended,
    "JobChallenged": _challenged,
    "ChallengeAnswered": _answered,
    "Deposited": _deposited,
    "Withdrawn": _withdrawn,
    "EpochAnnounced": _announced,
}
