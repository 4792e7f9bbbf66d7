"""What the market's API answers: where an order stands, and pages of lists.

A page has some ``items``, and says where the following one goes on.

``next`` is opaque: a reader sends it back as ``cursor``, with the same filters; None at the end. What was there when
the first page was read, and still is, comes exactly once, whatever comes or goes meanwhile.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from sealmarket.protocol.proposals import Proposal, SignedAnswer
from sealmarket.protocol.services import SignedServiceAddress
from sealmarket.protocol.wire import AssetView, JobView, SignedAssetOrder, SignedComputeOrder, Text
from sealmarket_enclave.protocol.codec import Bytes32, Shape
from sealmarket_enclave.protocol.numbers import U32, Timestamp

LONGEST_CURSOR = 200
Cursor = Annotated[str, Meta(max_length=LONGEST_CURSOR)]
MOST_ORDERS = 500
"""On one page, as for each of these."""
MOST_JOBS = 200
MOST_ASSETS = 100
MOST_SERVICES = 100
MOST_PROPOSALS = 32
MOST_ANSWERS = 100
MOST_WARNINGS = 100
WARNS_AHEAD_SECONDS = 7 * 86_400
"""How long before something ends its account is warned of it."""


class RequestState(Shape, frozen=True, kw_only=True):
    """Where a request stands in the book: ``open``, ``matched``, ``cancelled`` or ``expired``.

    ``explanation`` says why it is not matched yet, a sentence for each reason.
    """

    state: str
    explanation: tuple[str, ...] = ()
    job_id: Bytes32 | None = None


class OrderState(Shape, frozen=True, kw_only=True):
    """Where an offer stands in the book: ``open``, ``filled``, ``cancelled`` or ``expired``.

    ``reason`` says why it cannot be matched, now or ever; empty where it can be.
    """

    state: str
    reason: str = ""


class Readiness(Shape, frozen=True, kw_only=True):
    """Whether a backend can do its work, and what it looked at; null where that cannot be known."""

    ready: bool
    database: bool
    head_age_seconds: int | None
    index_lag_blocks: int | None
    keeper: bool
    leader: bool


class SubjectState(Shape, frozen=True, kw_only=True):
    """What an event of a stream says: a job, request or offer, and the state that it has now."""

    subject: Bytes32
    state: Annotated[str, Meta(max_length=40)]


class StreamReason(Shape, frozen=True, kw_only=True):
    """Why a stream ends, or begins anew."""

    reason: Text


class AcceptedRequest(Shape, frozen=True, kw_only=True):
    """A request is in the book, under the EIP-712 struct hash of what was signed."""

    request_hash: Bytes32


class AcceptedOrder(Shape, frozen=True, kw_only=True):
    """An offer is in the book, under the EIP-712 struct hash of what was signed."""

    order_hash: Bytes32


class AcceptedProposal(Shape, frozen=True, kw_only=True):
    """A proposal is kept, under the EIP-712 struct hash of what was signed."""

    proposal_hash: Bytes32


class Accepted(Shape, frozen=True, kw_only=True):
    """What was posted is kept."""


class ComputeOrderPage(Shape, frozen=True, kw_only=True):
    """Compute orders that can be matched, oldest first."""

    items: tuple[SignedComputeOrder, ...]
    next: Cursor | None = None


class AssetOrderPage(Shape, frozen=True, kw_only=True):
    """Open orders of one version of an asset, oldest first."""

    items: tuple[SignedAssetOrder, ...]
    next: Cursor | None = None


class JobPage(Shape, frozen=True, kw_only=True):
    """Jobs, newest first."""

    items: tuple[JobView, ...]
    next: Cursor | None = None


class TimeTaken(Shape, frozen=True, kw_only=True):
    """How long jobs took from their match to the settlement of their result, in seconds: so many jobs, the middle one,
    and what nine of ten took at most."""

    jobs: U32
    median: U32
    ninetieth: U32


class TimesTaken(Shape, frozen=True, kw_only=True):
    """Of jobs of one workload, of one provider, and of both together; null where none has settled."""

    workload: TimeTaken | None = None
    provider: TimeTaken | None = None
    both: TimeTaken | None = None


class AssetPage(Shape, frozen=True, kw_only=True):
    """Versions of assets that a search found, newest first. A page may hold less than asked for, and go on."""

    items: tuple[AssetView, ...]
    next: Cursor | None = None


class ServicePage(Shape, frozen=True, kw_only=True):
    """Services whose job is accepted, newest first, each with its address as its provider signed it."""

    items: Annotated[tuple[SignedServiceAddress, ...], Meta(max_length=MOST_SERVICES)]
    next: Cursor | None = None


class ProposalPage(Shape, frozen=True, kw_only=True):
    """Open proposals about an owner's assets, their senders by turns. Details are left out: a reader asks for each
    proposal by its hash."""

    items: Annotated[tuple[Proposal, ...], Meta(max_length=64)]
    next: Cursor | None = None


ExpiryKind = Literal["terms", "epoch", "request", "compute_offer", "asset_offer", "resting", "promise", "platform"]


class Expiry(Shape, frozen=True, kw_only=True):
    """What of an account's ends soon, or holds no more.

    ``subject`` is the asset, request, offer or capability document, or the last job of a platform; ``until`` when it
    ends in seconds, 0 where it holds no more already; ``version`` that of an asset, else 0.
    """

    kind: ExpiryKind
    subject: Bytes32
    version: U32 = 0
    until: Timestamp
    text: Text
    remedy: Text


class Warnings(Shape, frozen=True, kw_only=True):
    """What of one account's ends soon, the soonest first."""

    items: Annotated[tuple[Expiry, ...], Meta(max_length=MOST_WARNINGS)]


class AnswerPage(Shape, frozen=True, kw_only=True):
    """Owners' answers, newest first."""

    items: tuple[SignedAnswer, ...]
    next: Cursor | None = None
