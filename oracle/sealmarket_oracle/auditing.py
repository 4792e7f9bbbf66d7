"""``sealmarket oracle audit``: reads a node's log from the node, and its anchors from the chain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from sealmarket.chain import Chain
from sealmarket.chain.anchors import SignedDetail, signed_details
from sealmarket.chain.events import JobDecided, JobMatched
from sealmarket.chain.model import Block
from sealmarket.http import HttpClient, HttpError
from sealmarket.protocol.book import AddressBook, Committee
from sealmarket.protocol.decisions import Decision
from sealmarket.protocol.wire import DecisionDetail, LogHead, NodeStatus
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32, decode
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.signing import SignatureRefused, recover
from sealmarket_oracle.errors import AuditRefused
from sealmarket_oracle.log.audit import Anchor, Audited, Recalling, audit, is_recall
from sealmarket_oracle.log.entries import EntryKind, LogEntry, LogPart, SignedTail

_PART_BYTES = 8 << 20
_SECONDS = 30.0
_MOST_ENTRIES = 10_000_000
Ask = Callable[[str], bytes]
"""Asks a node for a path. Raises :class:`HttpError`."""


class AskNode:
    """One node over HTTP."""

    def __init__(self, url: str) -> None:
        self._url, self._client = url.rstrip("/"), HttpClient(seconds=_SECONDS)

    def __call__(self, path: str) -> bytes:
        """The body of an answer. Raises :class:`HttpError`."""
        with self._client.ask("GET", self._url + path, limit=_PART_BYTES) as answer:
            if answer.status != 200:
                raise HttpError(f"{self._url}{path} answers {answer.status}", remedy="check the node's URL")
            return answer.body()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def read_log(ask: Ask) -> tuple[SignedTail, list[LogEntry]]:
    """A node's whole log, and the tail that it signed first: what it adds meanwhile is left out.

    Raises:
        AuditRefused: answers that do not read, or that do not lead to the tail.
    """
    entries: list[LogEntry] = []
    first = _part(ask, 0)
    size = first.tail.tail.size
    if size > _MOST_ENTRIES:
        raise AuditRefused(f"the node claims {size} entries, expected at most {_MOST_ENTRIES}")
    part = first
    while True:
        entries += part.entries[: size - len(entries)]
        if len(entries) >= size or not part.entries:
            return first.tail, entries
        part = _part(ask, len(entries))


def _part(ask: Ask, first: int) -> LogPart:
    try:
        return decode(LogPart, ask(f"/v1/log/{first}"))
    except MalformedDocument as error:
        raise AuditRefused(f"the node's log from entry {first} does not read: {error}") from error


def signer_of(book: AddressBook, shown: SignedTail) -> tuple[Address, Committee]:
    """The member who signed a tail, and its committee. Raises :class:`AuditRefused`."""
    committee = next((one for one in book.committees if one.epoch == shown.tail.epoch), None)
    try:
        signer = recover(shown.tail.digest(book.chain_id, book.market), shown.signature)
    except SignatureRefused as error:
        raise AuditRefused(f"the tail of the log has no signature: {error.message}") from error
    if committee is None or all(member.signer != signer for member in committee.members):
        raise AuditRefused(f"{signer} signed the log, and is no member of epoch {shown.tail.epoch}")
    return signer, committee


def anchors(
    chain: Chain, signer: Address, committee: Committee, ask: Ask, matched: dict[JobId, int], final: Block
) -> Iterator[Anchor]:
    """What a node's decisions on chain say of its log, in the order of the chain, up to a final block.

    ``matched``: to be filled with the jobs of the committee's epoch, and when each was matched.

    Raises:
        AuditRefused: a decision that the node does not show as the chain has it.
    """
    place = next(index for index, member in enumerate(committee.members) if member.signer == signer)
    for event in chain.events(chain.book.deployed_at, final.number):
        if isinstance(event, JobMatched) and event.spec.epoch == committee.epoch:
            matched[event.job_id] = event.spec.matched_at
        elif isinstance(event, JobDecided) and event.job_id in matched and place in event.signers:
            found = _anchor(chain, event, signer, committee.epoch, place, ask)
            if found is not None:
                yield found


def _anchor(chain: Chain, event: JobDecided, signer: Address, epoch: int, place: int, ask: Ask) -> Anchor | None:
    part = next((one for one in signed_details(chain, event) if one.place == place), None)
    if part is None:
        return None  # carried out through another contract
    _require_signed(chain.book, event, part, signer, epoch)
    log = _log_of(ask, event.job_id, part.detail)
    return Anchor(event.job_id, part.detail, log, int(event.at.block_number), event.at.transaction)


def _require_signed(book: AddressBook, event: JobDecided, part: SignedDetail, signer: Address, epoch: int) -> None:
    fields = {name: getattr(event.core, name) for name in event.core.__struct_fields__}
    decision = Decision(**{**fields, "epoch": epoch, "detail": part.detail})
    try:
        found = recover(decision.digest(book.chain_id, book.market), part.signature)
    except SignatureRefused:
        found = None
    if found != signer:
        raise AuditRefused(
            f"the transaction {event.at.transaction} does not show the decision that {signer} signed for {event.job_id}"
        )


def _log_of(ask: Ask, job_id: JobId, detail: Bytes32) -> LogHead:
    """What the detail of a decision says of the log. A node that hides the detail of its own decision is refused."""
    shown = _shown_detail(ask, job_id, detail)
    if shown is None:
        raise AuditRefused(f"the node does not show the detail {detail} of its decision on job {job_id}")
    return shown.log or LogHead(journal=ZERO_HASH, size=0, root=ZERO_HASH)


def _shown_detail(ask: Ask, job_id: JobId, detail: Bytes32) -> DecisionDetail | None:
    """The detail of this hash, if the node shows it."""
    try:
        status = decode(NodeStatus, ask(f"/v1/jobs/{job_id}"))
    except MalformedDocument as error:
        raise AuditRefused(f"the node's answer about job {job_id} does not read: {error}") from error
    shown = status.decision.detail if status.decision is not None else None
    return shown if shown is not None and keccak(shown.canonical()) == detail else None


def named_by(ask: Ask, entries: Iterable[LogEntry], matched: Mapping[JobId, int]) -> dict[Bytes32, tuple[Bytes32, ...]]:
    """Which statements about platforms each refusal by one names, by the hash of the refusal's detail.

    What the node does not show names none. Raises as :func:`audit_node`.
    """
    found: dict[Bytes32, tuple[Bytes32, ...]] = {}
    for entry in entries:
        if is_recall(entry) and entry.job_id in matched:
            shown = _shown_detail(ask, entry.job_id, entry.rules)
            if shown is not None and isinstance(shown.recalled_by, tuple):
                found[entry.rules] = shown.recalled_by
    return found


def audit_node(chain: Chain, ask: Ask) -> tuple[Address, Audited]:
    """Read a node's log and hold it against the chain.

    Raises:
        AuditRefused: what the node or the endpoint shows cannot be held against anything.
        HttpError, ChainError: no answer.
    """
    signer, committee = signer_of(chain.book, _part(ask, 0).tail)
    matched: dict[JobId, int] = {}
    final = chain.final()
    known = list(anchors(chain, signer, committee, ask, matched, final))
    # Read after the chain: what was decided there is in the log by now.
    shown, entries = read_log(ask)
    if signer_of(chain.book, shown)[0] != signer:
        raise AuditRefused(f"the log was signed by {signer} and then by another node")
    statements = tuple({entry.statement for entry in entries if entry.kind is EntryKind.ADVISORY})
    anchored_at = chain.trusted(final).advisory_anchors(statements)
    recalling = Recalling(anchored_at, matched, named_by(ask, entries, matched))
    return signer, audit(shown.tail, entries, known, recalling)
