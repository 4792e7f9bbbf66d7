"""The store as a node reads it: untrusted, slow or silent. Everything is bounded, and held against its name.

"It is not there" (HTTP 404) is an answer, on which a refusal may rest after long enough. No answer is none: it defers.
"""

from __future__ import annotations

import logging
from typing import Literal, Protocol

import httpx

from sealmarket.http import AnswerTooLarge, HttpClient, HttpError
from sealmarket.protocol.merkle import root as merkle_root
from sealmarket.protocol.wire import EvidenceEnvelope, LeafList
from sealmarket_enclave.protocol.codec import Bytes32, canonical_json, decode
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import Parameters, parameters_digest
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_oracle.errors import StoreUnavailable

_log = logging.getLogger("sealmarket.oracle")

MAXIMUM_DOCUMENT = 8 << 20
MAXIMUM_EVIDENCE = 32 << 20
REQUEST_SECONDS = 10.0
"""For a whole request: the store holds the thread that decides no longer than this."""

BlobKind = Literal["containers", "workloads"]
"""What is too large for a node to read. The store is asked whether it has it; the enclave reads and checks it."""


class Store(Protocol):
    """What a node needs of a store. Every method raises :class:`StoreUnavailable` when there is no answer."""

    def document(self, name: Bytes32) -> bytes | None:
        """The document with this Keccak-256, None when the store has none."""

    def evidence(self, job_id: JobId) -> tuple[EvidenceEnvelope, ...]:
        """Everything posted as evidence for a job."""

    def leaves(self, root: Bytes32) -> frozenset[Bytes32] | None:
        """The leaves of a Merkle root, None when the store has no such list."""

    def has(self, kind: BlobKind, name: Bytes32) -> bool:
        """Whether the store says that it has a blob; unlike all else here that is its word alone."""

    def has_parameters(self, request_hash: Bytes32, digest: Bytes32) -> bool:
        """Whether the store has the parameters of a request, with the digest that was signed."""

    def keep(self, document: bytes) -> None:
        """Put a document where others find it."""


class HttpStore:
    """A store by its base URL."""

    def __init__(
        self, url: str, *, seconds: float = REQUEST_SECONDS, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._url = url.rstrip("/")
        self._http = HttpClient(seconds=seconds, base=self._url, transport=transport)

    def document(self, name: Bytes32) -> bytes | None:
        """As :meth:`Store.document`; bytes of another hash count as no answer."""
        raw = self._get(f"/v1/documents/{name}", MAXIMUM_DOCUMENT)
        if raw is not None and keccak(raw) != name:
            raise StoreUnavailable(f"the store sent {keccak(raw)} for document {name}", remedy="ask another store")
        return raw

    def evidence(self, job_id: JobId) -> tuple[EvidenceEnvelope, ...]:
        """As :meth:`Store.evidence`. A list that is too long counts as empty: it grows by its provider's hand alone."""
        path = f"/v1/evidence/{job_id}"
        try:
            raw = self._fetch(path, MAXIMUM_EVIDENCE)
        except AnswerTooLarge as error:
            _log.warning("job %s: its evidence counts as withheld: %s", job_id, error.message)
            return ()
        except HttpError as error:
            raise _no_answer(path, error) from error
        if raw is None:
            return ()
        try:
            return decode(tuple[EvidenceEnvelope, ...], raw)
        except MalformedDocument as error:
            raise StoreUnavailable(f"the store's evidence list for {job_id} is malformed: {error.message}") from error

    def leaves(self, root: Bytes32) -> frozenset[Bytes32] | None:
        """As :meth:`Store.leaves`; a list of another root counts as no answer."""
        raw = self._get(f"/v1/lists/{root}", MAXIMUM_DOCUMENT)
        if raw is None:
            return None
        try:
            found = decode(LeafList, raw).leaves
        except MalformedDocument as error:
            raise StoreUnavailable(f"the store's list for {root} is malformed: {error.message}") from error
        if merkle_root(found) != root:
            raise StoreUnavailable(f"the store sent a list with root {merkle_root(found)} for {root}")
        return frozenset(found)

    def has(self, kind: BlobKind, name: Bytes32) -> bool:
        """As :meth:`Store.has`, by a HEAD."""
        path = f"/v1/{kind}/{name}"
        try:
            with self._http.ask("HEAD", self._url + path, limit=0) as answer:
                status = answer.status
        except HttpError as error:
            raise _no_answer(path, error) from error
        if status not in (200, 404):
            raise StoreUnavailable(f"the store answers {path} with HTTP {status}")
        return status == 200

    def has_parameters(self, request_hash: Bytes32, digest: Bytes32) -> bool:
        """As :meth:`Store.has_parameters`; parameters of another digest count as no answer."""
        raw = self._get(f"/v1/parameters/{request_hash}", MAXIMUM_DOCUMENT)
        if raw is None:
            return False
        try:
            document = decode(Parameters, raw)
        except MalformedDocument as error:
            raise StoreUnavailable(
                f"the store's parameters for {request_hash} are malformed: {error.message}"
            ) from error
        found = parameters_digest(document.salt, canonical_json(document.values))
        if found != digest:
            raise StoreUnavailable(f"the store sent parameters {found} for {digest}", remedy="ask another store")
        return True

    def keep(self, document: bytes) -> None:
        """As :meth:`Store.keep`."""
        url = f"{self._url}/v1/documents/{keccak(document)}"
        try:
            with self._http.ask("PUT", url, limit=0, content=document) as answer:
                taken, status = answer.is_success, answer.status
        except HttpError as error:
            raise StoreUnavailable(f"the store does not take documents: {error.message}") from error
        if not taken:
            raise StoreUnavailable(f"the store answers a document with HTTP {status}")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _get(self, path: str, limit: int) -> bytes | None:
        try:
            return self._fetch(path, limit)
        except HttpError as error:
            raise _no_answer(path, error) from error

    def _fetch(self, path: str, limit: int) -> bytes | None:
        with self._http.ask("GET", self._url + path, limit=limit) as answer:
            if answer.status == 404:
                return None
            if answer.status != 200:
                raise StoreUnavailable(f"the store answers {path} with HTTP {answer.status}")
            return answer.body()


def _no_answer(path: str, error: HttpError) -> StoreUnavailable:
    return StoreUnavailable(f"the store does not answer {path}: {error.message}", remedy="it is asked again")


class MemoryStore:
    """The twin in memory, for tests: :meth:`fall_silent` makes it give no answer."""

    def __init__(self) -> None:
        self.documents: dict[Bytes32, bytes] = {}
        self.envelopes: dict[JobId, list[EvidenceEnvelope]] = {}
        self.lists: dict[Bytes32, frozenset[Bytes32]] = {}
        self.blobs: set[tuple[BlobKind, Bytes32]] = set()
        self.parameters: dict[Bytes32, Bytes32] = {}
        self._silent = False

    def fall_silent(self, silent: bool = True) -> None:
        """From now on raise :class:`StoreUnavailable`, or answer again."""
        self._silent = silent

    def document(self, name: Bytes32) -> bytes | None:
        """As :meth:`Store.document`."""
        self._answer()
        return self.documents.get(name)

    def evidence(self, job_id: JobId) -> tuple[EvidenceEnvelope, ...]:
        """As :meth:`Store.evidence`."""
        self._answer()
        return tuple(self.envelopes.get(job_id, ()))

    def leaves(self, root: Bytes32) -> frozenset[Bytes32] | None:
        """As :meth:`Store.leaves`."""
        self._answer()
        return self.lists.get(root)

    def has(self, kind: BlobKind, name: Bytes32) -> bool:
        """As :meth:`Store.has`."""
        self._answer()
        return (kind, name) in self.blobs

    def has_parameters(self, request_hash: Bytes32, digest: Bytes32) -> bool:
        """As :meth:`Store.has_parameters`."""
        self._answer()
        return self.parameters.get(request_hash) == digest

    def keep(self, document: bytes) -> None:
        """As :meth:`Store.keep`."""
        self._answer()
        self.documents[keccak(document)] = document

    def _answer(self) -> None:
        if self._silent:
            raise StoreUnavailable("the twin was told to fall silent")
