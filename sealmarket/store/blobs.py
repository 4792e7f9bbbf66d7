"""The blob store over HTTP, for clients, oracle nodes and workers alike.

A blob is compared with its name before the caller gets it. What parties post about a job (parameters, evidence,
results) is found by the job or request, and comes as it was posted: its reader checks it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import httpx

from sealmarket.protocol import merkle
from sealmarket.protocol.limits import MAXIMUM_PACKAGE, MAXIMUM_PARAMETERS
from sealmarket.protocol.wire import LeafList, PostedResult
from sealmarket.sealing.evidence import SealedEvidence
from sealmarket.service.connection import TIMEOUT_SECONDS, TRANSFER_PACE, Connection
from sealmarket.service.errors import ContentMismatch, ItemNotFound
from sealmarket.store.download import download
from sealmarket.store.interface import LargeKind
from sealmarket.store.source import MAX_CONTAINER, HttpSource
from sealmarket.store.upload import upload
from sealmarket_enclave.protocol.codec import Bytes32, canonical_json
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import Parameters, parameters_digest
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.workload.bundle import Bundle, pack, unpack
from sealmarket_enclave.workload.errors import WorkloadError

MAX_DOCUMENT = 8 << 20
MAX_WORKLOAD = 64 << 20
STORE = "store"
"""How errors name the service."""


class Store:
    """One store. ``timeout`` in seconds. Threads may share it.

    Every method may raise ServiceUnavailable and ServiceRefused; further errors are named beside each.
    """

    def __init__(
        self, url: str, *, timeout: float = TIMEOUT_SECONDS, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._http = Connection(url, service=STORE, timeout=timeout, transport=transport)

    @property
    def url(self) -> str:
        """The base URL."""
        return self._http.base

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # --- blobs ------------------------------------------------------------------------------------------------

    def put_document(self, raw: bytes) -> Bytes32:
        """Store a document under the Keccak-256 of its bytes; returns that name."""
        name = keccak(raw)
        self._http.send("PUT", f"/v1/documents/{name}", raw, what="document")
        return name

    def document(self, name: Bytes32) -> bytes:
        """A document by name. Raises :class:`ItemNotFound`, and :class:`ContentMismatch` for other bytes."""
        raw = self._http.get(f"/v1/documents/{name}", what="document", limit=MAX_DOCUMENT)
        if (found := keccak(raw)) != name:
            raise ContentMismatch(STORE, "document", name, found)
        return raw

    def find_document(self, name: Bytes32) -> bytes | None:
        """A document by name, or None when the store has none."""
        try:
            return self.document(name)
        except ItemNotFound:
            return None

    def put_container(self, root: Bytes32, path: Path) -> None:
        """Store a sealed container under its content root, streamed from a file; a torn upload goes on."""
        upload(self._http, root, path)

    def put_container_bytes(self, root: Bytes32, container: bytes) -> None:
        """As :meth:`put_container`, from memory."""
        self._http.send("PUT", f"/v1/containers/{root}", container, what="container")

    def fetch_container(self, root: Bytes32, target: Path, *, most: int = MAX_CONTAINER) -> None:
        """Fetch a container to a file, and verify all of it without a key; the file appears only when it verifies.

        Raises:
            ItemNotFound, ContentMismatch.
            AnswerTooLong: it has more than ``most`` bytes.
        """
        path = f"/v1/containers/{root}"
        download(HttpSource(self._http, path, f"{path}/leaves", most=most), root, target)

    def container(self, root: Bytes32, *, limit: int = 1 << 30) -> bytes:
        """A container in memory, at most ``limit`` bytes; the caller opens it, which verifies it."""
        return self._http.get(f"/v1/containers/{root}", what="container", limit=limit, pace=TRANSFER_PACE)

    def put_workload(self, bundle: Bundle) -> Bytes32:
        """Store a workload's archive under its digest; returns that digest."""
        self._http.send("PUT", f"/v1/workloads/{bundle.digest}", pack(bundle), what="workload")
        return bundle.digest

    def workload(self, digest: Bytes32, *, most: int = MAX_WORKLOAD) -> Bundle:
        """A workload by digest, measured again; its archive has at most ``most`` bytes.

        Raises:
            ItemNotFound, ContentMismatch.
            AnswerTooLong: it has more.
        """
        raw = self._http.get(f"/v1/workloads/{digest}", what="workload", limit=most, pace=TRANSFER_PACE)
        try:
            bundle = unpack(raw)
        except (WorkloadError, MalformedDocument) as error:
            raise ContentMismatch(STORE, "workload", digest, error.message) from error
        if bundle.digest != digest:
            raise ContentMismatch(STORE, "workload", digest, bundle.digest)
        return bundle

    def has(self, kind: LargeKind, name: Bytes32) -> bool:
        """Whether the store keeps a container or a workload, without reading it."""
        return self._http.has(f"/v1/{kind}/{name}", what=kind)

    def put_list(self, leaves: Iterable[Bytes32]) -> Bytes32:
        """Store the leaves behind a Merkle root on chain, for the oracle nodes to find; returns the root."""
        listed = LeafList(leaves=tuple(sorted(set(leaves))))
        root = merkle.root(listed.leaves)
        self._http.send("PUT", f"/v1/lists/{root}", listed, what="list of leaves")
        return root

    def find_leaves(self, root: Bytes32) -> frozenset[Bytes32] | None:
        """The leaves behind a Merkle root on chain; None when the store has none.

        Raises:
            ContentMismatch: a list of another root.
        """
        try:
            leaves = self._http.read(f"/v1/lists/{root}", LeafList, what="list of leaves").leaves
        except ItemNotFound:
            return None
        if (found := merkle.root(leaves)) != root:
            raise ContentMismatch(STORE, "list of leaves", root, found)
        return frozenset(leaves)

    # --- what the parties of a job post ----------------------------------------------------------------------

    def post_parameters(self, request_hash: Bytes32, parameters: Parameters) -> None:
        """Put a request's parameters beside it. They are not secret."""
        self._http.send("POST", f"/v1/parameters/{request_hash}", parameters, what="parameters")

    def parameters(self, request_hash: Bytes32, digest: Bytes32) -> Parameters:
        """A request's parameters.

        Raises:
            ItemNotFound: they were not posted.
            AnswerTooLong: they have more than ``MAXIMUM_PARAMETERS`` bytes.
            ContentMismatch: they are not those that the consumer signed.
        """
        found = self._http.read(
            f"/v1/parameters/{request_hash}", Parameters, what="parameters", limit=MAXIMUM_PARAMETERS
        )
        if (actual := digest_of(found)) != digest:
            raise ContentMismatch(STORE, "parameters", digest, actual)
        return found

    def find_parameters(self, request_hash: Bytes32, digest: Bytes32) -> Parameters | None:
        """A request's parameters, or None when they were not posted. Raises as :meth:`parameters`, but for that."""
        try:
            return self.parameters(request_hash, digest)
        except ItemNotFound:
            return None

    def put_evidence(self, sealed: SealedEvidence) -> None:
        """Put a sealed evidence package beside its job; a later one under the same evidence hash replaces it."""
        self._http.send("PUT", _evidence(sealed.job_id, sealed.evidence_hash), sealed.raw, what="evidence")

    def find_evidence(self, job_id: JobId, evidence_hash: Bytes32) -> bytes | None:
        """The sealed package of a job's evidence, unread and unchecked; None when the store has none.

        Raises:
            AnswerTooLong: it has more than ``MAXIMUM_PACKAGE`` bytes.
        """
        try:
            return self._http.get(_evidence(job_id, evidence_hash), what="evidence", limit=MAXIMUM_PACKAGE)
        except ItemNotFound:
            return None

    def post_result(self, posted: PostedResult) -> None:
        """Post the settlement or failure that the enclave signed."""
        self._http.send("POST", "/v1/results", posted, what="result")

    def result(self, job_id: JobId) -> PostedResult:
        """The settlement or failure that the enclave signed for a job; unchecked."""
        return self._http.read(f"/v1/results/{job_id}", PostedResult, what="result")


def _evidence(job_id: JobId, evidence_hash: Bytes32) -> str:
    return f"/v1/evidence/{job_id}/{evidence_hash}"


def digest_of(parameters: Parameters) -> Bytes32:
    """The salted digest that a request signs for its parameters."""
    return parameters_digest(parameters.salt, canonical_json(parameters.values))
