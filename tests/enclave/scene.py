"""A whole job for tests: two owners' sealed assets, three oracle nodes' keys, a consumer, a workload with one wheel.

Everything is real except the chain and the nodes' decisions: whoever has a scene can release shares as a node would.
"""

from __future__ import annotations

import hashlib
import io
import secrets
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import coincurve
import msgspec
from msgspec import UNSET, UnsetType

from sealmarket.sealing.shares import Dealing, deal, generate_key, open_share, release_share
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.wheels import build, install
from sealmarket_enclave.protocol.codec import (
    ZERO_ADDRESS,
    ZERO_HASH,
    Address,
    Bytes32,
    HexBytes,
    MicroEpsilon,
    Wei,
    canonical_json,
)
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import (
    AssetUse,
    JobSpec,
    Parameters,
    parameters_digest,
    result_keys_hash,
    terms_digest,
)
from sealmarket_enclave.protocol.numbers import AssetId, Grade, JobId, Tee
from sealmarket_enclave.protocol.policy import CommitteeRef, OutputRules, PolicyDocument, Serving
from sealmarket_enclave.protocol.release import Release, ReleasedShare, release_hash
from sealmarket_enclave.protocol.signing import address_of, personal_digest, sign
from sealmarket_enclave.protocol.terms import Seal, Terms
from sealmarket_enclave.sealed.container import seal
from sealmarket_enclave.sealed.contexts import ReleaseInfo
from sealmarket_enclave.sealed.hpke import PrivateKey, PublicKey
from sealmarket_enclave.sealed.shares import ShareSet
from sealmarket_enclave.workload.bundle import pack
from sealmarket_enclave.workload.environment import Environment
from tests import samples

CHAIN_ID = 31337
MARKET = Address(b"\x11" * 20)
REGISTRY = Address(b"\x22" * 20)
PROVIDER_KEY = coincurve.PrivateKey(b"\x31" * 32)
MARKER = b"SECRET-ROW-7d1f"

MANIFEST = """\
schema = 1
name = "count-rows"
version = "1.0.0"
summary = "Counts rows."
entry_point = "count:run"

[[inputs]]
name = "rows"
media_type = "text/csv"
minimum = 1
maximum = 4

[[parameters]]
name = "target"
type = "string"
default = "y"

[[outputs]]
name = "report.json"
media_type = "application/json"
max_bytes = 4096

[limits]
cpu_seconds = 20
wall_seconds = 20
memory_bytes = 1073741824
"""
CODE = """\
import json
import tiny

def run(inputs, parameters):
    rows = sum(bytes(data).count(b"\\n") for data in inputs.values())
    report = {"rows": rows, "inputs": sorted(inputs), "target": parameters["target"], "word": tiny.WORD}
    return {"report.json": json.dumps(report).encode()}
"""


@dataclass(frozen=True)
class Node:
    """One oracle node's keys."""

    signing: coincurve.PrivateKey
    hpke: PrivateKey

    @property
    def signer(self) -> Address:
        return address_of(self.signing.public_key)


@dataclass(frozen=True)
class SealedAsset:
    """One owner's sealed asset with all its documents."""

    use: AssetUse
    seal: Seal
    policy: PolicyDocument
    share_set: ShareSet
    dealt: ShareSet
    sealed_shares: tuple[bytes, ...]
    container: bytes
    card: bytes | None = None


@dataclass(frozen=True)
class StepBundle:
    """A locked bundle without wheels, as a host holds it."""

    digest: Bytes32
    archive: bytes
    environment: Path


def default_rules() -> OutputRules:
    return OutputRules(media_types=("application/json",), max_outputs=2, max_bytes=1 << 16, bucket_bytes=4096)


@dataclass
class Scene:
    """Everything that one job needs."""

    folder: Path
    nodes: tuple[Node, ...] = field(default_factory=lambda: make_nodes(3))
    rules: OutputRules = field(default_factory=default_rules)
    plaintexts: tuple[bytes, ...] = (b"a,y\n1," + MARKER + b"\n", b"a,y\n2," + MARKER + b"\n3,z\n")
    parameters: Parameters = field(
        default_factory=lambda: Parameters(salt=Bytes32(b"\x05" * 32), values={"target": "cost"})
    )
    consumer_key: PrivateKey = field(default_factory=PrivateKey.generate)
    tee: Tee = Tee.TDX
    steps: tuple[StepBundle, ...] = ()
    manifest: str = MANIFEST
    code: str = CODE
    serving: Serving | UnsetType = UNSET
    price: Wei = Wei(100)  # noqa: RUF009 - an immutable number
    changes: dict[str, Any] = field(default_factory=dict)
    """Fields of the specification that a test is about."""

    def __post_init__(self) -> None:
        self.bundle = self.folder / "bundle"
        self.wheels = self.folder / "wheels"
        self.environment = self.folder / "environment"
        self.workload_digest = write_workload(
            self.bundle, self.wheels, self.environment, manifest=self.manifest, code=self.code
        )
        self.assets = tuple(self._asset(place, text) for place, text in enumerate(self.plaintexts))
        self.block_hash = Bytes32(b"\xb0" * 32)

    @property
    def spec(self) -> JobSpec:
        fields: dict[str, Any] = {
            "provider": address_of(PROVIDER_KEY.public_key),
            "workload_digest": self.workload_digest,
            "parameters_digest": parameters_digest(self.parameters.salt, canonical_json(self.parameters.values)),
            "result_keys_hash": result_keys_hash([self.consumer_key.public.raw]),
            "tee": self.tee,
            "compute_price": Wei(10),
            "penalty": Wei(1),
            "max_units": 5,
        }
        return samples.job(*(asset.use for asset in self.assets), **(fields | self.changes))

    def use_twice(self) -> None:
        """The first asset in both places: a job may do that, and pays for it twice."""
        self.assets = (self.assets[0], self.assets[0])

    def reseal(self, place: int, **changes: object) -> None:
        """Deal one asset again after its owner changed something: key, policy or content."""
        text = changes.pop("plaintext", self.plaintexts[place])
        assets = list(self.assets)
        assets[place] = self._asset(place, text, **changes)  # type: ignore[arg-type]
        self.assets = tuple(assets)

    def _asset(
        self,
        place: int,
        plaintext: bytes,
        *,
        seal_key: bytes | None = None,
        rules: OutputRules | None = None,
        policy_asset: AssetId | None = None,
        policy_epoch: int = 1,
        threshold: int = 2,
        policy_keys: tuple[Bytes32, ...] = (),
        version: int = 1,
        mangle: object = None,
        card: bytes | None = None,
        notice_key: bytes | None = None,
    ) -> SealedAsset:
        asset_id = AssetId(Bytes32(hashlib.sha256(b"asset %d" % place).digest()))
        key, sink = generate_key(), io.BytesIO()
        made = seal(io.BytesIO(plaintext), sink, seal_key or key, asset_id=asset_id, asset_version=1)
        policy = PolicyDocument(
            asset_id=policy_asset or asset_id,
            asset_version=version,
            title=f"hospital {place}",
            evidence={"simulated": True},
            workloads=(self.workload_digest,),
            terms=_terms(),
            output=rules or self.rules,
            dealing=CommitteeRef(epoch=policy_epoch, threshold=threshold, members=len(self.nodes)),
            data_card=ZERO_HASH if card is None else keccak(card),
            result_keys=policy_keys,
            notice_key=None if notice_key is None else HexBytes(notice_key),
            serving=self.serving,
        )
        committee = [(node.signer, node.hpke.public) for node in self.nodes]
        dealing = Dealing(
            chain_id=CHAIN_ID,
            registry=REGISTRY,
            asset_id=asset_id,
            asset_version=version,
            content_root=made.content_root,
            policy_hash=policy.digest(),
            epoch=1,
        )
        dealt, sealed_shares = deal(key, 2, committee, dealing)
        share_set = mangle(dealt) if callable(mangle) else dealt
        sealed = Seal(
            content_root=made.content_root,
            content_version=1,
            share_root=share_set.root,
            policy_hash=policy.digest(),
            epoch=1,
        )
        owner = Address(bytes([0xA0 + place]) * 20)
        use = samples.asset_use(
            asset_id=asset_id, owner=owner, version=version, seal_hash=sealed.hash(), price=self.price
        )
        return SealedAsset(use, sealed, policy, share_set, dealt, sealed_shares, sink.getvalue(), card)

    def release(
        self,
        node: int,
        evidence_hash: Bytes32,
        enclave_key: bytes,
        /,
        *,
        spoil: int | None = None,
        job_of: bytes | None = None,
        **changes: object,
    ) -> Release:
        """What a node hands over. ``spoil`` names an asset whose share it falsifies; ``changes`` edit the context."""
        member = self.nodes[node]
        job_id = JobId(Bytes32(job_of)) if job_of else self.spec.job_id(CHAIN_ID, MARKET)
        enclave = PublicKey(enclave_key)
        shares = []
        once = {asset.use.asset_id: (place, asset) for place, asset in reversed(list(enumerate(self.assets)))}
        for place, asset in sorted(once.values(), key=lambda pair: pair[0]):
            share = open_share(member.hpke, asset.dealt, node + 1, asset.sealed_shares[node])
            if spoil == place:
                share = replace(share, value=secrets.token_bytes(32))
            info = ReleaseInfo(
                chain_id=CHAIN_ID,
                market=MARKET,
                job_id=job_id,
                asset_id=asset.use.asset_id,
                asset_version=asset.use.version,
                evidence_hash=evidence_hash,
                terms_digest=terms_digest(self.spec.assets, [one.seal for one in self.assets]),
                epoch=1,
                index=node + 1,
                enclave_key=enclave.digest,
            )
            info = msgspec.structs.replace(info, **changes)
            sealed = HexBytes(release_share(share, enclave, info))
            shares.append(ReleasedShare(asset_id=asset.use.asset_id, sealed=sealed))
        sent = release_hash(job_id, evidence_hash, node, tuple(shares))
        return Release(
            job_id=job_id,
            evidence_hash=evidence_hash,
            index=node,
            shares=tuple(shares),
            signature=sign(personal_digest(sent), member.signing),
        )


def make_nodes(count: int) -> tuple[Node, ...]:
    return tuple(Node(coincurve.PrivateKey(bytes([0x41 + i]) * 32), PrivateKey.generate()) for i in range(count))


def write_workload(
    bundle: Path, wheels: Path, environment: Path, *, manifest: str = MANIFEST, code: str = CODE
) -> Bytes32:
    """A locked bundle with one wheel, and the wheel installed."""
    (bundle / "code").mkdir(parents=True)
    (bundle / "workload.toml").write_text(manifest)
    (bundle / "code" / "count.py").write_text(code)
    wheels.mkdir()
    wheel = wheels / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny/__init__.py", "WORD = 'locked'\n")
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    lock = f"tiny==1.0 --hash=sha256:{digest}\n"
    (bundle / "requirements.lock").write_text(lock)
    document: Environment = build(lock.encode(), [wheel])
    (bundle / "environment.json").write_bytes(document.canonical())
    install(document, wheels, environment)
    return read_bundle(bundle).digest


STEP_MANIFEST = """\
schema = 1
name = "{name}"
version = "1.0.0"
summary = "A step."
entry_point = "step:run"

[[inputs]]
name = "data"
media_type = "application/octet-stream"

[[parameters]]
name = "table"
type = "boolean"
default = false

[[outputs]]
name = "report.json"
media_type = "application/json"
max_bytes = 4096

[[outputs]]
name = "table.arrow"
media_type = "application/vnd.apache.arrow.stream"
max_bytes = 1048576

[[outputs]]
name = "verdict.json"
media_type = "application/json"
max_bytes = 4096

[limits]
cpu_seconds = 20
wall_seconds = 20
memory_bytes = 1073741824
"""


WITHHOLDING = """\
[[parameters]]
name = "withheld_permille"
type = "integer"
default = 0

[[parameters]]
name = "withheld_secret"
type = "string"
default = ""

[[outputs]]
name = "withheld.arrow"
media_type = "application/vnd.apache.arrow.stream"
max_bytes = 1048576

"""
"""What a reader that can withhold rows declares."""


def write_step(
    folder: Path, name: str, code: str = "def run(inputs, parameters):\n    return {}\n", *, more: str = ""
) -> StepBundle:
    """A step of the standard library alone, in a new folder. ``more`` of its manifest, in TOML."""
    bundle, environment = folder / "bundle", folder / "environment"
    (bundle / "code").mkdir(parents=True)
    manifest = STEP_MANIFEST.format(name=name).replace("[[outputs]]", more + "[[outputs]]", 1)
    (bundle / "workload.toml").write_text(manifest)
    (bundle / "code" / "step.py").write_text(code)
    (bundle / "requirements.lock").write_text("")
    (bundle / "environment.json").write_bytes(build(b"", []).canonical())
    environment.mkdir()
    read = read_bundle(bundle)
    return StepBundle(read.digest, pack(read), environment)


def _terms() -> Terms:
    return Terms(
        token=ZERO_ADDRESS,
        price=Wei(100),
        expiry=2_000_000_000,
        max_uses=10,
        purposes=1,
        min_grade=Grade.SIMULATED,
        budget=MicroEpsilon(0),
        per_job_cap=MicroEpsilon(0),
        allow_root=Bytes32(b"\x09" * 32),
        consumer_root=ZERO_HASH,
        max_hold=30 * 86_400,
        timeout_share=100,
    )
