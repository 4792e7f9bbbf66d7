"""The proof bundle: all public documents of one job in one file, for a reader who trusts no party of the job.

A consumer saves it next to the result. It holds no secret. Evidence that identifies hardware is in it only when one of
the parties adds it. :mod:`sealmarket.receipts.verify` checks every claim in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from sealmarket.chain import Block, Chain
from sealmarket.chain.events import VersionPublished
from sealmarket.client.errors import ProofInvalid
from sealmarket.client.jobs import JobRecord, read_job
from sealmarket.client.nodes import Nodes, signed_decisions
from sealmarket.files import read_file
from sealmarket.protocol.book import AddressBook, Committee
from sealmarket.protocol.decisions import Decision
from sealmarket.protocol.wire import EvidencePackage, NodeStatus, PostedResult, SignedDecision
from sealmarket.service.errors import ServiceError
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32, HexBytes, Shape, decode, decode_canonical
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import AssetUse, Failure, JobSpec, Settlement
from sealmarket_enclave.protocol.numbers import U8, AssetId, JobId
from sealmarket_enclave.protocol.policy import PolicyDocument
from sealmarket_enclave.protocol.receipt import Envelope
from sealmarket_enclave.protocol.release import Release, read_release
from sealmarket_enclave.protocol.terms import Seal

SUFFIX = ".sealproof.json"
MAX_BYTES = 64 << 20
MAX_VALUES = 1 << 20
"""Values in the file, counted by its commas: 16 of the largest policies have 524,288."""
MAX_ASSETS, MAX_MEMBERS, MAX_EVENTS = 16, 255, 1024
"""Of one job, of one committee, of one job's history: as the market has them."""


class SentShare(Shape, frozen=True, kw_only=True):
    """One share that a node released: which asset's, and Keccak-256 of the ciphertext that it sent."""

    asset_id: AssetId
    sent_hash: Bytes32


class ReleaseProof(Shape, frozen=True, kw_only=True):
    """A node's signed statement of what it released, without the ciphertexts."""

    index: U8
    sent: tuple[SentShare, ...]
    signature: HexBytes

    @classmethod
    def of(cls, release: Release) -> ReleaseProof:
        """From a release, leaving the ciphertexts out."""
        sent = tuple(
            SentShare(asset_id=AssetId(share.asset_id), sent_hash=keccak(share.sealed)) for share in release.shares
        )
        return cls(index=release.index, sent=sent, signature=release.signature)


class SignedSettlement(Shape, frozen=True, kw_only=True):
    """The enclave's signed settlement."""

    settlement: Settlement
    signature: HexBytes


class SignedFailure(Shape, frozen=True, kw_only=True):
    """The enclave's signed failure."""

    failure: Failure
    signature: HexBytes


class EventRef(Shape, frozen=True, kw_only=True):
    """The place of one of the job's events on the chain."""

    name: str
    block_number: int
    block_hash: Bytes32
    transaction: Bytes32


class ProofBundle(Shape, frozen=True, kw_only=True):
    """One accepted job, settled or ended otherwise. Documents are the canonical bytes, named by their hashes.

    A job that failed has a ``receipt`` and a ``failure``; one whose shares did not come has neither. ``capability`` is
    the document that the provider promised, if its order named one.
    """

    version: Literal["sealmarket/proof/1"] = "sealmarket/proof/1"
    book: AddressBook
    job_id: JobId
    spec: JobSpec
    seals: tuple[Seal, ...]
    policies: tuple[PolicyDocument, ...]
    evidence_hash: Bytes32
    evidence: EvidencePackage | None = None
    capability: HexBytes | None = None
    core: Decision
    decisions: tuple[SignedDecision, ...]
    releases: tuple[ReleaseProof, ...]
    receipt: HexBytes | None = None
    result: HexBytes | None = None
    settlement: SignedSettlement | None = None
    failure: SignedFailure | None = None
    events: tuple[EventRef, ...] = ()

    @property
    def committee(self) -> Committee | None:
        """The committee of the job's epoch, as the bundle's address book names it."""
        return next((known for known in self.book.committees if known.epoch == self.spec.epoch), None)

    @property
    def envelope(self) -> Envelope:
        """The receipt's envelope. Raises :class:`MalformedDocument`, also where there is no receipt."""
        return decode_canonical(Envelope, self.receipt or b"")


def write_proof(path: Path, bundle: ProofBundle) -> None:
    """Write a bundle for people and tools: indented, whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(msgspec.json.format(bundle.canonical(), indent=1) + b"\n")
    partial.replace(path)


def read_proof(path: Path) -> ProofBundle:
    """Read a bundle. Raises :class:`ProofInvalid`, and OSError for a file that cannot be read or has no end."""
    _require_at_most(MAX_BYTES, path.stat().st_size, "bytes")
    raw = read_file(path, MAX_BYTES)
    _require_at_most(MAX_VALUES, raw.count(b",") + 1, "values")
    try:
        bundle = decode(ProofBundle, raw)
    except MalformedDocument as error:
        raise ProofInvalid(error.message) from error
    for most, parts in ((MAX_ASSETS, ("policies", "seals")), (MAX_MEMBERS, ("decisions", "releases"))):
        for part in parts:
            _require_at_most(most, len(getattr(bundle, part)), part)
    _require_at_most(MAX_ASSETS, len(bundle.spec.assets), "assets")
    _require_at_most(MAX_EVENTS, len(bundle.events), "events")
    return bundle


def _require_at_most(limit: int, found: int, what: str) -> None:
    if found > limit:
        raise ProofInvalid(f"it has at most {limit} {what}, found {found}")


def gather_proof(
    chain: Chain, store: Store, job_id: JobId, *, evidence: EvidencePackage | None = None, at: Block | None = None
) -> ProofBundle:
    """Collect the documents of an accepted job that is settled or has ended, from chain, store and nodes.

    Raises:
        ProofInvalid: the job was not accepted, or runs.
        ItemNotFound, ContentMismatch: its receipt or a policy is not available.
    """
    record = read_job(chain, job_id, at)
    if record.decision is None or record.enclave is None or (record.settled is None and record.ended is None):
        raise ProofInvalid(f"job {job_id} is {record.status.name.lower()} and there is nothing to prove of it yet")
    seals = tuple(published_seal(chain, use, record.at) for use in record.spec.assets)
    policies = tuple(decode_canonical(PolicyDocument, store.document(seal.policy_hash)) for seal in seals)
    committee = next((known for known in chain.book.committees if known.epoch == record.spec.epoch), None)
    # A node that is down is left out. The reader of the proof counts signatures.
    with Nodes() as nodes:
        statuses = nodes.statuses(committee.members if committee else (), job_id)
    posted = _posted(store, job_id)
    return ProofBundle(
        book=chain.book,
        job_id=job_id,
        spec=record.spec,
        seals=seals,
        policies=policies,
        evidence_hash=record.decision.evidence_hash,
        evidence=evidence,
        core=record.decision,
        decisions=signed_decisions(chain.book, committee, statuses) if committee else (),
        releases=tuple(_releases(statuses)),
        capability=_found(store, record.spec.capability_hash),
        receipt=_receipt(store, record),
        result=_found(store, record.settled.result_hash) if record.settled else None,
        settlement=_settlement(posted),
        failure=_failure(posted),
        events=_events(record),
    )


def published_seal(chain: Chain, use: AssetUse, at: Block) -> Seal:
    """The seal of an asset's version, from its publishing event.

    Raises:
        ProofInvalid: never published, or not the seal that the job names.
    """
    for event in chain.about_asset(use.asset_id, at):
        if isinstance(event, VersionPublished) and event.version == use.version:
            if event.seal.hash() != use.seal_hash:
                raise ProofInvalid(f"asset {use.asset_id} was published with seal {event.seal.hash()}")
            return event.seal
    raise ProofInvalid(f"version {use.version} of asset {use.asset_id} was never published")


def _releases(statuses: Iterable[NodeStatus | None]) -> Iterator[ReleaseProof]:
    """What nodes released, as far as it reads."""
    for status in statuses:
        if status is not None and status.release is not None:
            with suppress(MalformedDocument):
                yield ReleaseProof.of(read_release(status.release))


def _posted(store: Store, job_id: JobId) -> PostedResult | None:
    try:
        return store.result(job_id)
    except ServiceError:
        # The chain checked this signature when the job settled or failed; without it the proof is shorter, not wrong.
        return None


def _settlement(posted: PostedResult | None) -> SignedSettlement | None:
    if posted is None or posted.settlement is None:
        return None
    return SignedSettlement(settlement=posted.settlement, signature=posted.signature)


def _failure(posted: PostedResult | None) -> SignedFailure | None:
    if posted is None or posted.failure is None:
        return None
    return SignedFailure(failure=posted.failure, signature=posted.signature)


def _receipt(store: Store, record: JobRecord) -> HexBytes | None:
    ending = record.settled or record.failed
    return HexBytes(store.document(ending.receipt_hash)) if ending else None


def _found(store: Store, name: Bytes32) -> HexBytes | None:
    found = store.find_document(name) if name != ZERO_HASH else None
    return None if found is None else HexBytes(found)


def _events(record: JobRecord) -> tuple[EventRef, ...]:
    return tuple(
        EventRef(
            name=type(event).__name__,
            block_number=event.at.block_number,
            block_hash=event.at.block_hash,
            transaction=event.at.transaction,
        )
        for event in record.history
    )
