"""The release: a node seals its share once, to the enclave that it accepted itself. Pure, except for randomness.

Rules (docs/spec/oracle.md, "Release and stop"):

1. This node accepted, and its journal says so: same evidence, same enclave keys, same terms.
2. A quorum's acceptance with exactly this core is at a final block, and the job is still accepted at the head.
3. Nothing at the head of the chain speaks against it: the terms of every owner still stand, enough of the settle
   window is left (:func:`reserve_of`), the committee stands.
4. If the owners' terms do speak against it, or too little is left while the job can still be settled, the node
   promises instead that it has not released and never will (:class:`sealmarket.protocol.decisions.Stop`). Either
   promise excludes the other for good; the journal holds that.
5. Where the chain is read through several endpoints, 3 and 4 are judged at the head of each that keeps up, and a
   promise is made only where all say the same (:func:`unanimous`). The head never speaks for a release: what allows
   it (1 and 2) is at a final block.

A share is in memory in the clear between :func:`open_own_share` and the seal to the enclave, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from sealmarket.chain.model import AssetState, Block, JobSlot
from sealmarket.protocol import decisions
from sealmarket.protocol.decisions import Decision, Outcome
from sealmarket.protocol.reasons import JobReason, reason_bits
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import FindingNote
from sealmarket.sealing.shares import release_share
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32, HexBytes
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.release import Release, ReleasedShare, release_hash
from sealmarket_enclave.sealed.contexts import ReleaseInfo
from sealmarket_enclave.sealed.hpke import PublicKey
from sealmarket_enclave.sealed.shares import share_index
from sealmarket_oracle.errors import ShareMisdealt
from sealmarket_oracle.gate.chain_rules import grade_against, note, terms_against
from sealmarket_oracle.gate.document_rules import load_share_set, open_own_share
from sealmarket_oracle.gate.inputs import AppraisalInput, AssetFacts, Defer, JobDocuments, MarketRef
from sealmarket_oracle.gate.public_keys import public_key
from sealmarket_oracle.keys import NodeKeys


@dataclass(frozen=True, slots=True)
class Allow:
    """The release is allowed."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The owners' terms at the head, or the time, forbid the release: promise never to release."""

    findings: tuple[FindingNote, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AtHead:
    """State at the newest block: the job's slot, and each asset's state in the order of the job."""

    block: Block
    slot: JobSlot
    states: tuple[AssetState, ...]


@dataclass(frozen=True, slots=True)
class MarketTiming:
    """What the market allows, in seconds, for a block to become final and for moving inputs and results."""

    finality: int
    transfer_allowance: int


def reserve_of(spec: JobSpec, timing: MarketTiming) -> int:
    """Seconds of a settle window in which no share is released: they are the enclave's and its settlement's.

    The enclave's stages, the transfer of inputs and result, and the settlement's finality. The market makes no job
    whose settle window is less than that and three times the finality.
    """
    return spec.stage_seconds + timing.transfer_allowance + timing.finality


def core_of(decision: Decision) -> Decision:
    """What honest nodes share of a decision: all but the detail."""
    return replace(decision, detail=ZERO_HASH)


def judge(
    spec: JobSpec, own: Decision | None, quorum: Decision, final: JobSlot, head: AtHead, timing: MarketTiming
) -> Allow | Defer | Stop:
    """Rules 1 to 4. ``quorum`` is the core that a quorum signed, from an event at a final block.

    A stop is due whether or not this node accepted, since it has not released.
    """
    if final.status is not Status.ACCEPTED or head.slot.status is not Status.ACCEPTED:
        status = (final if final.status is not Status.ACCEPTED else head.slot).status
        return Defer(f"the job is {status.name.lower()}", lasting=status > Status.ACCEPTED)
    if quorum.outcome is not Outcome.ACCEPTED:
        return Defer(f"the quorum decided {quorum.outcome.name.lower()}")
    findings = tuple(against_release(spec, head, quorum.grade))
    if findings:
        return Stop(findings)
    if head.block.timestamp > head.slot.deadline:
        return Defer(f"the time to settle passed at {head.slot.deadline}", lasting=True)
    latest = head.slot.deadline - reserve_of(spec, timing)
    if head.block.timestamp > latest:
        expected, found = f"a release until {latest}", f"the newest block is of {head.block.timestamp}"
        return Stop((note(JobReason.TIME_TO_RELEASE_PASSED, "settle window", expected, found),))
    if own is None:
        return Defer("a quorum accepted; this node has not appraised the evidence yet")
    if core_of(own) != core_of(quorum):
        return Defer(f"this node decided otherwise: {own.outcome.name.lower()}")
    return Allow()


def unanimous(verdicts: Sequence[Allow | Defer | Stop]) -> Allow | Defer | Stop:
    """Rule 5: the first verdict, where all are of its kind; otherwise a deferral until they are."""
    first = verdicts[0]
    if all(type(verdict) is type(first) for verdict in verdicts):
        return first
    found = ", ".join(sorted({type(verdict).__name__.lower() for verdict in verdicts}))
    return Defer(f"the heads of the chain's endpoints speak for different answers: {found}")


def outvoted(verdicts: Sequence[Allow | Defer | Stop]) -> tuple[int, ...]:
    """Places of the verdicts that differ from what more than half of them say."""
    kinds = [type(verdict) for verdict in verdicts]
    if len(set(kinds)) == 1:
        return ()
    most = max(kinds, key=kinds.count)
    if 2 * kinds.count(most) <= len(kinds):
        return ()
    return tuple(place for place, kind in enumerate(kinds) if kind is not most)


def time_to_release(spec: JobSpec, final: Block, head: Block, timing: MarketTiming) -> Defer | None:
    """Why a job is not accepted yet: blocks become final so late that its release would come too late."""
    late, available = head.timestamp - final.timestamp, spec.settle_window - reserve_of(spec, timing)
    if late < available:
        return None
    window = f"a settle window of {spec.settle_window} s has {available} s for a release"
    return Defer(f"the newest block is {late} s ahead of the final one, and {window}")


def against_release(spec: JobSpec, head: AtHead, grade: int) -> Iterable[FindingNote]:
    """Findings against a release in the terms at the head, for every asset. ``grade`` is that of the evidence."""
    for use, state in zip(spec.assets, head.states, strict=True):
        yield from terms_against(use, state, head.block.timestamp)
        yield from grade_against(use, state, grade)


def stop_of(case: AppraisalInput, findings: tuple[FindingNote, ...]) -> decisions.Stop:
    """The promise never to release. It names one reason, the first by number: promises count together only if equal."""
    return decisions.Stop(
        job_id=case.job_id,
        evidence_hash=case.evidence_hash,
        epoch=case.spec.epoch,
        reasons=reason_bits([min(finding.code for finding in findings)]),
    )


def seal_release(
    case: AppraisalInput, core: Decision, enclave_key: bytes, documents: JobDocuments, keys: NodeKeys
) -> Release:
    """Open each of the node's shares and seal it to the accepted enclave; sign the hash of what is sent.

    Raises:
        ShareMisdealt: a share does not open as it did at the gate, or the key is not the accepted one.
        InvalidHpkeKey: the key is none.
    """
    enclave = public_key(enclave_key)
    if enclave.digest != core.enclave_key_hash:
        raise ShareMisdealt(f"the accepted enclave key {core.enclave_key_hash}", enclave.digest)
    # An asset that a job uses twice has one key and is released once.
    once = {(asset.use.asset_id, asset.use.version): asset for asset in case.assets}
    shares = tuple(_released(case, asset, core, enclave, documents, keys) for asset in once.values())
    digest = release_hash(case.job_id, core.evidence_hash, case.index, shares)
    return Release(
        job_id=case.job_id,
        evidence_hash=core.evidence_hash,
        index=case.index,
        shares=shares,
        signature=keys.signer.sign_text(digest),
    )


def _released(
    case: AppraisalInput, asset: AssetFacts, core: Decision, enclave: PublicKey, documents: JobDocuments, keys: NodeKeys
) -> ReleasedShare:
    share_set = load_share_set(
        case.market, asset, case.committee, _document(documents.share_sets, asset.seal.share_root)
    )
    sealed = _document(documents.sealed_shares, share_set.members[case.index].sealed)
    info = release_info(case.market, case.job_id, asset, core, share_index(case.index), enclave.digest)
    share = open_own_share(share_set, case.index, sealed, keys.hpke)
    return ReleasedShare(asset_id=asset.use.asset_id, sealed=HexBytes(release_share(share, enclave, info)))


def release_info(
    market: MarketRef, job_id: JobId, asset: AssetFacts, core: Decision, index: int, enclave_key: Bytes32
) -> ReleaseInfo:
    """The context of one released share: job, evidence, terms, epoch, node and enclave."""
    return ReleaseInfo(
        chain_id=market.chain_id,
        market=market.address,
        job_id=job_id,
        asset_id=asset.use.asset_id,
        asset_version=asset.use.version,
        evidence_hash=core.evidence_hash,
        terms_digest=core.terms_digest,
        epoch=core.epoch,
        index=index,
        enclave_key=enclave_key,
    )


def _document(documents: Mapping[Bytes32, bytes], name: Bytes32) -> bytes:
    raw = documents.get(name)
    if raw is None:
        raise ShareMisdealt(f"document {name}", "nothing in the store")
    return raw
