"""A market on a chain that the test starts: contracts deployed, three oracle keys in the test's own hands.

No backend, node or worker runs: the test signs what they would, so that every step of the contracts can be taken, and
mis-taken, one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import coincurve
from eth_account import Account
from eth_account.signers.local import LocalAccount
from msgspec.structs import replace

from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.chain import Chain, Enclave, Sender
from sealmarket.chain.contracts import AssetOffer, Match
from sealmarket.chain.deploy import Settings, deploy, timing
from sealmarket.chain.events import JobMatched
from sealmarket.client import (
    AssetWish,
    Consumer,
    DraftTerms,
    JobLimits,
    Offer,
    Owner,
    PolicyDraft,
    Provider,
    SealedAsset,
    signing,
)
from sealmarket.client.requests import RequestHandle
from sealmarket.market_api.memory import MemoryBackend
from sealmarket.protocol.book import AddressBook, Committee, FinalityRule, Member, Windows
from sealmarket.protocol.capability import Capability
from sealmarket.protocol.decisions import Decision, Outcome, Stop
from sealmarket.protocol.orders import EvidenceSeal
from sealmarket.protocol.wire import DecisionDetail, EvidencePackage, SignedComputeOrder, SignedDecision, SignedStop
from sealmarket.sealing.evidence import About, EvidenceSealer
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.wheels import build
from sealmarket_devices.measure import LaunchMeasurement
from sealmarket_devices.measurements import tdx_measurement
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Bytes32, HexBytes, Uint, Uint64, Wei, decode, to_builtins
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import JobSpec, Settlement
from sealmarket_enclave.protocol.numbers import Grade, JobId, Tee
from sealmarket_enclave.protocol.policy import OutputRules
from sealmarket_enclave.protocol.receipt import (
    ReceiptInput,
    ReceiptPredicate,
    Statement,
    Subject,
    envelope,
    signing_hash,
)
from sealmarket_enclave.protocol.signing import address_of, sign
from sealmarket_enclave.protocol.terms import Seal
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_enclave.sealed.result import seal_result
from sealmarket_enclave.workload.bundle import Bundle
from tests.enclave.workload.bundles import bundle

ETHER = 10**18
WINDOWS = Windows(quote=600, decide=600, settle=900, challenge=600)
"""In seconds, by the wall's clock on most chains here: far more than any step takes on a busy machine."""
DEVELOPMENT_MNEMONIC = " ".join(["test"] * 11 + ["junk"])
NO_DETAIL = DecisionDetail(
    block_number=0,
    block_hash=Bytes32(bytes(32)),
    tcb_status="UpToDate",
    advisories=(),
    collateral_digest=Bytes32(bytes(32)),
    findings=(),
    warnings=(),
)


def development_account(index: int) -> LocalAccount:
    """One of the accounts that local chains fill with money."""
    Account.enable_unaudited_hdwallet_features()
    account: LocalAccount = Account.from_mnemonic(DEVELOPMENT_MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")
    return account


def workload(folder: Path) -> Bundle:
    """A small workload that is locked to no wheels."""
    tree = bundle(folder / "workload")
    (tree / "environment.json").write_bytes(build(b"", []).canonical())
    return read_bundle(tree)


MEASUREMENT = tdx_measurement(LaunchMeasurement(image=b"\x01" * 48, runtime=b"\x02" * 48, command=b"\x03" * 48))


PROMISE = Capability(
    tee=Tee.TDX,
    measurements=(to_builtins(MEASUREMENT),),
    platform_classes=(),
    memory_bytes=Uint64(8 << 30),
    threads=8,
    environments=(),
    ciphertext_bytes=Uint64(1 << 30),
)
"""What the provider promises: the virtual enclave that the policies allow."""


def draft(bundle: Bundle, expiry: int, *, price: int = 1000) -> PolicyDraft:
    """A policy that allows one virtual enclave and one workload."""
    rules = AppraisalPolicy(measurements=(MEASUREMENT,), platforms="any", lowest_grade="simulated")
    return PolicyDraft(
        title="rows",
        evidence=to_builtins(rules),
        workloads=(bundle.digest,),
        terms=DraftTerms(
            price=Wei(price), expiry=expiry, max_uses=100, purposes=("train", "query"), min_grade="simulated"
        ),
        output=OutputRules(media_types=("application/json",), max_outputs=1, max_bytes=1 << 20, bucket_bytes=4096),
        data_card={"columns": ["a", "b"]},
    )


@dataclass
class EnclaveKeys:
    """What an enclave would make for itself."""

    signer: coincurve.PrivateKey = field(default_factory=coincurve.PrivateKey)
    hpke: PrivateKey = field(default_factory=PrivateKey.generate)


class Market:
    """One deployed market, with everybody's accounts."""

    def __init__(self, rpc_url: str, folder: Path, finality: FinalityRule, windows: Windows = WINDOWS) -> None:
        self.rpc_url, self.folder = rpc_url, folder
        self.nodes = [coincurve.PrivateKey() for _ in range(3)]
        self.node_hpke = [PrivateKey.generate() for _ in range(3)]
        members = tuple(
            Member(
                signer=address_of(key.public_key),
                hpke_public_key=HexBytes(hpke.public.raw),
                url=f"http://127.0.0.1:9/{place}",
            )
            for place, (key, hpke) in enumerate(zip(self.nodes, self.node_hpke, strict=True))
        )
        self.committee = Committee(epoch=1, threshold=2, members=members)
        self.backend = MemoryBackend()
        self.settings = Settings(
            finality=finality,
            committee=self.committee,
            store="http://store.twin",
            backend="http://store.twin",
            timing=timing(1, transfer_allowance=1, windows=windows),
            tokens={ZERO_ADDRESS: Wei(100)},
        )
        self.windows = windows
        self.book: AddressBook = deploy(rpc_url, development_account(0), self.settings, development=True)
        self.chain = Chain(self.book, rpc_url)
        store, api = self.backend.store(), self.backend.api()
        self.owner = Owner(self.chain, development_account(1), store, api, development=True)
        self.consumer = Consumer(self.chain, development_account(2), store, api, development=True)
        self.provider = Provider(self.chain, development_account(3), api, development=True)
        self.anybody = Sender(self.chain, development_account(4), development=True)
        self.provider_sender = Sender(self.chain, development_account(3), development=True)
        self.owner_sender = Sender(self.chain, development_account(1), development=True)
        self.workload = workload(folder)
        self.result_key = PrivateKey.generate()

    def ready(self) -> SealedAsset:
        """Two assets are published, compute is on offer, and the consumer has money."""
        expiry = self.chain.head().timestamp + 86_400
        sealed, self.second = (
            self.owner.seal(
                b"a,b\n1,2\n", draft(self.workload, expiry), self.folder / name, confirm_unencrypted_key=True
            )
            for name in ("sealed", "second")
        )
        self.owner.publish(sealed)
        self.owner.publish(self.second)
        self.provider.stake(Wei(ETHER))
        self.backend.store().put_document(PROMISE.canonical())
        self.provider.offer(
            Offer(
                tee=Tee.TDX,
                grade=Grade.SIMULATED,
                price=Wei(500),
                penalty=Wei(700),
                volume=100,
                capability_hash=PROMISE.digest(),
            )
        )
        self.consumer.deposit(Wei(ETHER))
        return sealed

    def request(self, sealed: SealedAsset) -> RequestHandle:
        """The consumer asks for one job over the asset and the second one."""
        limits = JobLimits(
            max_compute_price=Wei(600),
            min_grade=Grade.SIMULATED,
            quote_window=self.windows.quote,
            decide_window=self.windows.decide,
            settle_window=self.windows.settle,
            run_seconds=10,
            read_seconds=1,
            validate_seconds=1,
            challenge_window=self.windows.challenge,
            capabilities=(PROMISE.digest(),),
        )
        wishes = [AssetWish(asset_id=asset.asset_id) for asset in (sealed, self.second)]
        return self.consumer.request(self.workload, {"target": "a"}, wishes, limits, self.result_key)

    def match(self, handle: RequestHandle) -> JobId:
        """Anybody matches the request with the provider's order."""
        compute = decode(SignedComputeOrder, self.backend.posted["compute-orders"][-1])
        offers = tuple(AssetOffer() for _ in handle.request.assets)
        mined = self.anybody.send(self.chain.market.match(Match(request=handle.signed, compute=compute, offers=offers)))
        return next(event.job_id for event in mined.events if isinstance(event, JobMatched))

    def decision(self, spec: JobSpec, keys: EnclaveKeys, evidence: Bytes32, **changes: object) -> Decision:
        """What honest nodes would decide."""
        base = Decision(
            job_id=self.job_id(spec),
            evidence_hash=evidence,
            enclave_signer=address_of(keys.signer.public_key),
            enclave_key_hash=keccak(keys.hpke.public.raw),
            terms_digest=keccak(b"terms"),
            epoch=1,
            outcome=Outcome.ACCEPTED,
            grade=int(Grade.SIMULATED),
            reasons=Uint(0),
            expiry=self.chain.head().timestamp + 3600,
            detail=keccak(NO_DETAIL.canonical()),
        )
        return replace(base, **changes)

    def signed(self, decision: Decision, nodes: Sequence[int] = (0, 1)) -> list[SignedDecision]:
        """A decision signed by some of the nodes."""
        digest = decision.digest(self.book.chain_id, self.book.market)
        return [
            SignedDecision(decision=decision, index=i, signature=sign(digest, self.nodes[i]), detail=NO_DETAIL)
            for i in nodes
        ]

    def stops(self, stop: Stop, nodes: Sequence[int] = (0, 1)) -> list[SignedStop]:
        """A promise never to release, signed by some of the nodes."""
        digest = stop.digest(self.book.chain_id, self.book.market)
        return [SignedStop(stop=stop, index=i, signature=sign(digest, self.nodes[i]), findings=()) for i in nodes]

    def settlement(
        self, spec: JobSpec, keys: EnclaveKeys, result: Bytes32, receipt: Bytes32
    ) -> tuple[Settlement, bytes]:
        """What the enclave signs at the end."""
        word = Settlement(job_id=self.job_id(spec), result_hash=result, receipt_hash=receipt, units=0, last=True)
        return word, sign(word.digest(self.book.chain_id, self.book.market), keys.signer)

    def show(self, package: EvidencePackage, posted: Bytes32) -> None:
        """The provider seals its evidence to every node and puts it into the store."""

        def signed(sealed_hash: Bytes32) -> HexBytes:
            seal = EvidenceSeal(job_id=package.job_id, evidence_hash=posted, sealed_hash=sealed_hash)
            return signing.sign(development_account(3), self.book, seal)

        about = About(
            chain_id=self.book.chain_id,
            market=self.book.market,
            job_id=package.job_id,
            evidence_hash=posted,
            epoch=self.committee.epoch,
        )
        readers = [key.public for key in self.node_hpke]
        self.backend.store().put_evidence(EvidenceSealer(package.canonical(), about).wrapped(readers, signed))

    def finish(
        self, spec: JobSpec, keys: EnclaveKeys, decision: Decision, seals: Sequence[Seal]
    ) -> tuple[bytes, Settlement, bytes]:
        """Seal a result into the store; the receipt, and the enclave's signed last word for it."""
        job_id, store = self.job_id(spec), self.backend.store()
        result, container = seal_result(
            {"count.json": b"1"},
            [self.result_key.public],
            chain_id=self.book.chain_id,
            market=self.book.market,
            job_id=job_id,
            bucket=4096,
        )
        store.put_document(result.canonical())
        store.put_container_bytes(result.content_root, container)
        digests = {"keccak256": result.hash.hex(), "sealmarketContentRoot": result.content_root.hex()}
        predicate = ReceiptPredicate(
            chain_id=self.book.chain_id,
            market=self.book.market,
            job_id=job_id,
            evidence_hash=decision.evidence_hash,
            enclave_key_hash=decision.enclave_key_hash,
            workload_digest=spec.workload_digest,
            parameters_digest=spec.parameters_digest,
            terms_digest=decision.terms_digest,
            inputs=tuple(
                ReceiptInput(
                    asset_id=use.asset_id,
                    asset_version=use.version,
                    content_root=seal.content_root,
                    policy_hash=seal.policy_hash,
                )
                for use, seal in zip(spec.assets, seals, strict=True)
            ),
            outcome="completed",
            privacy="exact",
            units=0,
            sandbox=(),
            platform="no device (simulated)",
        )
        statement = Statement(subject=(Subject(name="result", digest=digests),), predicate=predicate)
        signature = sign(signing_hash(statement), keys.signer)
        receipt = envelope(statement, address_of(keys.signer.public_key), signature).canonical()
        word, signed = self.settlement(spec, keys, result.hash, keccak(receipt))
        return receipt, word, signed

    def job_id(self, spec: JobSpec) -> JobId:
        """The id of a job on this market."""
        return spec.job_id(self.book.chain_id, self.book.market)

    def enclave(self, decision: Decision) -> Enclave:
        """The enclave of a decision."""
        return Enclave(decision.evidence_hash, decision.enclave_signer, decision.enclave_key_hash)

    def close(self) -> None:
        """Give the connections back."""
        self.chain.close()

    def free(self, who: Owner | Consumer | Provider) -> int:
        """What somebody may withdraw."""
        return int(self.chain.at(self.chain.head()).account(ZERO_ADDRESS, who.address).free)
