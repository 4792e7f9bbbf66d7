"""A whole small market in one process: twin chain and store, a real virtual TDX platform, three nodes with real keys.

Everything defaults to a job that honest nodes accept; a test says only what is wrong. Evidence, shares, policies and
signatures are real bytes under a development root.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import coincurve
from msgspec.structs import replace

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.chain.committees import members_hash
from sealmarket.chain.memory import MemoryChain
from sealmarket.chain.model import Block
from sealmarket.protocol.book import AddressBook, Committee, FinalityRule, Member
from sealmarket.protocol.decisions import Decision
from sealmarket.protocol.merkle import allowed_leaf
from sealmarket.protocol.merkle import root as merkle_root
from sealmarket.protocol.orders import EvidenceSeal, Purpose
from sealmarket.protocol.wire import EvidencePackage
from sealmarket.sealing import shares
from sealmarket.sealing.evidence import About, EvidenceSealer, SealedEvidence
from sealmarket.store.memory import MemoryStore
from sealmarket_devices.measure import LaunchMeasurement
from sealmarket_devices.measurements import tdx_measurement
from sealmarket_devices.tdx import VirtualTdx
from sealmarket_enclave.protocol.codec import (
    ZERO_ADDRESS,
    ZERO_HASH,
    Address,
    Bytes32,
    HexBytes,
    MicroEpsilon,
    Wei,
    to_builtins,
)
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import JobSpec, evidence_hash, report_data, result_key_names, result_keys_hash
from sealmarket_enclave.protocol.numbers import AssetId, Grade, JobId, Tee
from sealmarket_enclave.protocol.policy import CommitteeRef, OutputRules, PolicyDocument
from sealmarket_enclave.protocol.signing import address_of, sign
from sealmarket_enclave.protocol.terms import Seal, Terms
from sealmarket_enclave.sealed.hpke import PrivateKey, PublicKey
from sealmarket_enclave.sealed.shares import ShareSet
from sealmarket_oracle import service
from sealmarket_oracle.gate.inputs import MarketRef
from sealmarket_oracle.journal import Journal, JournalIdentity
from sealmarket_oracle.keys import NodeKeys, Signer
from sealmarket_oracle.service import Node
from tests import samples

NOW = int(datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp())
CHAIN_ID = 31337
MARKET, REGISTRY, COMMITTEE = (Address(bytes([n]) * 20) for n in (0xA1, 0xA2, 0xA3))
MARKET_REF = MarketRef(chain_id=CHAIN_ID, address=MARKET, registry=REGISTRY)
WORKLOAD = Bytes32(b"\x77" * 32)
OTHER_WORKLOAD = Bytes32(b"\x78" * 32)
PARAMETERS = Bytes32(b"\x79" * 32)


def _launch(image: bytes) -> LaunchMeasurement:
    digests = (hashlib.sha384(part).digest() for part in (image, b"runtime", b"command"))
    return LaunchMeasurement(**dict(zip(("image", "runtime", "command"), digests, strict=True)))


LAUNCH, OTHER_LAUNCH = _launch(b"image"), _launch(b"another image")
CONSUMER = Address(b"\xc0" * 20)


def clock() -> datetime:
    """The fixed time of the platform."""
    return datetime.fromtimestamp(NOW, UTC)


@dataclass
class Enclave:
    """The keys of one enclave."""

    signer: coincurve.PrivateKey = field(default_factory=coincurve.PrivateKey)
    hpke: PrivateKey = field(default_factory=PrivateKey.generate)

    @property
    def address(self) -> Address:
        return address_of(self.signer.public_key)


@dataclass
class Dealt:
    """One published asset, with what its owner keeps: the key, and who got which share."""

    asset_id: AssetId
    owner: Address
    seal: Seal
    policy: PolicyDocument
    share_set: ShareSet
    key: bytes


def terms(**changes: Any) -> Terms:
    """Terms that allow the default job."""
    pair = allowed_leaf(Tee.TDX, tdx_measurement(LAUNCH).digest(), WORKLOAD)
    base = Terms(
        token=ZERO_ADDRESS,
        price=Wei(10),
        expiry=NOW + 86_400,
        max_uses=5,
        purposes=int(Purpose.TRAIN),
        min_grade=Grade.SIMULATED,
        budget=MicroEpsilon(0),
        per_job_cap=MicroEpsilon(0),
        allow_root=merkle_root([pair]),
        consumer_root=ZERO_HASH,
        max_hold=30 * 86_400,
        timeout_share=100,
    )
    return replace(base, **changes)


def rules(**changes: Any) -> AppraisalPolicy:
    """Evidence rules that accept the default enclave."""
    base = AppraisalPolicy(measurements=(tdx_measurement(LAUNCH),), platforms="any", lowest_grade="simulated")
    return replace(base, **changes)


def policy(
    asset: AssetId, granted: Terms, evidence: AppraisalPolicy, workloads: Sequence[Bytes32], committee: Committee
) -> PolicyDocument:
    """The document of an asset's first version."""
    return PolicyDocument(
        asset_id=asset,
        asset_version=1,
        title="rows of hospital",
        evidence=to_builtins(evidence),
        workloads=tuple(workloads),
        terms=granted,
        output=OutputRules(media_types=("application/onnx",), max_outputs=2, max_bytes=1 << 20, bucket_bytes=1),
        dealing=CommitteeRef(epoch=1, threshold=committee.threshold, members=len(committee.members)),
        data_card=ZERO_HASH,
    )


class Agreeing:
    """Peers that hold everything of this node's journal: as :class:`~sealmarket_oracle.witnesses.Witnesses`."""

    confirmed = 255

    def require_sound(self) -> None:
        """Nothing is wrong."""

    def holders(self, size: int) -> int:
        """All of them."""
        return 255


class World:
    """One market. ``device`` is the platform on which enclaves run."""

    def __init__(self, device: VirtualTdx, folder: Path, members: int = 3, threshold: int = 2) -> None:
        self.device, self.folder = device, folder
        self.keys = [NodeKeys(Signer(coincurve.PrivateKey().secret), PrivateKey.generate()) for _ in range(members)]
        self.committee = Committee(
            epoch=1,
            threshold=threshold,
            members=tuple(
                Member(signer=k.signer.address, hpke_public_key=HexBytes(k.hpke.public.raw), url=f"http://node-{i}")
                for i, k in enumerate(self.keys)
            ),
        )
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
        self.chain = MemoryChain(self.book, finality_lag=1, timestamp=NOW - 60)
        self.chain.set_committee(1, members_hash(self.committee))
        self.store = MemoryStore()
        self.result_key = bytes(PrivateKey.generate().public.raw)
        self.store.put_document(self.result_key)
        self.store.put_document(result_key_names([self.result_key]))
        self.store.blobs |= {("workloads", WORKLOAD), ("workloads", OTHER_WORKLOAD)}
        self.roots = TrustAnchors.production().with_development(device.root)
        self.provider = coincurve.PrivateKey()
        self.enclave = Enclave()
        self.time = float(NOW)
        self.spec: JobSpec
        self.job_id: JobId
        self.chain_core: Decision
        self._opened = ExitStack()

    def close(self) -> None:
        """Close every journal that was opened here."""
        self._opened.close()

    # --- parties ----------------------------------------------------------------------------------------------

    def publish(
        self,
        number: int = 1,
        *,
        policy_terms: Terms | None = None,
        chain_terms: Terms | None = None,
        evidence: AppraisalPolicy | None = None,
        workloads: Sequence[Bytes32] = (WORKLOAD,),
        committee: Committee | None = None,
        edit_policy: Callable[[PolicyDocument], PolicyDocument] = lambda document: document,
        edit_sealed: Callable[[list[bytes]], list[bytes]] = lambda sealed: sealed,
        dealt_for: Mapping[str, Any] = MappingProxyType({}),
        edit_share_set: Callable[[ShareSet], ShareSet] = lambda share_set: share_set,
        seal_epoch: int = 1,
        keep_shares: bool = True,
        keep_policy: bool = True,
        keep_content: bool = True,
    ) -> Dealt:
        """An owner seals, uploads and publishes an asset."""
        committee = committee or self.committee
        asset, owner = AssetId(Bytes32(bytes([number]) * 32)), Address(bytes([0xB0 + number]) * 20)
        granted = policy_terms or terms()
        document = edit_policy(policy(asset, granted, evidence or rules(), workloads, committee))
        key, content = shares.generate_key(), Bytes32(bytes([number + 100]) * 32)
        here: dict[str, Any] = {"chain_id": CHAIN_ID, "registry": REGISTRY, "asset_id": asset, "epoch": 1}
        named = {"asset_version": 1, "content_root": content, "policy_hash": document.digest()}
        dealing = shares.Dealing(**{**here, **named, **dealt_for})
        members = [(m.signer, PrivateKeyOf.public(m)) for m in committee.members]
        share_set, sealed = shares.deal(key, committee.threshold, members, dealing)
        changed = edit_sealed(list(sealed))
        if changed != list(sealed):
            renamed = tuple(
                replace(member, sealed=keccak(raw)) for member, raw in zip(share_set.members, changed, strict=True)
            )
            share_set = replace(share_set, members=renamed)
        share_set = edit_share_set(share_set)
        seal = Seal(
            content_root=content,
            content_version=1,
            share_root=share_set.root,
            policy_hash=document.digest(),
            epoch=seal_epoch,
        )
        if keep_content:
            self.store.blobs.add(("containers", content))
        if keep_policy:
            self.store.put_document(document.canonical())
        if keep_shares:
            for raw in (share_set.canonical(), *changed):
                self.store.put_document(raw)
        self.chain.publish(asset, owner, seal, chain_terms or granted)
        return Dealt(asset, owner, seal, document, share_set, key)

    def match(self, *assets: Dealt, keep_parameters: bool = True, **changes: Any) -> JobId:
        """A job over assets, matched in the next block."""
        head = self.chain.head()
        uses = [samples.asset_use(asset_id=a.asset_id, owner=a.owner, seal_hash=a.seal.hash()) for a in assets]
        fields: dict[str, Any] = {
            "request_hash": keccak(b"request %d" % head.number),
            "consumer": CONSUMER,
            "provider": address_of(self.provider.public_key),
            "workload_digest": WORKLOAD,
            "parameters_digest": PARAMETERS,
            "result_keys_hash": result_keys_hash([self.result_key]),
            "compute_price": Wei(5),
            "unit_price": Wei(0),
            "max_units": 0,
            "penalty": Wei(5),
            "matched_at": head.timestamp + 1,
        }
        self.spec = samples.job(*uses, **(fields | changes))
        if keep_parameters:
            self.store.parameters[self.spec.request_hash] = PARAMETERS
        self.job_id = self.chain.match(self.spec)
        return self.job_id

    def package(self, job_id: JobId, **changes: Any) -> EvidencePackage:
        """Evidence of the default enclave; ``launch``, ``debug``, ``device``, ``report``, ``named`` change it."""
        named: Block = changes.pop("named", None) or self.chain.head()
        launch, debug = changes.pop("launch", LAUNCH), changes.pop("debug", False)
        device: VirtualTdx = changes.pop("device", self.device)
        enclave: Enclave = changes.pop("enclave", self.enclave)
        key = bytes(enclave.hpke.public.raw)
        data = changes.pop("report", None) or report_data(job_id, enclave.address, keccak(key), named.hash)
        base = EvidencePackage(
            job_id=job_id,
            tee=Tee.TDX,
            quote=HexBytes(device.guest(launch, debug=debug).quote(bytes(data))),
            collateral=device.endorsements(),
            enclave_signer=enclave.address,
            enclave_key=HexBytes(key),
            block_number=named.number,
            block_hash=named.hash,
        )
        return replace(base, **changes)

    def hash_of(self, package: EvidencePackage) -> Bytes32:
        """The evidence hash of a package."""
        return evidence_hash(package.quote, package.enclave_signer, keccak(package.enclave_key), package.block_hash)

    def sealed(
        self,
        job_id: JobId,
        posted: Bytes32,
        content: bytes,
        readers: Sequence[PublicKey] | None = None,
        signer: coincurve.PrivateKey | None = None,
    ) -> SealedEvidence:
        """Content as a provider seals it: to every node, under the provider's signature."""
        about = About(chain_id=CHAIN_ID, market=MARKET, job_id=job_id, evidence_hash=posted, epoch=1)
        members = [keys.hpke.public for keys in self.keys]
        sealed = EvidenceSealer(content, about).wrapped(members if readers is None else readers)
        return self.signed(sealed, signer)

    def signed(self, sealed: SealedEvidence, signer: coincurve.PrivateKey | None = None) -> SealedEvidence:
        """The same under the provider's signature."""
        seal = EvidenceSeal(job_id=sealed.job_id, evidence_hash=sealed.evidence_hash, sealed_hash=sealed.sealed_hash)
        signature = sign(seal.digest(CHAIN_ID, MARKET), signer or self.provider)
        return dataclasses.replace(sealed, signature=bytes(signature))

    def post(self, package: EvidencePackage, posted: Bytes32 | None = None, raw: bytes | None = None) -> Bytes32:
        """Put a package into the store, sealed to every node; ``raw`` are other bytes in its place."""
        posted = posted or self.hash_of(package)
        if raw is None:
            raw = self.sealed(package.job_id, posted, package.canonical()).raw
        self.store.packages[package.job_id, posted] = raw
        return posted

    def hash_of_posted(self) -> Bytes32:
        """The evidence hash that was posted last for the present job."""
        return [posted for job_id, posted in self.store.packages if job_id == self.job_id][-1]

    def quote(self, job_id: JobId | None = None, **changes: Any) -> EvidencePackage:
        """The provider quotes on chain, shows the evidence, and the quote becomes final."""
        package = self.package(job_id or self.job_id, **changes)
        self.chain.quote(package.job_id, self.hash_of(package))
        self.post(package)
        self.chain.finalise()
        return package

    def accept(self, decision: Decision, signers: tuple[int, ...] = ()) -> None:
        """A quorum's decision takes effect and becomes final. ``signers``: those whose journals must know it."""
        self.chain.decide(decision, signers)
        self.chain.finalise()

    # --- nodes ------------------------------------------------------------------------------------------------

    def node(self, index: int = 0, *, journal: str | None = None, **options: Any) -> Node:
        """One node of the committee; a second one with the same journal is that node after a crash."""
        keys = self.keys[index]
        book = options.pop("journal_of", None) or self.journal(journal or f"node-{index}.sqlite", index)
        held = service.NodePolicy(
            roots=options.pop("roots", self.roots),
            grade_floor=options.pop("grade_floor", Grade.SIMULATED),
            max_head_age_seconds=options.pop("max_head_age_seconds", 3600),
        )
        store = options.pop("store", self.store)
        self.ticking = 0.0

        def monotonic() -> float:
            self.ticking += 10.0  # no pause of a job outlasts the time between two looks
            return self.ticking

        chain = options.pop("chain", self.chain)
        witnesses = options.pop("witnesses", Agreeing())
        return Node(chain, book, store, keys, held, witnesses, clock=lambda: self.time, monotonic=monotonic, **options)

    def journal(self, name: str = "node-0.sqlite", place: int = 0) -> Journal:
        """A journal of one node, in this market's folder, closed with the market."""
        return self.closed_with(Journal(self.folder / name, self.identity(place), None))

    def closed_with(self, opened: Journal) -> Journal:
        """The same journal, closed with the market: Python 3.13 warns of a connection that nothing closes."""
        return self._opened.enter_context(opened)

    def identity(self, place: int = 0) -> JournalIdentity:
        """Whose journal one node's is."""
        return JournalIdentity(
            chain_id=CHAIN_ID,
            market=MARKET,
            signer=self.keys[place].signer.address,
            hpke_key=self.keys[place].hpke.public.digest,
            epoch=1,
            name=keccak(b"journal %d" % place),
        )

    def decided(self, node: Node, job_id: JobId | None = None) -> Decision:
        """What a node decides on its next look."""
        node.tick()
        status = node.status(job_id or self.job_id)
        if status.decision is None:
            raise AssertionError(f"no decision: {status.state}, {status.reason}")
        return status.decision.decision


class PrivateKeyOf:
    """Reads a member's public key."""

    @staticmethod
    def public(member: Member) -> Any:
        from sealmarket_enclave.sealed.hpke import PublicKey

        return PublicKey(bytes(member.hpke_public_key))
