"""Bounded integers and enumerations that contracts and documents share."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, NewType, Self

from msgspec import Meta

from sealmarket_enclave.protocol.codec import Bytes32

U8 = Annotated[int, Meta(ge=0, le=0xFF)]
Positive8 = Annotated[int, Meta(ge=1, le=0xFF)]
U16 = Annotated[int, Meta(ge=0, le=0xFFFF)]
U32 = Annotated[int, Meta(ge=0, le=0xFFFF_FFFF)]
Positive32 = Annotated[int, Meta(ge=1, le=0xFFFF_FFFF)]
Timestamp = Annotated[int, Meta(ge=0, le=(1 << 53) - 1)]
"""Seconds since 1970 UTC, as blocks count them."""
Seconds = U32
Percent = Annotated[int, Meta(ge=0, le=100)]

JobId = NewType("JobId", Bytes32)
AssetId = NewType("AssetId", Bytes32)
BlockNumber = NewType("BlockNumber", int)


class Named(IntEnum):
    """A number on chain that documents and people spell in lower case: ``slug``."""

    @property
    def slug(self) -> str:
        """The spelling in JSON, on command lines and in messages."""
        return self.name.lower()

    @classmethod
    def from_slug(cls, slug: str) -> Self:
        """The member that is spelled so.

        Raises:
            ValueError: none is; other cases and blanks are not taken.
        """
        for member in cls:
            if member.slug == slug:
                return member
        raise ValueError(f"{slug!r} is none of {', '.join(member.slug for member in cls)}")


class Tee(Named):
    """The kind of trusted execution environment that an offer promises. Numbers are on chain."""

    SGX = 1
    TDX = 2
    SNP = 3
    CCA = 4
    NVIDIA = 5
    NITRO = 6


class Grade(Named):
    """How much stands behind evidence: a vendor's hardware root, or a development root. Numbers are on chain."""

    SIMULATED = 1
    HARDWARE = 2


class Kind(Named):
    """The kind of a job. What a kind adds to request and order is behind hashes. Numbers are on chain."""

    BATCH = 1
    SESSION = 2


class FailureCause(IntEnum):
    """What the enclave says went wrong after acceptance.

    An input, before the workload started; the workload; a limit of the request was used up (time of a stage, bytes of
    the inputs); an owner's validator did not finish.
    """

    INPUT = 1
    WORKLOAD = 2
    WORKLOAD_TIME = 3
    VALIDATOR = 4
