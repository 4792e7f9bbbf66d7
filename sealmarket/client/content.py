"""An owner's data against the data card that its policy binds, before a byte of it is sealed."""

from __future__ import annotations

from pathlib import Path

from sealmarket_enclave.protocol.card import promised
from sealmarket_enclave.workload.bundle import Bundle


def hold_content(source: Path | bytes, card: bytes, folder: Path | None = None) -> Bundle | None:
    """Run the reader that a card names over the data; returns its bundle, or None for a card that promises nothing.

    ``folder`` holds the reader; without it, it is one that comes with Sealmarket.

    Raises:
        CardRefused, MalformedDocument: a card with a version that breaks a rule of cards.
        ContentUnfit, ReaderFailed: the data is not as promised, or exhausts the reader.
        StepUnknown, DigestMismatch: the reader is not here.
    """
    promise = promised(card)
    if promise is None or promise.reader is None:
        return None
    from sealmarket.workloads.cache import WorkloadCache
    from sealmarket.workloads.reading import hold
    from sealmarket.workloads.steps import named

    step = named(promise.reader.digest, WorkloadCache.of_user(), folder)
    hold(source, promise, step)
    return step.bundle
