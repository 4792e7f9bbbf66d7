"""The ``nvidia`` section of an appraisal policy."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from sealmarket_enclave.protocol.codec import Shape


class NvidiaRules(Shape, frozen=True, kw_only=True):
    """The requirements on GPUs and switches.

    ``gpus`` is how many a CPU TEE must commit to: with the default of 0 it needs none.

    ``modes`` are those of GPUs: ``spt`` one GPU, ``mpt`` several with encrypted links, ``ppcie`` several with switches
    that are trusted and must be part of the evidence. ``fwid`` is whether the report itself must name the firmware of
    its leaf, which drivers before 550 do not. ``manifests`` and ``ocsp`` are whether their absence refuses.
    """

    gpus: Annotated[int, Meta(ge=0, le=64)] = 0
    modes: tuple[Literal["spt", "mpt", "ppcie"], ...] = ("spt",)
    architectures: tuple[Literal["Hopper", "Blackwell"], ...] = ("Hopper", "Blackwell")
    fwid: Literal["required", "any"] = "required"
    manifests: Literal["required", "warn"] = "required"
    ocsp: Literal["required", "warn"] = "required"
