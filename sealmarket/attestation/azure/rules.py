"""The ``azure`` section of an appraisal policy."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from sealmarket_enclave.protocol.codec import Bytes32, Shape


class VtpmPcr(Shape, frozen=True, kw_only=True):
    """A value of one register of the vTPM's SHA-256 bank."""

    index: Annotated[int, Meta(ge=0, le=23)]
    value: Bytes32


class AzureRules(Shape, frozen=True, kw_only=True):
    """The requirements on guests behind Azure's paravisor.

    ``paravisor`` "refused": the measurement of such evidence is the paravisor's and says nothing of the guest.
    "allowed" needs ``pcrs``, which name the guest: each register that is named holds one of its values.
    """

    paravisor: Literal["refused", "allowed"] = "refused"
    pcrs: Annotated[tuple[VtpmPcr, ...], Meta(max_length=256)] = ()
    secure_boot: Literal["required", "any"] = "required"
