"""What an oracle node reads from a store: the same for the real one and for its twin in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.job import Parameters
from sealmarket_enclave.protocol.numbers import JobId

LargeKind = Literal["containers", "workloads"]
"""Blobs that are too large for a node to read. It asks whether they exist; the enclave reads and checks them."""


class NodeStore(Protocol):
    """The part of :class:`~sealmarket.store.blobs.Store` that a node uses.

    Every method raises :class:`~sealmarket.service.errors.ServiceError` when the store gives no usable answer, which
    is not the same as "not there".
    """

    def find_document(self, name: Bytes32) -> bytes | None:
        """A document by its Keccak-256; None when it is not there."""

    def find_leaves(self, root: Bytes32) -> frozenset[Bytes32] | None:
        """The leaves behind a Merkle root; None when they are not there."""

    def has(self, kind: LargeKind, name: Bytes32) -> bool:
        """Whether a container or workload is there."""

    def find_parameters(self, request_hash: Bytes32, digest: Bytes32) -> Parameters | None:
        """A request's parameters, held against their digest; None when they are not there."""

    def find_evidence(self, job_id: JobId, evidence_hash: Bytes32) -> bytes | None:
        """The sealed package of a job's evidence, unread and unchecked; None when it is not there."""

    def fetch_container(self, root: Bytes32, target: Path, *, most: int) -> None:
        """A container of at most ``most`` bytes into a file, verified whole without a key.

        Raises:
            ItemNotFound, ContentMismatch, AnswerTooLong.
        """

    def put_document(self, raw: bytes) -> Bytes32:
        """Store a document under its Keccak-256; returns that name."""
