"""Bounded integers and enumerations that contracts and documents share."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, NewType

from msgspec import Meta

from sealmarket_enclave.protocol.codec import Bytes32

U8 = Annotated[int, Meta(ge=0, le=0xFF)]
Positive8 = Annotated[int, Meta(ge=1, le=0xFF)]
U32 = Annotated[int, Meta(ge=0, le=0xFFFF_FFFF)]
Timestamp = Annotated[int, Meta(ge=0, le=(1 << 53) - 1)]
"""Seconds since 1970 UTC, as blocks count them."""
Seconds = U32

JobId = NewType("JobId", Bytes32)
AssetId = NewType("AssetId", Bytes32)
BlockNumber = NewType("BlockNumber", int)


class Tee(IntEnum):
    """The kind of trusted execution environment that an offer promises. Numbers are on chain."""

    SGX = 1
    TDX = 2
    SNP = 3
    CCA = 4


class Grade(IntEnum):
    """How much stands behind evidence: a vendor's hardware root, or a development root. Numbers are on chain."""

    SIMULATED = 1
    HARDWARE = 2


class Status(IntEnum):
    """Where a job stands. Success is Matched, Quoted, Accepted, Settled, Matured."""

    NONE = 0
    MATCHED = 1
    QUOTED = 2
    ACCEPTED = 3
    SETTLED = 4
    MATURED = 5
    CHALLENGED = 6
    REFUSED = 7
    STOPPED = 8
    FAILED = 9
    EXPIRED = 10
    CANCELLED = 11


class Outcome(IntEnum):
    """What a quorum of oracle nodes decided, by the row of the fault table that it selects."""

    ACCEPTED = 1
    PLATFORM_REFUSED = 2
    REQUEST_REFUSED = 3
    TERMS_REFUSED = 4
    INPUT_REFUSED = 5
    EVIDENCE_WITHHELD = 6


class FailureCause(IntEnum):
    """What the enclave says went wrong after acceptance."""

    INPUT = 1
    WORKLOAD = 2


class Purpose(IntEnum):
    """What a job is for: a bit each in the terms, a signed promise in the request."""

    TRAIN = 1
    FINE_TUNE = 2
    INFER = 4
    QUERY = 8
