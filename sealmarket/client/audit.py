"""Who used an owner's assets: a line for each use, each change of terms and each answer to a proposal.

Every line stands on an event of the chain, or on a document that the chain or a signature names. What follows from
neither is left empty. ``docs/spec/audit.md`` says which columns belong to which record of the law.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sealmarket.chain import Block, EventRef, Fault
from sealmarket.chain.events import (
    AllowListReplaced,
    AssetRevoked,
    ChainEvent,
    JobDecided,
    JobEnded,
    JobFailed,
    JobSettled,
    SuspensionLifted,
    TermsTightened,
    VersionPublished,
    VersionSuspended,
)
from sealmarket.client.assets import HistoryReader, Progress, UsedAsset, uses_of
from sealmarket.client.jobs import reasons_in_words
from sealmarket.client.proposals import signed_by
from sealmarket.client.written import iso
from sealmarket.protocol.cards import read_card
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.proposals import SignedAnswer
from sealmarket.protocol.purposes import MEANINGS, purposes_of
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import (
    ZERO_ADDRESS,
    ZERO_HASH,
    Address,
    Bytes32,
    Wei,
    decode_canonical,
)
from sealmarket_enclave.protocol.errors import MalformedDocument, SealmarketError
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import Grade
from sealmarket_enclave.protocol.policy import PolicyDocument

COLUMNS = (
    *("kind", "date", "block", "transaction", "asset_id", "asset_version", "terms_version", "title", "policy_hash"),
    *("job_id", "recipient", "recipient_name", "provider", "purpose", "workload", "tee", "grade", "evidence_hash"),
    *("outcome", "reasons", "opened", "paid", "paid_coin", "token", "paid_block", "paid_transaction"),
    *("result_hash", "receipt_hash", "ended_block", "ended_transaction"),
    *("proposal", "answer", "answer_reason", "answer_signature"),
    *("gdpr30_purposes", "gdpr30_recipients", "gdpr30_data", "gdpr30_security"),
    *("hipaa_date", "hipaa_recipient", "hipaa_description", "hipaa_purpose"),
)
"""Of every line, in this order."""
_TERMS = {
    VersionPublished: "published",
    TermsTightened: "terms tightened",
    AllowListReplaced: "allow-list replaced",
    AssetRevoked: "revoked",
    VersionSuspended: "suspended",
    SuspensionLifted: "suspension lifted",
}
_NOT_OPENED = {Fault.STOPPED_BEFORE_RELEASE, Fault.SHARES_MISSING}
_SECURITY = "computed inside a measured enclave ({grade} evidence); encrypted before and after; released by a quorum"

Line = dict[str, str]
Seals = Mapping[tuple[Bytes32, int], VersionPublished]
"""The publication of each version."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What lines say of a version beyond its events: its policy and data card, each held against its hash.

    ``names`` are the owner's own names for accounts.
    """

    store: Store
    names: Mapping[Address, str]
    known: dict[Bytes32, tuple[str, str]] = field(default_factory=dict)

    def describe(self, policy_hash: Bytes32) -> tuple[str, str]:
        """Title and columns of a version. Both are empty where the store lacks the documents."""
        if policy_hash not in self.known:
            self.known[policy_hash] = self._read(policy_hash)
        return self.known[policy_hash]

    def name_of(self, account: Address) -> str:
        """The owner's name for an account, or nothing."""
        return self.names.get(account, "")

    def _read(self, policy_hash: Bytes32) -> tuple[str, str]:
        try:
            policy = decode_canonical(PolicyDocument, self.store.find_document(policy_hash) or b"")
            card = read_card(self.store.find_document(policy.data_card) or b"")
        except SealmarketError:
            return "", ""
        return policy.title, ", ".join(card.columns)


def audit(
    chain: HistoryReader,
    owner: Address,
    at: Block,
    catalogue: Catalogue,
    answers: Iterable[SignedAnswer] = (),
    progress: Progress = lambda _done, _all: None,
) -> list[Line]:
    """Every line about an owner's assets up to a block, in the chain's order.

    Answers that this owner did not sign for this market are left out.

    Raises:
        ChainError: the chain cannot be read.
    """
    seals: dict[tuple[Bytes32, int], VersionPublished] = {}
    events: list[ChainEvent] = []
    for asset_id in dict.fromkeys(event.asset_id for event in chain.published_by(owner, at)):
        for event in chain.about_asset(asset_id, at):
            if isinstance(event, VersionPublished):
                seals[event.asset_id, event.version] = event
            events.append(event)
    found = [(event.at, _terms_line(chain, event, seals, catalogue)) for event in events if type(event) in _TERMS]
    found += [(used.matched.at, _use_line(used, seals, catalogue)) for used in uses_of(chain, owner, at, progress)]
    for signed in answers:
        if signed_by(chain, signed.answer, signed.signature, owner):
            place, line = _answer_line(signed, events, seals, catalogue)
            found.append((place, line))
    return [line for _, line in sorted(found, key=lambda pair: (pair[0].block_number, pair[0].log_index))]


def _use_line(used: UsedAsset, seals: Seals, catalogue: Catalogue) -> Line:
    spec, use = used.matched.spec, used.use
    seal = seals[use.asset_id, use.version].seal if (use.asset_id, use.version) in seals else None
    title, columns = catalogue.describe(seal.policy_hash) if seal else ("", "")
    date, name = iso(spec.matched_at), catalogue.name_of(spec.consumer)
    purposes = purposes_of(spec.purpose)
    recipient = " ".join(part for part in (name, spec.consumer.checksum) if part)
    purpose = ", ".join(one.name.lower() for one in purposes)
    decided = next((event for event in used.history if isinstance(event, JobDecided)), None)
    grade = Grade(decided.core.grade).slug if decided and decided.core.grade in set(Grade) else ""
    line = _blank() | {
        "kind": "use",
        "date": date,
        "asset_id": str(use.asset_id),
        "asset_version": str(use.version),
        "terms_version": str(use.terms_version),
        "title": title,
        "policy_hash": str(seal.policy_hash) if seal else "",
        "job_id": str(used.matched.job_id),
        "recipient": spec.consumer.checksum,
        "recipient_name": name,
        "provider": spec.provider.checksum,
        "purpose": purpose,
        "workload": str(spec.workload_digest),
        "tee": spec.tee.slug,
        "grade": grade,
        "gdpr30_purposes": "; ".join(MEANINGS[one] for one in purposes),
        "gdpr30_recipients": recipient,
        "gdpr30_data": "; ".join(part for part in (title, columns) if part),
        "gdpr30_security": _SECURITY.format(grade=grade or "no"),
        "hipaa_date": date[:10],
        "hipaa_recipient": recipient,
        "hipaa_description": f"{title or use.asset_id} version {use.version}: use in an enclave, output of workload "
        f"{spec.workload_digest}",
        "hipaa_purpose": f"{purpose}: {'; '.join(MEANINGS[one] for one in purposes)}",
    }
    return line | _placed(used.matched.at) | _money(used) | _ending(used.history)


def _money(used: UsedAsset) -> Line:
    token = used.matched.spec.token
    paid: Line = {"paid": str(int(used.paid)), "token": "coin" if token == ZERO_ADDRESS else token.checksum}
    if token == ZERO_ADDRESS:
        paid["paid_coin"] = Wei(used.paid).coins
    if used.paid_by is not None:
        paid["paid_block"] = str(used.paid_by.at.block_number)
        paid["paid_transaction"] = str(used.paid_by.at.transaction)
    return paid


def _ending(history: Iterable[ChainEvent]) -> Line:
    """The outcome of a job, by its latest events, and whether its inputs were opened."""
    line: Line = {"outcome": "running", "opened": "not yet"}
    for event in history:
        match event:
            case JobDecided():
                accepted = event.outcome is Outcome.ACCEPTED
                reasons = "; ".join(reason.word for reason in reasons_in_words(event.core.reasons))
                line |= {"opened": "possible" if accepted else "no", "reasons": reasons}
                line["evidence_hash"] = str(event.core.evidence_hash)
            case JobSettled():
                line |= {"outcome": "result", "opened": "yes", "result_hash": str(event.result_hash)}
                line["receipt_hash"] = str(event.receipt_hash)
                line |= _ended(event.at)
            case JobFailed():
                line |= {"outcome": "failed", "opened": "yes", "receipt_hash": str(event.receipt_hash)}
            case JobEnded():
                fault = "" if event.fault is Fault.NONE else f": {event.fault.name.lower()}"
                line |= {"outcome": f"{event.status.name.lower()}{fault}"} | _ended(event.at)
                line["opened"] = _opened(line["opened"], event)
            case _:
                pass
    return line


def _opened(so_far: str, ended: JobEnded) -> str:
    if so_far == "yes" or (so_far == "possible" and ended.fault not in _NOT_OPENED):
        return so_far
    return "no"


def _ended(at: EventRef) -> Line:
    return {"ended_block": str(at.block_number), "ended_transaction": str(at.transaction)}


def _terms_line(
    chain: HistoryReader,
    event: ChainEvent,
    seals: Seals,
    catalogue: Catalogue,
) -> Line:
    asset_id, version = getattr(event, "asset_id", ZERO_HASH), int(getattr(event, "version", 0))
    published = seals.get((asset_id, version))
    title, columns = catalogue.describe(published.seal.policy_hash) if published else ("", "")
    return (
        _blank()
        | {
            "kind": "terms",
            "date": iso(chain.block(event.at.block_number).timestamp),
            "asset_id": str(asset_id),
            "asset_version": str(version) if version else "all",
            "terms_version": "1" if isinstance(event, VersionPublished) else str(getattr(event, "terms_version", "")),
            "title": title,
            "policy_hash": str(published.seal.policy_hash) if published else "",
            "outcome": _TERMS[type(event)],
            "gdpr30_data": columns,
        }
        | _placed(event.at)
    )


def _answer_line(
    signed: SignedAnswer,
    events: Iterable[ChainEvent],
    seals: Seals,
    catalogue: Catalogue,
) -> tuple[EventRef, Line]:
    """An answer, placed at the event of its version that it came with: the list's, or else the publication's."""
    answer = signed.answer
    version = answer.allowed_version or answer.version
    published = seals.get((answer.asset_id, version))
    lists = [
        e for e in events if isinstance(e, AllowListReplaced) and (e.asset_id, e.version) == (answer.asset_id, version)
    ]
    place = (lists[-1].at if lists and answer.allowed_version else None) or (published.at if published else _NOWHERE)
    reason = signed.reason if keccak(signed.reason.encode()) == answer.reason_hash else ""
    title = catalogue.describe(published.seal.policy_hash)[0] if published else ""
    line = _blank() | {
        "kind": "approval",
        "date": iso(answer.signed_at),
        "asset_id": str(answer.asset_id),
        "asset_version": str(version),
        "title": title,
        "purpose": ", ".join(one.name.lower() for one in purposes_of(answer.purpose)),
        "workload": str(answer.workload_digest),
        "proposal": str(answer.proposal_hash),
        "answer": "approved" if answer.approved else "declined",
        "answer_reason": reason,
        "answer_signature": str(signed.signature),
    }
    return place, line | (_placed(place) if place is not _NOWHERE else {})


_NOWHERE = EventRef(0, 0, ZERO_HASH, ZERO_HASH)  # type: ignore[arg-type]  # a number of a block that has no events


def _placed(at: EventRef) -> Line:
    return {"block": str(at.block_number), "transaction": str(at.transaction)}


def _blank() -> Line:
    return dict.fromkeys(COLUMNS, "")


def names_in(document: object) -> dict[Address, str]:
    """An owner's names for accounts: ``{"0xACCOUNT": "Name"}``. Raises :class:`MalformedDocument`."""
    from sealmarket.client.written import account_of

    if not isinstance(document, dict) or not all(isinstance(value, str) for value in document.values()):
        raise MalformedDocument("expected an object of names by account", remedy='write {"0xACCOUNT": "Name"}')
    return {account_of(str(key)): value for key, value in document.items()}
