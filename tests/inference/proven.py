"""A service that is true in every part, with evidence of a virtual device; a test says what is false in it."""

from __future__ import annotations

from dataclasses import replace as change
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.chain import Block, JobSlot
from sealmarket.chain.committees import members_hash
from sealmarket.chain.events import JobDecided, JobMatched, JobQuoted
from sealmarket.chain.model import EventRef
from sealmarket.client.draft import DraftTerms
from sealmarket.client.jobs import JobRecord
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.services import ServiceDocument
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import EvidencePackage
from sealmarket.receipts.model import ChainFacts, Trusted
from sealmarket_devices.measure import LaunchMeasurement
from sealmarket_devices.tdx import VirtualTdx
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, HexBytes, Uint64, Wei
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import JobSpec, evidence_hash, report_data
from sealmarket_enclave.protocol.numbers import AssetId, BlockNumber, Kind, Tee
from sealmarket_enclave.protocol.policy import PolicyDocument
from sealmarket_enclave.protocol.session import Royalty, SessionTerms
from sealmarket_enclave.protocol.signing import address_of
from sealmarket_enclave.sealed.hpke import PrivateKey
from tests.client.bundles import Case, policy
from tests.inference.enclave import SERVING

NOW = 1_700_000_010
LAUNCH = LaunchMeasurement(image=b"\x01" * 48, runtime=b"\x02" * 48, command=b"\x03" * 48)
TERMS = SessionTerms(
    sessions=Address(b"\x05" * 20),
    lease=Uint64(1000),
    lease_seconds=60,
    redemption_window=60,
    end=2_000_000_000,
    bucket=Uint64(10),
    unit_price=Wei(5),
    least_tab=Wei(1),
    renewal_fee=Wei(1),
    royalties=(Royalty(asset_id=AssetId(keccak(b"asset")), per_unit=Wei(1)),),
)


class ServiceCase(Case):
    """An accepted job of kind session; its enclave's keys, evidence and documents."""

    def __init__(self, folder: Path, launch: LaunchMeasurement = LAUNCH) -> None:
        super().__init__()
        self.hpke = PrivateKey.generate()
        self.device = VirtualTdx(folder, lambda: datetime.fromtimestamp(NOW, UTC))
        raw, block_hash = bytes(self.hpke.public.raw), keccak(b"named block")
        signer = address_of(self.enclave.public_key)
        quote = self.device.guest(launch, debug=False).quote(report_data(self.job_id, signer, keccak(raw), block_hash))
        self.package = EvidencePackage(
            job_id=self.job_id,
            tee=Tee.TDX,
            quote=HexBytes(quote),
            collateral=self.device.endorsements(),
            enclave_signer=signer,
            enclave_key=HexBytes(raw),
            block_number=3,
            block_hash=block_hash,
        )
        self.evidence_hash = evidence_hash(self.package.quote, signer, keccak(raw), block_hash)
        self.document = ServiceDocument(
            spec=self.spec,
            terms=TERMS,
            seals=(self.seal,),
            policies=(self.policy,),
            evidence_hash=self.evidence_hash,
            enclave_key=HexBytes(raw),
        )

    def _policy(self, asset: AssetId) -> PolicyDocument:
        terms = DraftTerms(
            price=Wei(1000), expiry=2_000_000_000, max_uses=5, purposes=("train",), min_grade="simulated"
        )
        return policy(asset, self.committee, serving=SERVING, terms=terms)

    def _spec(self, asset: AssetId) -> JobSpec:
        found = super()._spec(asset)
        uses = tuple(replace(use, price=Wei(1000)) for use in found.assets)
        return replace(
            found,
            kind=Kind.SESSION,
            extension_hash=TERMS.struct_hash(),
            assets=uses,
            compute_price=Wei(0),
            timeout_limit=Wei(5000),
        )

    @property
    def record(self) -> JobRecord:
        """What an honest chain says of it."""
        core = self.core(evidence_hash=self.evidence_hash, enclave_key_hash=self.hpke.public.digest)
        at = [EventRef(BlockNumber(n), 0, ZERO_HASH, keccak(b"%d" % n)) for n in range(8)]
        return JobRecord(
            job_id=self.job_id,
            spec=self.spec,
            at=Block(BlockNumber(9), keccak(b"block"), 1_700_000_050, ZERO_HASH),
            slot=JobSlot(Status.ACCEPTED, 0, bytes(26)),
            matched=JobMatched(at[2], self.job_id, self.spec),
            quoted=JobQuoted(at[3], self.job_id, self.evidence_hash),
            decided=JobDecided(at[5], self.job_id, core, (0, 1), Outcome.ACCEPTED),
        )

    def trusted(self, **record: Any) -> Trusted:
        """The reader's context, with changes of the chain's record."""
        found = change(self.record, **record)
        facts = ChainFacts(
            record=found,
            at=found.at,
            final=True,
            committee_hash=members_hash(self.committee),
            removed_members=frozenset(),
            quoted_at=NOW,
            slot_proven=False,
            versions=tuple(self._version(use) for use in self.spec.assets),
        )
        roots = TrustAnchors.production().with_development(self.device.root)
        return Trusted(book=self.book, facts=facts, roots=roots)
