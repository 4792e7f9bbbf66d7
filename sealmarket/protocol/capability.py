"""What a provider promises of its platform and enclave: a document in the store, named by its hash in compute orders.

Evidence that breaks the promise is the platform's fault. Evidence that keeps it and misses an owner's rule, and a
request beyond it, are the request's. Its readers are oracle nodes, consumers who choose, and backends that match.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta, field

from sealmarket_enclave.protocol.codec import Bytes32, Shape, Uint64
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import Positive32, Tee
from sealmarket_enclave.workload.manifest import Limits

_Name = Annotated[str, Meta(min_length=1, max_length=128)]


class Capability(Shape, frozen=True, kw_only=True):
    """The promise of one provider.

    ``measurements`` and ``min_tcb`` are spelled as in evidence rules, and read by ``sealmarket.attestation``: the
    ``measurements`` of an ``AppraisalPolicy``, and its ``VendorRules`` (None: no level is promised).
    ``platform_classes`` are names of kinds of machines, ``environments`` those of workload environments that the host
    has. ``memory_bytes`` and ``threads`` are what a workload gets, ``ciphertext_bytes`` the most that all inputs of a
    job have. ``extension`` holds what kinds of jobs other than batch add.
    """

    version: Literal["sealmarket/capability/1"] = "sealmarket/capability/1"
    tee: Tee
    measurements: Annotated[tuple[dict[str, Any], ...], Meta(min_length=1, max_length=64)]
    platform_classes: Annotated[tuple[_Name, ...], Meta(max_length=64)]
    min_tcb: dict[str, Any] | None = None
    memory_bytes: Uint64
    threads: Positive32
    environments: Annotated[tuple[_Name, ...], Meta(max_length=64)]
    ciphertext_bytes: Uint64
    extension: dict[str, Any] = field(default_factory=dict)

    def digest(self) -> Bytes32:
        """``capabilityHash``: Keccak-256 over the canonical document."""
        return keccak(self.canonical())


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What a workload needs beyond a promise, in words and as found."""

    promised: str
    needed: object


def shortfalls(promise: Capability, limits: Limits, environment: str) -> Iterator[Shortfall]:
    """What a workload with these limits needs beyond the promise. ``environment``: SHA-256 of its lock in hex."""
    for what, most, needed in (
        ("bytes of memory", promise.memory_bytes, limits.memory_bytes),
        ("threads", promise.threads, limits.threads),
    ):
        if needed > most:
            yield Shortfall(f"at most {most} {what}", needed)
    if promise.environments and environment not in promise.environments:
        yield Shortfall(f"one of {len(promise.environments)} promised environments", environment)
