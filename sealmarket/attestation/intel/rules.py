"""The ``intel`` section of an appraisal policy."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from msgspec import Meta

from sealmarket.attestation.core.model import TcbStatus
from sealmarket_enclave.protocol.codec import Bytes48, Shape

Advisory = Annotated[str, Meta(pattern=r"^(INTEL-SA-|AMD-SB-|CVE-)[0-9-]+$", max_length=32)]


class TdAttribute(StrEnum):
    """TD attributes that a policy may allow by name (TDX module ABI, ATTRIBUTES).

    Debug, profiling and migration are never allowed.
    """

    LASS = "LASS"
    PKS = "PKS"
    KL = "KL"
    TPA = "TPA"
    PERFMON = "PERFMON"


class PlatformFlag(StrEnum):
    """Platform configuration that a PCK certificate shows (OID 1.2.840.113741.1.13.1.7)."""

    DYNAMIC_PLATFORM = "dynamic_platform"
    CACHED_KEYS = "cached_keys"
    SMT = "smt"


class IntelRules(Shape, frozen=True, kw_only=True):
    """The requirements on SGX and TDX platforms.

    ``tcb_grace_seconds`` lets a level worse than ``lowest_tcb_status`` pass while its TCB date is not older
    than that; it never covers Revoked, nor a platform without a level. ``zero_padding`` "transport" lets
    pass the zeros that fill the fixed buffers of genuine platforms, and no others.
    """

    lowest_tcb_status: TcbStatus = TcbStatus.UP_TO_DATE
    tcb_grace_seconds: Annotated[int, Meta(ge=0, le=366 * 86400)] = 0
    advisories_allowed: tuple[Advisory, ...] = ()
    minimum_evaluation_number: Annotated[int, Meta(ge=0)] = 0
    sept_ve_disable: Literal["required", "any"] = "required"
    td_attributes_allowed: tuple[TdAttribute, ...] = (TdAttribute.LASS,)
    service_td_allowed: tuple[Bytes48, ...] = ()
    platform_flags_refused: tuple[PlatformFlag, ...] = ()
    zero_padding: Literal["refused", "transport", "any"] = "transport"
