"""The store and backend over HTTP. It is not trusted: every blob is held against its name before anybody sees it.

What it says of requests and jobs is for orientation; what matters is read from the chain.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import httpx
import msgspec

from sealmarket.client.errors import NotInStore, StoreLied, StoreRefused
from sealmarket.client.http import TRANSFER_PACE, Http
from sealmarket.protocol import merkle
from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.orders import Acknowledgement
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import (
    EvidenceEnvelope,
    JobView,
    LeafList,
    PostedResult,
    SignedAcknowledgement,
    SignedAssetOrder,
    SignedComputeOrder,
    SignedRequest,
)
from sealmarket_enclave.protocol.codec import (
    Address,
    Bytes32,
    HexBytes,
    Shape,
    canonical_json,
    from_builtins,
    parse_json,
)
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import Parameters, parameters_digest
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.sealed.container import ContainerReader
from sealmarket_enclave.sealed.errors import SealedError
from sealmarket_enclave.workload.bundle import Bundle, pack, unpack
from sealmarket_enclave.workload.errors import WorkloadError

MAX_DOCUMENT = 8 << 20
MAX_WORKLOAD = 64 << 20
MAX_CONTAINER = 64 << 30
_PIECE = 1 << 20


class RequestState(Shape, frozen=True, kw_only=True):
    """What the book says of a request; ``explanation`` is why it is not matched yet, a sentence for each reason."""

    state: str
    explanation: tuple[str, ...] = ()
    job_id: Bytes32 | None = None


class Store:
    """One store and backend."""

    def __init__(self, url: str, *, timeout: float = 30.0, transport: httpx.BaseTransport | None = None) -> None:
        self._http = Http(url, timeout=timeout, transport=transport)

    @property
    def url(self) -> str:
        """Where it is."""
        return self._http.base

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    # --- blobs ------------------------------------------------------------------------------------------------

    def put_document(self, raw: bytes) -> Bytes32:
        """Keep a document under Keccak-256 of its bytes; returns that name."""
        name = keccak(raw)
        self._http.send("PUT", f"/v1/documents/{name}", raw, what="document")
        return name

    def document(self, name: Bytes32) -> bytes:
        """A document by name. Raises :class:`NotInStore`, and :class:`StoreLied` for other bytes."""
        raw = self._http.get(f"/v1/documents/{name}", what="document", limit=MAX_DOCUMENT)
        if (found := keccak(raw)) != name:
            raise StoreLied("document", name, found)
        return raw

    def find_document(self, name: Bytes32) -> bytes | None:
        """A document by name, or None when the store has none."""
        try:
            return self.document(name)
        except NotInStore:
            return None

    def put_container(self, root: Bytes32, path: Path) -> None:
        """Keep a sealed container, streamed from a file, under its content root."""
        with path.open("rb") as file:
            pieces = iter(lambda: file.read(_PIECE), b"")
            self._http.send("PUT", f"/v1/containers/{root}", pieces, what="container")

    def put_container_bytes(self, root: Bytes32, container: bytes) -> None:
        """As :meth:`put_container`, from memory."""
        self._http.send("PUT", f"/v1/containers/{root}", container, what="container")

    def fetch_container(self, root: Bytes32, target: Path) -> None:
        """Fetch a container to a file, and verify all of it without a key; the file appears only when it is right.

        Raises:
            NotInStore, StoreLied.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".incoming-")
        partial = Path(name)
        try:
            with os.fdopen(handle, "w+b") as file:
                for piece in self._container(root):
                    file.write(piece)
                file.flush()
                file.seek(0)
                try:
                    ContainerReader(file, root).verify()
                except SealedError as error:
                    raise StoreLied("container", root, error.message) from error
            partial.rename(target)
        finally:
            partial.unlink(missing_ok=True)

    def container(self, root: Bytes32, *, limit: int = 1 << 30) -> bytes:
        """A container in memory, at most ``limit`` bytes; the caller opens it, which verifies it."""
        return self._http.get(f"/v1/containers/{root}", what="container", limit=limit, pace=TRANSFER_PACE)

    def _container(self, root: Bytes32) -> Iterator[bytes]:
        return self._http.stream(f"/v1/containers/{root}", what="container", limit=MAX_CONTAINER)

    def put_workload(self, bundle: Bundle) -> Bytes32:
        """Keep a workload's archive under its digest; returns that digest."""
        self._http.send("PUT", f"/v1/workloads/{bundle.digest}", pack(bundle), what="workload")
        return bundle.digest

    def workload(self, digest: Bytes32) -> Bundle:
        """A workload by digest, measured again. Raises :class:`NotInStore`, :class:`StoreLied`."""
        raw = self._http.get(f"/v1/workloads/{digest}", what="workload", limit=MAX_WORKLOAD, pace=TRANSFER_PACE)
        try:
            bundle = unpack(raw)
        except (WorkloadError, MalformedDocument) as error:
            raise StoreLied("workload", digest, error.message) from error
        if bundle.digest != digest:
            raise StoreLied("workload", digest, bundle.digest)
        return bundle

    def put_list(self, leaves: Iterable[Bytes32]) -> Bytes32:
        """Keep the leaves behind a Merkle root on chain, for the oracle nodes to find; returns the root."""
        listed = LeafList(leaves=tuple(sorted(set(leaves))))
        root = merkle.root(listed.leaves)
        self._http.send("PUT", f"/v1/lists/{root}", listed, what="list of leaves")
        return root

    # --- orders -----------------------------------------------------------------------------------------------

    def post_request(self, signed: SignedRequest) -> None:
        """Put a request into the book."""
        self._http.send("POST", "/v1/requests", signed, what="request")

    def request(self, request_hash: Bytes32) -> RequestState:
        """What the book says of a request."""
        return self._http.read(f"/v1/requests/{request_hash}", RequestState, what="request")

    def post_compute_order(self, signed: SignedComputeOrder) -> None:
        """Put a compute order into the book."""
        self._http.send("POST", "/v1/compute-orders", signed, what="compute order")

    def compute_orders(self) -> tuple[SignedComputeOrder, ...]:
        """The compute orders that are open."""
        return self._http.read("/v1/compute-orders", tuple[SignedComputeOrder, ...], what="compute orders")

    def post_asset_order(self, signed: SignedAssetOrder) -> None:
        """Put an asset order into the book."""
        self._http.send("POST", "/v1/asset-orders", signed, what="asset order")

    def post_parameters(self, request_hash: Bytes32, parameters: Parameters) -> None:
        """Put a request's parameters beside it. They are not secret."""
        self._http.send("POST", f"/v1/parameters/{request_hash}", parameters, what="parameters")

    def parameters(self, request_hash: Bytes32, digest: Bytes32) -> Parameters:
        """A request's parameters. Raises :class:`StoreLied` when they are not those that were signed."""
        found = self._http.read(f"/v1/parameters/{request_hash}", Parameters, what="parameters")
        if (actual := digest_of(found)) != digest:
            raise StoreLied("parameters", digest, actual)
        return found

    # --- jobs -------------------------------------------------------------------------------------------------

    def jobs(
        self, *, provider: Address | None = None, consumer: Address | None = None, status: Status | None = None
    ) -> tuple[JobView, ...]:
        """Jobs as the backend sees them, newest first."""
        wanted: Mapping[str, object | None] = {
            "provider": provider,
            "consumer": consumer,
            "status": status.name.lower() if status is not None else None,
        }
        query = httpx.QueryParams({name: str(value) for name, value in wanted.items() if value is not None})
        return self._http.read(f"/v1/jobs?{query}", tuple[JobView, ...], what="jobs")

    def job(self, job_id: JobId) -> JobView:
        """One job as the backend sees it."""
        return self._http.read(f"/v1/jobs/{job_id}", JobView, what="job")

    def post_evidence(self, envelope: EvidenceEnvelope) -> None:
        """Put sealed evidence beside a job."""
        self._http.send("POST", f"/v1/evidence/{envelope.job_id}", envelope, what="evidence")

    def evidence(self, job_id: JobId) -> tuple[EvidenceEnvelope, ...]:
        """The sealed evidence of a job; unchecked."""
        return self._http.read(f"/v1/evidence/{job_id}", tuple[EvidenceEnvelope, ...], what="evidence")

    def post_result(self, posted: PostedResult) -> None:
        """Hand in what the enclave signed."""
        self._http.send("POST", "/v1/results", posted, what="result")

    def result(self, job_id: JobId) -> PostedResult:
        """What the enclave signed for a job; unchecked."""
        return self._http.read(f"/v1/results/{job_id}", PostedResult, what="result")

    def post_acknowledgement(self, word: Acknowledgement, signature: bytes) -> None:
        """Hand in the consumer's word that the result arrived."""
        signed = SignedAcknowledgement(acknowledgement=word, signature=HexBytes(signature))
        self._http.send("POST", "/v1/acknowledgements", signed, what="acknowledgement")

    # --- the market -------------------------------------------------------------------------------------------

    def book(self) -> AddressBook:
        """The address book that this server works with. Never take it for true without comparing."""
        return self._http.read("/v1/book", AddressBook, what="address book")

    def assets(self) -> tuple[dict[str, object], ...]:
        """The assets that the backend has indexed, as it describes them; read the chain before relying on one."""
        raw = self._http.get("/v1/assets", what="assets")
        try:
            return from_builtins(tuple[dict[str, object], ...], parse_json(raw))
        except (msgspec.MsgspecError, MalformedDocument) as error:
            raise StoreRefused("assets", str(error), "the server speaks another version") from error


def digest_of(parameters: Parameters) -> Bytes32:
    """The salted digest that a request signs for its parameters."""
    return parameters_digest(parameters.salt, canonical_json(parameters.values))
