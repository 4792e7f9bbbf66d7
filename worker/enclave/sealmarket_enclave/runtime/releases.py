"""Collect released shares until every data key joins. A wrong share is its node's fault: a signed complaint says so.

Rules (docs/spec/enclave.md, "Shares"):

1. A release counts only when a member of every asset's committee signed it, for this job and this evidence. Anything
   else is dropped without an answer: the host may have made it.
2. A signed release must hold one share for each asset, in the job's order, which opens under the context that the
   enclave builds by itself and matches its commitment. If not: a complaint, signed by the attested key, and that
   node's share is left out.
3. A key joins when t shares are right. If right shares do not join to the committed key, the owner dealt them so.
"""

from __future__ import annotations

from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.release import Complaint, SignedComplaint, read_release, release_hash
from sealmarket_enclave.protocol.signing import SignatureRefused, personal_digest, recover
from sealmarket_enclave.runtime.channel import ShareReport
from sealmarket_enclave.runtime.errors import InputFailed, InputFault
from sealmarket_enclave.runtime.job import LoadedAsset, LoadedJob
from sealmarket_enclave.runtime.keys import EnclaveKeys
from sealmarket_enclave.sealed.contexts import ReleaseInfo
from sealmarket_enclave.sealed.errors import NotOpened, ShareError, WrongKey
from sealmarket_enclave.sealed.shares import Share, join, open_released, share_index

MAX_PLACES = 16
"""Places of a committee that a statement of missing shares can name."""


class ShareCollector:
    """The shares of one job, by asset and index."""

    def __init__(self, job: LoadedJob, keys: EnclaveKeys, evidence_hash: Bytes32) -> None:
        self._job, self._bound, self._keys, self._evidence_hash = job, job.bound, keys, evidence_hash
        self._held: list[dict[int, Share]] = [{} for _ in job.assets]
        self._blamed: set[tuple[Bytes32, Address]] = set()
        self._complaints: list[SignedComplaint] = []

    @property
    def missing(self) -> int:
        """How many more right shares the asset that lacks most of them needs."""
        needs = (
            asset.share_set.commitments.threshold - len(held)
            for asset, held in zip(self._job.assets, self._held, strict=True)
        )
        return max(0, *needs, 0)

    def take(self, raw: bytes) -> None:
        """Look at one release (rules 1 and 2). Never raises for what the host delivered."""
        try:
            release = read_release(raw)
            sent = release_hash(release.job_id, release.evidence_hash, release.index, release.shares)
            node = recover(personal_digest(sent), release.signature)
        except (MalformedDocument, SignatureRefused):
            return
        if (release.job_id, release.evidence_hash) != (self._bound.job_id, self._evidence_hash):
            return
        # An asset that a job takes in twice has one key, and comes once.
        named = [(asset.use.asset_id, asset.use.version) for asset in self._job.assets]
        once = list(dict.fromkeys(named))
        in_order = [share.asset_id for share in release.shares] == [asset_id for asset_id, _ in once]
        for position, asset in enumerate(self._job.assets):
            sealed = release.shares[once.index(named[position])].sealed if in_order else None
            self._take_share(position, asset, node, sealed, sent)

    @property
    def excluded(self) -> int:
        """Bit i: a complaint names node i."""
        places = {complaint.complaint.index for complaint in self._complaints}
        return sum(1 << place for place in places if place < MAX_PLACES)

    def report(self, *, late: bool) -> ShareReport:
        """What is held and missing, with every complaint so far. ``late``: keys are not joined any more."""
        right = set.intersection(*(set(held) for held in self._held))
        complaints = tuple(complaint.canonical() for complaint in self._complaints)
        return ShareReport(held=tuple(sorted(right)), needed=self.missing, complaints=complaints, late=late)

    def join_keys(self) -> list[bytes]:
        """Every asset's data key, in order. Raises :class:`InputFailed` for right shares that do not join (rule 3)."""
        keys = []
        for position, (asset, held) in enumerate(zip(self._job.assets, self._held, strict=True)):
            try:
                keys.append(join(held.values(), asset.share_set.commitments))
            except WrongKey as error:
                raise InputFailed(position, InputFault.KEY_DOES_NOT_JOIN) from error
            finally:
                held.clear()
        return keys

    def _take_share(
        self, position: int, asset: LoadedAsset, node: Address, sealed: bytes | None, sent: Bytes32
    ) -> None:
        try:
            index = asset.share_set.index_of(node)
        except ShareError:
            return
        if index in self._held[position]:
            return
        try:
            if sealed is None:
                raise NotOpened("a share that was not sent")
            context = self._context(asset, index)
            self._held[position][index] = open_released(self._keys.hpke, asset.share_set.commitments, context, sealed)
        except (NotOpened, ShareError):
            self._complain(asset, node, index, sent)

    def _context(self, asset: LoadedAsset, index: int) -> ReleaseInfo:
        return ReleaseInfo(
            chain_id=self._bound.chain_id,
            market=self._bound.market,
            job_id=self._bound.job_id,
            asset_id=asset.use.asset_id,
            asset_version=asset.use.version,
            evidence_hash=self._evidence_hash,
            terms_digest=self._bound.terms_digest,
            epoch=self._bound.spec.epoch,
            index=share_index(index),
            enclave_key=self._keys.hpke.public.digest,
        )

    def _complain(self, asset: LoadedAsset, node: Address, index: int, sent: Bytes32) -> None:
        if (asset.use.asset_id, node) in self._blamed:
            return
        self._blamed.add((asset.use.asset_id, node))
        complaint = Complaint(
            job_id=self._bound.job_id,
            evidence_hash=self._evidence_hash,
            asset_id=asset.use.asset_id,
            node=node,
            index=index,
            sent_hash=sent,
        )
        signature = self._keys.sign(complaint.digest(self._bound.chain_id, self._bound.market))
        self._complaints.append(SignedComplaint(complaint=complaint, signature=signature))
