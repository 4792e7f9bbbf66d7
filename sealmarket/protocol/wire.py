"""What the applications send each other: the JSON shapes of the store, the nodes and the backend.

Blobs are content-addressed: documents under Keccak-256 of their bytes, sealed containers under their content root,
workloads under their digest; every reader checks what it gets. Evidence, decisions and releases are keyed by job.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType, field

from sealmarket.protocol.decisions import ChallengeAnswer, Decision, Stop
from sealmarket.protocol.orders import Acknowledgement, AssetOrder, ComputeOrder, Request
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, Shape, Uint
from sealmarket_enclave.protocol.job import Failure, JobSpec, Parameters, Settlement
from sealmarket_enclave.protocol.numbers import U8, U32, AssetId, Grade, JobId, Tee
from sealmarket_enclave.protocol.terms import Seal, Terms

Text = Annotated[str, Meta(max_length=4096)]
LogSize = Annotated[int, Meta(ge=0, le=(1 << 53) - 1)]
SIGNATURE_HEADER = "Sealmarket-Signature"
"""The provider's signature over the EIP-712 ``EvidenceSeal``, in hex, beside evidence that it hands to a node."""
SEALED_HEADER = "Sealmarket-Sealed-Hash"
"""The sealed hash that it signed: a node checks both before it reads the body."""


class LeafList(Shape, frozen=True, kw_only=True):
    """The leaves behind a Merkle root on chain: allowed pairs, or admitted consumers. Found by the root."""

    leaves: tuple[Bytes32, ...]


class DeviceReport(Shape, frozen=True, kw_only=True):
    """The report of one device beside a CPU, as the device wrote it, and its certificates in DER, leaf first."""

    tee: Tee
    report: HexBytes
    chain: Annotated[tuple[HexBytes, ...], Meta(max_length=8)]


class BoundDevices(Shape, frozen=True, kw_only=True):
    """Devices that a CPU TEE commits to: its binding quote, and what their vendor signed (manifests, OCSP answers)."""

    binding: HexBytes
    devices: Annotated[tuple[DeviceReport, ...], Meta(min_length=1, max_length=16)]
    documents: Annotated[tuple[HexBytes, ...], Meta(max_length=64)] = ()


class EvidencePackage(Shape, frozen=True, kw_only=True):
    """What a provider shows the oracle nodes. It identifies hardware, so it travels sealed to its readers' HPKE keys
    (:mod:`sealmarket.sealing.evidence`).

    ``collateral`` is what the platform's vendor signed, where the host carries it along (``QuoteCollateralV3`` JSON
    for Intel); nodes take it as bytes to be verified, never as trusted.

    ``missing`` names what the host could not get, or found false, before it quoted: containers, policies and share sets
    by their roots, workload, parameters and result key by their digests. Nodes never accept a job with an entry here,
    so a provider can quote whatever a request names, and is never held to what it was not given.

    ``manifest`` is what the workload's digest hashes (``DigestManifest``, canonical), empty where the host does not
    have the workload: nodes read the workload's limits in it, and nothing else of a workload. ``capability`` is the
    provider's capability document, empty where its order names none: a store could hide it from the nodes.

    ``devices`` are the GPUs beside the CPU, None where the machine has none. The binding quote commits to them; nodes
    look at them only under a policy that demands some.

    ``session_terms`` are the terms of a service (``SessionTerms``, canonical), whose hash the request signed; empty for
    every other kind of job.
    """

    version: Literal["sealmarket/evidence-package/1"] = "sealmarket/evidence-package/1"
    job_id: JobId
    tee: Tee
    quote: HexBytes
    collateral: str
    enclave_signer: Address
    enclave_key: HexBytes
    block_number: int
    block_hash: Bytes32
    missing: Annotated[tuple[Bytes32, ...], Meta(max_length=256)] = ()
    manifest: HexBytes = field(default_factory=HexBytes)
    capability: HexBytes = field(default_factory=HexBytes)
    devices: BoundDevices | None = None
    session_terms: HexBytes = field(default_factory=HexBytes)


class FindingNote(Shape, frozen=True, kw_only=True):
    """One rule that was not met, in words: for people; the signed bits carry the same reasons for contracts."""

    reason: str
    code: int
    subject: Text
    expected: Text
    found: Text
    remedy: Text


class LogHead(Shape, frozen=True, kw_only=True):
    """How far one node's audit log reaches: the journal's random name, how many entries, and the root over them."""

    journal: Bytes32
    size: LogSize
    root: Bytes32


CollateralSource = Literal["none", "host", "own"]
"""Whose collateral a node judged by: none, what the host showed, or its own, which was newer."""


class DecisionDetail(Shape, frozen=True, kw_only=True):
    """What one node saw: its own block, collateral and findings. Its Keccak-256 is ``Decision.detail``.

    ``collateral`` says whose collateral it judged by, ``collateral_digest`` which: Keccak-256 of its text, or of the
    revocation lists that the node added. No identity of hardware is in here, since it is public. ``log`` is the node's
    audit log before this decision: the detail's hash goes on chain with the decision, which anchors the log there.
    ``evidence_content`` is the content hash of the sealed package that this node opened, absent where it opened none:
    nodes that were shown different packages say so. ``recalled_by`` are the hashes of the statements about platforms
    that name a machine of the job and count for it, absent where none does: audits look for their anchors.
    """

    version: Literal["sealmarket/decision-detail/1"] = "sealmarket/decision-detail/1"
    block_number: int
    block_hash: Bytes32
    tcb_status: str
    advisories: tuple[str, ...]
    collateral_digest: Bytes32
    findings: tuple[FindingNote, ...]
    warnings: tuple[FindingNote, ...]
    log: LogHead | None = None
    collateral: CollateralSource = "host"
    evidence_content: Bytes32 | UnsetType = UNSET
    recalled_by: tuple[Bytes32, ...] | UnsetType = UNSET


class SignedDecision(Shape, frozen=True, kw_only=True):
    """A node's decision, which any account may submit. ``index`` is the node's index in its committee."""

    decision: Decision
    index: U8
    signature: HexBytes
    detail: DecisionDetail


class SignedStop(Shape, frozen=True, kw_only=True):
    """A node's promise that it has not released and never will."""

    stop: Stop
    index: U8
    signature: HexBytes
    findings: tuple[FindingNote, ...]


class SignedChallengeAnswer(Shape, frozen=True, kw_only=True):
    """A node's statement on a challenged result; ``index`` is the node's index in its committee."""

    answer: ChallengeAnswer
    index: U8
    signature: HexBytes


class ChallengeStatus(Shape, frozen=True, kw_only=True):
    """What a node says of a challenged result: ``waiting`` with a reason, or its signed answer.

    A node that answers "available" serves the bytes: the envelope as the document of the result's hash, and the
    container.
    """

    job_id: JobId
    state: Literal["none", "waiting", "answered"]
    reason: Text
    answer: SignedChallengeAnswer | None = None


class NodeStatus(Shape, frozen=True, kw_only=True):
    """What a node says of one job: ``waiting`` with a reason, or what it decided and did.

    ``release`` are the bytes that the node wrote down before it served them
    (:func:`~sealmarket_enclave.protocol.release.read_release`). No party between node and enclave spells them anew.
    """

    job_id: JobId
    state: Literal["unknown", "waiting", "decided", "released", "stopped"]
    reason: Text
    decision: SignedDecision | None = None
    stop: SignedStop | None = None
    release: HexBytes | None = None


class NodeInfo(Shape, frozen=True, kw_only=True):
    """Who a node is."""

    signer: Address
    hpke_public_key: HexBytes
    chain_id: int
    market: Address
    grade_floor: Grade


class SignedRequest(Shape, frozen=True, kw_only=True):
    """A request in the order book. ``payer_signature`` is empty when the consumer pays."""

    request: Request
    signature: HexBytes
    payer_signature: HexBytes = field(default_factory=HexBytes)


class PostedRequest(Shape, frozen=True, kw_only=True):
    """A request on its way into the order book, in one body with the parameters whose digest it signs."""

    request: SignedRequest
    parameters: Parameters


class SignedComputeOrder(Shape, frozen=True, kw_only=True):
    """A compute order in the order book."""

    order: ComputeOrder
    signature: HexBytes


class SignedAssetOrder(Shape, frozen=True, kw_only=True):
    """An asset order in the order book."""

    order: AssetOrder
    signature: HexBytes


class SignedAcknowledgement(Shape, frozen=True, kw_only=True):
    """The consumer's statement that they hold the result; it pays the provider at once."""

    acknowledgement: Acknowledgement
    signature: HexBytes


class PostedResult(Shape, frozen=True, kw_only=True):
    """What a provider posts at the end: the enclave's signed statement, the receipt and where the ciphertext is.

    ``result`` names the sealed container in the store; None when the enclave signed a failure.
    """

    version: Literal["sealmarket/posted-result/1"] = "sealmarket/posted-result/1"
    job_id: JobId
    enclave_signer: Address
    settlement: Settlement | None = None
    failure: Failure | None = None
    signature: HexBytes
    receipt: Bytes32
    result: Bytes32 | None = None


class JobEvent(Shape, frozen=True, kw_only=True):
    """One thing that the chain says about a job."""

    name: str
    block_number: int
    transaction: Bytes32
    timestamp: int


class InterruptionView(Shape, frozen=True, kw_only=True):
    """What interrupted an accepted job: a stop, or missing shares.

    ``excluded`` are the nodes that the enclave names, ``posted`` those whose release is on chain. Deadlines in seconds,
    0 unless shares were reported missing.
    """

    stopped: bool = False
    excluded: tuple[U8, ...] = ()
    posted: tuple[U8, ...] = ()
    shares_deadline: int = 0
    settle_deadline: int = 0


class JobView(Shape, frozen=True, kw_only=True):
    """What the backend shows of a job. ``waiting_for`` says in words what has to happen next, and by whom."""

    job_id: JobId
    request_hash: Bytes32
    status: str
    deadline: int
    spec: JobSpec
    evidence_hash: Bytes32 | None = None
    decision: Decision | None = None
    reasons: Uint = field(default_factory=Uint)
    result_hash: Bytes32 | None = None
    receipt: Bytes32 | None = None
    units: U32 = 0
    challenger: Address | None = None
    available: bool | None = None
    interruption: InterruptionView | None = None
    waiting_for: Text = ""
    history: tuple[JobEvent, ...] = ()


class AssetView(Shape, frozen=True, kw_only=True):
    """What the backend shows of one version of an asset: the chain's part, and what its owner's documents say.

    ``title`` is the policy's; ``kind``, ``columns`` and ``purposes`` are the data card's, empty where it names none.
    """

    asset_id: AssetId
    version: U32
    owner: Address
    seal: Seal
    terms: Terms
    terms_version: U32
    revoked: bool
    suspended: bool
    title: Text = ""
    kind: Text = ""
    columns: tuple[Text, ...] = ()
    purposes: tuple[Text, ...] = ()
