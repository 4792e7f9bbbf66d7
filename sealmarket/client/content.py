"""An owner's data against the data card that its policy binds, before a byte of it is sealed; validators and meter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import UNSET

from sealmarket.sealing.spool import Data
from sealmarket.store.interface import NodeStore
from sealmarket.workloads.errors import StepTooLarge
from sealmarket_enclave.protocol.card import promised
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.policy import PolicyDocument
from sealmarket_enclave.protocol.steps import MAXIMUM_METER, MAXIMUM_STEP
from sealmarket_enclave.workload.bundle import Bundle, pack

if TYPE_CHECKING:
    from sealmarket.workloads.steps import Kind


def hold_content(source: Data, card: bytes, folder: Path | None = None) -> Bundle | None:
    """Run the reader that a card names over the data; returns its bundle, or None for a card that promises nothing.

    ``source`` is left where it was. ``folder`` holds the reader; without it, it is one that comes with Sealmarket.

    Raises:
        CardRefused, MalformedDocument: a card with a version that breaks a rule of cards.
        ContentUnfit, ReaderFailed: the data is not as promised, or exhausts the reader.
        StepUnknown, StepTooLarge, DigestMismatch: the reader is not here, or larger than an enclave takes.
    """
    promise = promised(card)
    if promise is None or promise.reader is None:
        return None
    from sealmarket.workloads.cache import WorkloadCache
    from sealmarket.workloads.reading import hold
    from sealmarket.workloads.steps import named

    step = named(promise.reader.digest, WorkloadCache.of_user(), folder)
    _require_small(step.bundle)
    hold(source, promise, step)
    return step.bundle


def steps_to_store(policy: PolicyDocument, store: NodeStore, folders: Sequence[Path] = ()) -> Iterator[Bundle]:
    """The validators and the meter that a policy names and the store lacks: from ``folders``, or Sealmarket's own.

    Raises:
        StepUnknown, StepTooLarge: one that is not here, or larger than an enclave takes.
        FetchFailed: what it needs to be locked here cannot be had.
    """
    from sealmarket.workloads.cache import WorkloadCache
    from sealmarket.workloads.local_steps import StepShelf

    shelf = StepShelf(WorkloadCache.of_user(), tuple(folders))
    named: dict[Bytes32, Kind] = {check.digest: "validators" for check in policy.output.checks}
    if policy.serving is not UNSET and policy.serving.meter is not UNSET:
        named[policy.serving.meter] = "meters"
    for digest, kind in named.items():
        if not store.has("workloads", digest):
            bundle = shelf.find(digest, kind).bundle
            _require_small(bundle, MAXIMUM_METER if kind == "meters" else MAXIMUM_STEP)
            yield bundle


def _require_small(bundle: Bundle, most: int = MAXIMUM_STEP) -> None:
    if (size := len(pack(bundle))) > most:
        raise StepTooLarge(bundle.manifest.name, size, most)
