"""What an oracle node foresees of the platforms that quoted for jobs: which it will refuse, and from when.

It is one node's statement, by the collateral that it keeps and the strict built-in rules; an owner may allow more or
less. It names no machine: a provider knows which of its machines ran a job, and no other party does.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from sealmarket_enclave.protocol.codec import Address, Shape
from sealmarket_enclave.protocol.numbers import JobId, Timestamp

MOST_FORESEEN, MOST_OF_PROVIDER = 1_000, 16
AHEAD_SECONDS = 7 * 86_400
"""How long before collateral lapses a node says so, and how long after it."""
Word = Annotated[str, Meta(max_length=64, pattern="^[A-Za-z0-9_ ]*$")]


class Foreseen(Shape, frozen=True, kw_only=True):
    """One platform whose quotes are refused from ``until`` on, in seconds since 1970.

    ``job_id`` is the last job that it quoted for. ``kind`` says why: ``rating``, the vendor's newer collateral rates it
    as ``status`` and counts from then on; ``lapse``, the collateral that it showed ends, and it has to show newer.
    ``reasons`` are those of the refusal.
    """

    provider: Address
    job_id: JobId
    tee: Word
    kind: Literal["rating", "lapse"]
    until: Timestamp
    status: Word = ""
    reasons: Annotated[tuple[Word, ...], Meta(max_length=32)] = ()


class Forecasts(Shape, frozen=True, kw_only=True):
    """All that a node foresees, the soonest first, a bounded number of each provider."""

    version: str = "sealmarket/outlook/1"
    items: Annotated[tuple[Foreseen, ...], Meta(max_length=MOST_FORESEEN)] = ()
