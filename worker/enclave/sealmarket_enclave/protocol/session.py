"""Sessions: what wallets, session keys, oracle nodes and the enclave of a service sign (docs/spec/session.md).

A *service* is an accepted job of kind 2. Its request's ``extensionHash`` is ``hashStruct`` of :class:`SessionTerms`.
A *tab* is what one account has locked for one service. A *unit* is the least amount that is charged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, ClassVar

from msgspec import Meta

from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, Shape, Uint64, Wei, canonical_json, decode
from sealmarket_enclave.protocol.eip712 import TypedShape
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import MAX_ASSETS
from sealmarket_enclave.protocol.numbers import AssetId, JobId, Seconds

MAX_TABS = 256
"""Most tabs of one renewal, and most entries of one statement."""
BlockTime = Annotated[int, Meta(ge=0, le=(1 << 40) - 1)]
"""Seconds since 1970 UTC as a block counts them, in 40 bits."""
Endpoint = Annotated[str, Meta(pattern=r"\A[a-z0-9._/-]{1,32}\Z")]
Engine = Annotated[dict[str, str | int | float | bool], Meta(max_length=64)]
"""What an answer was made with, as the workload says: names and single values."""


class Royalty(TypedShape, frozen=True, kw_only=True):
    """What the owner of one asset gets for each unit."""

    EIP712: ClassVar[str] = "Royalty(bytes32 assetId,uint128 perUnit)"

    asset_id: AssetId
    per_unit: Wei


class SessionTerms(TypedShape, frozen=True, kw_only=True):
    """The terms of a service. ``royalties`` are in the order of the job's assets.

    ``lease`` is the most units that may be served and not yet redeemed, ``lease_seconds`` how long one renewal lasts,
    ``redemption_window`` the seconds for which a tab stays open for statements, ``end`` a block time. Units in
    statements are multiples of ``bucket``.
    """

    EIP712: ClassVar[str] = (
        "SessionTerms(address sessions,uint64 lease,uint32 leaseSeconds,uint32 redemptionWindow,uint40 end,"
        "uint64 bucket,uint128 unitPrice,uint128 leastTab,uint128 renewalFee,Royalty[] royalties)"
    )
    PARTS: ClassVar[tuple[type[TypedShape], ...]] = (Royalty,)

    sessions: Address
    lease: Uint64
    lease_seconds: Seconds
    redemption_window: Seconds
    end: BlockTime
    bucket: Uint64
    unit_price: Wei
    least_tab: Wei
    renewal_fee: Wei
    royalties: Annotated[tuple[Royalty, ...], Meta(min_length=1, max_length=MAX_ASSETS)]


class Entry(TypedShape, frozen=True, kw_only=True):
    """The units that one account was served in all. ``last``: it is served no more."""

    EIP712: ClassVar[str] = "Entry(address account,uint64 units,bool last)"

    account: Address
    units: Uint64
    last: bool


class Statement(TypedShape, frozen=True, kw_only=True):
    """What the enclave says it served: ``total`` to all accounts, and ``entries`` of some. All are cumulative."""

    EIP712: ClassVar[str] = "Statement(bytes32 jobId,uint64 total,bool last,Entry[] entries)"
    PARTS: ClassVar[tuple[type[TypedShape], ...]] = (Entry,)

    job_id: JobId
    total: Uint64
    last: bool
    entries: Annotated[tuple[Entry, ...], Meta(max_length=MAX_TABS)]


class TabState(TypedShape, frozen=True, kw_only=True):
    """A tab at a final block: how many units its limit pays, and whether its account asked to close it."""

    EIP712: ClassVar[str] = "TabState(address account,uint64 units,bool closing)"

    account: Address
    units: Uint64
    closing: bool


class Renewal(TypedShape, frozen=True, kw_only=True):
    """What an oracle node says of a service at a final block, in answer to one nonce of its enclave.

    ``redeemed`` is the highest total of a statement that the chain took.
    """

    EIP712: ClassVar[str] = (
        "Renewal(bytes32 jobId,bytes32 nonce,uint64 blockNumber,uint40 blockTime,uint64 redeemed,TabState[] tabs)"
    )
    PARTS: ClassVar[tuple[type[TypedShape], ...]] = (TabState,)

    job_id: JobId
    nonce: Bytes32
    block_number: Uint64
    block_time: BlockTime
    redeemed: Uint64
    tabs: Annotated[tuple[TabState, ...], Meta(max_length=MAX_TABS)]


class SignedStatement(Shape, frozen=True, kw_only=True):
    """A statement with the enclave's signature over its digest."""

    statement: Statement
    signature: HexBytes


class SignedRenewal(Shape, frozen=True, kw_only=True):
    """A renewal with one node's signature over its digest."""

    renewal: Renewal
    signature: HexBytes


class Grant(TypedShape, frozen=True, kw_only=True):
    """An account's permission to a session key to spend up to ``cap`` units of its tab, until a block time."""

    EIP712: ClassVar[str] = (
        "Grant(bytes32 jobId,bytes32 workload,bytes32 weights,address sessionKey,uint64 cap,uint40 until)"
    )

    job_id: JobId
    workload: Bytes32
    weights: Bytes32
    session_key: Address
    cap: Uint64
    until: BlockTime


class SessionRequest(TypedShape, frozen=True, kw_only=True):
    """What the session key signs for one request. ``acknowledged`` is ``hashStruct`` of the grant's last receipt."""

    EIP712: ClassVar[str] = (
        "SessionRequest(bytes32 grantHash,uint64 number,uint64 mostUnits,bytes32 acknowledged,string endpoint,"
        "bytes32 bodyHash,bytes32 secretHash)"
    )

    grant_hash: Bytes32
    number: Uint64
    most_units: Uint64
    acknowledged: Bytes32
    endpoint: Endpoint
    body_hash: Bytes32
    secret_hash: Bytes32


class SessionReceipt(TypedShape, frozen=True, kw_only=True):
    """What the enclave signs for one answer. ``cumulative`` counts the units of the grant, this answer included."""

    EIP712: ClassVar[str] = (
        "SessionReceipt(bytes32 jobId,bytes32 evidenceHash,bytes32 grantHash,uint64 number,bytes32 workload,"
        "bytes32 weights,bytes32 requestHash,bytes32 responseHash,bytes32 engineHash,uint64 promptUnits,"
        "uint64 outputUnits,uint64 cumulative)"
    )

    job_id: JobId
    evidence_hash: Bytes32
    grant_hash: Bytes32
    number: Uint64
    workload: Bytes32
    weights: Bytes32
    request_hash: Bytes32
    response_hash: Bytes32
    engine_hash: Bytes32
    prompt_units: Uint64
    output_units: Uint64
    cumulative: Uint64


class SessionHeader(Shape, frozen=True, kw_only=True):
    """What stands before the body of a request, under the seal."""

    grant: Grant
    grant_signature: HexBytes
    number: Uint64
    most_units: Uint64
    acknowledged: Bytes32
    endpoint: Endpoint
    signature: HexBytes


class SessionCode(StrEnum):
    """Why a request was refused, or its answer broken off. Names never change."""

    GRANT_REFUSED = "grant_refused"
    GRANT_OVER = "grant_over"
    GRANT_SPENT = "grant_spent"
    NUMBER_UNEXPECTED = "number_unexpected"
    NOT_ACKNOWLEDGED = "not_acknowledged"
    ANSWER_RUNS = "answer_runs"
    ENDPOINT_REFUSED = "endpoint_refused"
    UNITS_REFUSED = "units_refused"
    NO_TAB = "no_tab"
    TAB_SPENT = "tab_spent"
    NO_LEASE = "no_lease"
    LEASE_SPENT = "lease_spent"
    BUSY = "busy"
    ENDED = "ended"
    WORKLOAD_FAILED = "workload_failed"
    OUTPUT_TOO_LONG = "output_too_long"
    OUT_OF_TIME = "out_of_time"
    STOPPED = "stopped"
    NOT_METERED = "not_metered"


class SignedReceipt(Shape, frozen=True, kw_only=True):
    """The last frame of an answer. ``signature`` is the enclave's over the receipt's digest."""

    receipt: SessionReceipt
    engine: Engine
    signature: HexBytes


class Refusal(Shape, frozen=True, kw_only=True):
    """The only frame of a request that was refused: nothing was charged, and its number is free."""

    code: SessionCode
    message: Annotated[str, Meta(max_length=400)]
    remedy: Annotated[str, Meta(max_length=400)]


class Abort(Shape, frozen=True, kw_only=True):
    """The last frame of an answer that was broken off: a receipt for what was released, and why."""

    receipt: SessionReceipt
    engine: Engine
    signature: HexBytes
    code: SessionCode


def weights_hash(content_roots: Iterable[Bytes32]) -> Bytes32:
    """How grants and receipts name the assets of a service: their content roots in the job's order, hashed."""
    return keccak(b"".join(content_roots))


def engine_hash(engine: Mapping[str, str | int | float | bool]) -> Bytes32:
    """How a receipt names what its answer was made with.

    Raises:
        MalformedDocument: a value without a spelling, or one whose spelling no reader takes: 1e20 is spelled as an
            integer beyond 2**53 - 1.
    """
    spelled = canonical_json(dict(engine))
    decode(Engine, spelled)
    return keccak(spelled)
