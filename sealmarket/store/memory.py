"""The twin of a store in memory, for tests of oracle nodes: no server, and what it holds may contradict its name."""

from __future__ import annotations

from pathlib import Path

from sealmarket.service.errors import AnswerTooLong, ItemNotFound, ServiceUnavailable
from sealmarket.store.interface import LargeKind
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import Parameters
from sealmarket_enclave.protocol.numbers import JobId


class MemoryStore:
    """A :class:`~sealmarket.store.interface.NodeStore`. :meth:`fall_silent` makes it unavailable."""

    def __init__(self) -> None:
        self.documents: dict[Bytes32, bytes] = {}
        self.packages: dict[tuple[JobId, Bytes32], bytes] = {}
        self.lists: dict[Bytes32, frozenset[Bytes32]] = {}
        self.containers: dict[Bytes32, bytes] = {}
        self.blobs: set[tuple[LargeKind, Bytes32]] = set()
        self.parameters: dict[Bytes32, Bytes32] = {}
        self.values: dict[Bytes32, Parameters] = {}
        self._silent = False

    def fall_silent(self, silent: bool = True) -> None:
        """From now on raise :class:`ServiceUnavailable`, or answer again."""
        self._silent = silent

    def find_document(self, name: Bytes32) -> bytes | None:
        """As :meth:`NodeStore.find_document`."""
        self._answer()
        return self.documents.get(name)

    def find_leaves(self, root: Bytes32) -> frozenset[Bytes32] | None:
        """As :meth:`NodeStore.find_leaves`."""
        self._answer()
        return self.lists.get(root)

    def has(self, kind: LargeKind, name: Bytes32) -> bool:
        """As :meth:`NodeStore.has`."""
        self._answer()
        return (kind, name) in self.blobs

    def find_parameters(self, request_hash: Bytes32, digest: Bytes32) -> Parameters | None:
        """As :meth:`NodeStore.find_parameters`; those of ``values``, else empty ones."""
        self._answer()
        if self.parameters.get(request_hash) != digest:
            return None
        return self.values.get(request_hash, Parameters(salt=ZERO_HASH, values={}))

    def find_evidence(self, job_id: JobId, evidence_hash: Bytes32) -> bytes | None:
        """As :meth:`NodeStore.find_evidence`, of ``packages``."""
        self._answer()
        return self.packages.get((job_id, evidence_hash))

    def fetch_container(self, root: Bytes32, target: Path, *, most: int) -> None:
        """As :meth:`NodeStore.fetch_container`, of ``containers``; bytes there count as verified."""
        self._answer()
        if root not in self.containers:
            raise ItemNotFound("store", "container", str(root))
        if len(self.containers[root]) > most:
            raise AnswerTooLong("store", "container", most)
        target.write_bytes(self.containers[root])

    def put_document(self, raw: bytes) -> Bytes32:
        """As :meth:`NodeStore.put_document`."""
        self._answer()
        name = keccak(raw)
        self.documents[name] = raw
        return name

    def _answer(self) -> None:
        if self._silent:
            raise ServiceUnavailable("store", "memory", "the twin was made to fall silent")
