"""A whole settled job as a proof bundle, true in every part; a test says only what is false in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import coincurve
from msgspec.structs import replace

from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.chain import Block, JobSlot
from sealmarket.chain.bargain import commitment
from sealmarket.chain.committees import members_hash
from sealmarket.chain.events import JobDecided, JobMatched, JobQuoted, JobSettled
from sealmarket.chain.model import AssetState, EventRef
from sealmarket.client.draft import DraftTerms, PolicyDraft, policy_document
from sealmarket.client.jobs import JobRecord
from sealmarket.protocol.book import AddressBook, Committee, FinalityRule, Member
from sealmarket.protocol.decisions import Decision, Outcome
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import DecisionDetail, SignedDecision
from sealmarket.receipts.bundle import ProofBundle, ReleaseProof, SentShare, SignedSettlement
from sealmarket.receipts.model import ChainFacts
from sealmarket_devices.measure import LaunchMeasurement
from sealmarket_devices.measurements import tdx_measurement
from sealmarket_enclave.protocol.codec import (
    ZERO_HASH,
    Address,
    Bytes32,
    HexBytes,
    MicroEpsilon,
    Uint,
    Wei,
    to_builtins,
)
from sealmarket_enclave.protocol.hashing import keccak, words
from sealmarket_enclave.protocol.job import AssetUse, JobSpec, Settlement, result_keys_hash, terms_digest
from sealmarket_enclave.protocol.numbers import AssetId, BlockNumber, Grade, JobId
from sealmarket_enclave.protocol.policy import OutputRules, PolicyDocument
from sealmarket_enclave.protocol.receipt import (
    ReceiptInput,
    ReceiptPredicate,
    Statement,
    Subject,
    envelope,
    signing_hash,
)
from sealmarket_enclave.protocol.release import release_digest
from sealmarket_enclave.protocol.signing import address_of, personal_digest, sign
from sealmarket_enclave.protocol.terms import Seal
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_enclave.sealed.result import ResultEnvelope, seal_result
from tests import samples

CHAIN_ID = 31337
REGISTRY, COMMITTEE, MARKET = (Address(bytes([n]) * 20) for n in (1, 2, 3))
WORKLOAD, PARAMETERS = keccak(b"workload"), keccak(b"parameters")
EVIDENCE = keccak(b"evidence")
MEASUREMENT = tdx_measurement(LaunchMeasurement(image=b"\x01" * 48, runtime=b"\x02" * 48, command=b"\x03" * 48))
DETAIL = DecisionDetail(
    block_number=4,
    block_hash=ZERO_HASH,
    tcb_status="UpToDate",
    advisories=(),
    collateral_digest=ZERO_HASH,
    findings=(),
    warnings=(),
)


def policy(asset: AssetId, committee: Committee, **changes: Any) -> PolicyDocument:
    """A policy that allows the job; ``changes`` of its draft."""
    rules = AppraisalPolicy(measurements=(MEASUREMENT,), platforms="any", lowest_grade="simulated")
    draft = PolicyDraft(
        title="rows",
        evidence=to_builtins(rules),
        workloads=(WORKLOAD,),
        terms=DraftTerms(price=Wei(10), expiry=2_000_000_000, max_uses=5, purposes=("train",), min_grade="simulated"),
        output=OutputRules(media_types=("application/json",), max_outputs=1, max_bytes=1 << 20, bucket_bytes=4096),
        data_card={},
    )
    draft = replace(draft, **changes)
    return policy_document(draft, asset, 1, committee, ZERO_HASH, 86_400)


@dataclass
class Case:
    """One settled job, and all the keys behind it."""

    nodes: list[coincurve.PrivateKey] = field(default_factory=lambda: [coincurve.PrivateKey() for _ in range(3)])
    enclave: coincurve.PrivateKey = field(default_factory=coincurve.PrivateKey)
    result_key: PrivateKey = field(default_factory=PrivateKey.generate)

    def __post_init__(self) -> None:
        members = tuple(
            Member(signer=address_of(k.public_key), hpke_public_key=HexBytes(b"key %d" % i), url="http://node")
            for i, k in enumerate(self.nodes)
        )
        self.committee = Committee(epoch=1, threshold=2, members=members)
        self.book = AddressBook(
            chain_id=CHAIN_ID,
            registry=REGISTRY,
            committee=COMMITTEE,
            market=MARKET,
            endings=Address(b"\xe1" * 20),
            extension=Address(b"\xe2" * 20),
            deployed_at=1,
            finality=FinalityRule(kind="depth", depth=1),
            timing=samples.TIMING,
            store="http://store",
            backend="http://store",
            committees=(self.committee,),
        )
        asset = AssetId(keccak(b"asset"))
        self.policy = self._policy(asset)
        self.seal = Seal(
            content_root=keccak(b"content"),
            content_version=1,
            share_root=keccak(b"shares"),
            policy_hash=self.policy.digest(),
            epoch=1,
        )
        self.spec = self._spec(asset)
        self.job_id = self.spec.job_id(CHAIN_ID, MARKET)

    def _policy(self, asset: AssetId) -> PolicyDocument:
        return policy(asset, self.committee)

    def _spec(self, asset: AssetId) -> JobSpec:
        use = samples.asset_use(asset_id=asset, seal_hash=self.seal.hash())
        return samples.job(
            use,
            workload_digest=WORKLOAD,
            parameters_digest=PARAMETERS,
            result_keys_hash=result_keys_hash([self.result_key.public.raw]),
            compute_price=Wei(7),
            unit_price=Wei(2),
            penalty=Wei(13),
            max_units=5,
            **(dict.fromkeys(samples.WINDOWS, 60) | {"settle_window": 2000}),
        )

    def digest(self, word: Any) -> Bytes32:
        """The EIP-712 digest of a structure on this market."""
        digest: Bytes32 = word.digest(CHAIN_ID, MARKET)
        return digest

    def core(self, **changes: Any) -> Decision:
        """What the nodes decided."""
        base = Decision(
            job_id=self.job_id,
            evidence_hash=EVIDENCE,
            enclave_signer=address_of(self.enclave.public_key),
            enclave_key_hash=keccak(b"enclave key"),
            terms_digest=terms_digest(self.spec.assets, (self.seal,)),
            epoch=1,
            outcome=Outcome.ACCEPTED,
            grade=int(Grade.SIMULATED),
            reasons=Uint(0),
            expiry=2_000_000_000,
            detail=ZERO_HASH,
        )
        return replace(base, **changes)

    def decisions(self, core: Decision, nodes: tuple[int, ...] = (0, 1)) -> tuple[SignedDecision, ...]:
        """The same core, signed by some nodes."""
        mine = replace(core, detail=keccak(DETAIL.canonical()))
        return tuple(
            SignedDecision(decision=mine, index=i, signature=sign(self.digest(mine), self.nodes[i]), detail=DETAIL)
            for i in nodes
        )

    def releases(self, nodes: tuple[int, ...] = (0, 1)) -> tuple[ReleaseProof, ...]:
        """What some nodes signed that they sent."""
        made = []
        for i in nodes:
            sent = tuple(SentShare(asset_id=use.asset_id, sent_hash=keccak(b"%d" % i)) for use in self.spec.assets)
            word = release_digest(self.job_id, EVIDENCE, i, [(share.asset_id, share.sent_hash) for share in sent])
            made.append(ReleaseProof(index=i, sent=sent, signature=sign(personal_digest(word), self.nodes[i])))
        return tuple(made)

    def result(self) -> ResultEnvelope:
        """The sealed result."""
        sealed, _ = seal_result(
            {"a.json": b"1"},
            [self.result_key.public],
            chain_id=CHAIN_ID,
            market=MARKET,
            job_id=self.job_id,
            bucket=4096,
        )
        return sealed

    def receipt(self, result: ResultEnvelope, signer: coincurve.PrivateKey | None = None, **changes: Any) -> HexBytes:
        """The enclave's receipt for a result."""
        use = self.spec.assets[0]
        predicate = ReceiptPredicate(
            chain_id=CHAIN_ID,
            market=MARKET,
            job_id=self.job_id,
            evidence_hash=EVIDENCE,
            enclave_key_hash=keccak(b"enclave key"),
            workload_digest=WORKLOAD,
            parameters_digest=PARAMETERS,
            terms_digest=terms_digest(self.spec.assets, (self.seal,)),
            inputs=(
                ReceiptInput(
                    asset_id=use.asset_id,
                    asset_version=1,
                    content_root=self.seal.content_root,
                    policy_hash=self.seal.policy_hash,
                ),
            ),
            outcome="completed",
            privacy="exact",
            units=2,
            sandbox=("seccomp",),
            platform="virtual tdx (SIMULATED)",
        )
        digests = {"keccak256": result.hash.hex(), "sealmarketContentRoot": result.content_root.hex()}
        subject = (Subject(name="result", digest=digests),)
        statement = Statement(subject=subject, predicate=replace(predicate, **changes))
        key = signer or self.enclave
        signature = sign(signing_hash(statement), key)
        return HexBytes(envelope(statement, address_of(key.public_key), signature).canonical())

    def bundle(self, **changes: Any) -> ProofBundle:
        """The proof of the job."""
        core, result = self.core(), self.result()
        receipt = self.receipt(result)
        word = self.settlement(result, receipt)
        base = ProofBundle(
            book=self.book,
            job_id=self.job_id,
            spec=self.spec,
            seals=(self.seal,),
            policies=(self.policy,),
            evidence_hash=EVIDENCE,
            core=core,
            decisions=self.decisions(core),
            releases=self.releases(),
            receipt=receipt,
            result=HexBytes(result.canonical()),
            settlement=SignedSettlement(settlement=word, signature=sign(self.digest(word), self.enclave)),
        )
        return replace(base, **changes)

    def settlement(self, result: ResultEnvelope, receipt: bytes) -> Settlement:
        """The enclave's settlement."""
        return Settlement(job_id=self.job_id, result_hash=result.hash, receipt_hash=keccak(receipt), units=2, last=True)

    def _version(self, use: AssetUse) -> AssetState:
        return AssetState(
            owner=use.owner,
            seal_hash=use.seal_hash,
            epoch=self.spec.epoch,
            terms=self.policy.terms,
            terms_version=1,
            revoked=False,
            suspended=False,
            strict_version=1,
            uses_taken=1,
            budget_taken=MicroEpsilon(0),
        )

    def facts(self, bundle: ProofBundle, **changes: Any) -> ChainFacts:
        """What an honest chain says of the job."""
        settlement = bundle.settlement
        assert settlement is not None
        word = settlement.settlement
        stage = keccak(words(word.result_hash, word.receipt_hash, word.units))
        slot = JobSlot(Status.SETTLED, 0, commitment(self.spec, JobId(self.job_id), stage))
        block = Block(BlockNumber(9), keccak(b"block"), 1_700_000_050, ZERO_HASH)
        at = [EventRef(BlockNumber(n), 0, ZERO_HASH, keccak(b"%d" % n)) for n in range(8)]
        record = JobRecord(
            job_id=self.job_id,
            spec=self.spec,
            at=block,
            slot=slot,
            matched=JobMatched(at[2], self.job_id, self.spec),
            quoted=JobQuoted(at[3], self.job_id, EVIDENCE),
            decided=JobDecided(at[5], self.job_id, self.core(), (0, 1), Outcome.ACCEPTED),
            settled=JobSettled(
                at[6], self.job_id, word.result_hash, word.receipt_hash, word.units, True, Wei(6), Wei(11)
            ),
        )
        fields: dict[str, Any] = {
            "record": record,
            "at": block,
            "final": True,
            "committee_hash": members_hash(self.committee),
            "removed_members": frozenset(),
            "quoted_at": 1_700_000_010,
            "slot_proven": False,
            "versions": tuple(self._version(use) for use in self.spec.assets),
        }
        return ChainFacts(**{**fields, **changes})
