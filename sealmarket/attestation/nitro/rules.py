"""The ``nitro`` section of an appraisal policy."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from sealmarket_enclave.protocol.codec import Bytes48, Shape


class NitroPcr(Shape, frozen=True, kw_only=True):
    """The value of one platform configuration register: 3 is the parent's IAM role, 4 the parent instance."""

    index: Annotated[int, Meta(ge=0, le=31)]
    value: Bytes48


class NitroRules(Shape, frozen=True, kw_only=True):
    """The requirements on Nitro documents.

    ``user_data`` "required" wants exactly the 64 bytes of report data there. ``pcrs`` names registers beside the
    measurement's; each must hold one of its values. ``further_pcrs`` "zero" refuses a value in any other register
    (3 and 4 excepted, which the parent instance sets).
    """

    user_data: Literal["required", "any"] = "required"
    pcrs: Annotated[tuple[NitroPcr, ...], Meta(max_length=256)] = ()
    further_pcrs: Literal["zero", "any"] = "zero"
