"""The ``snp`` section of an appraisal policy."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from msgspec import Meta

from sealmarket_enclave.protocol.codec import Bytes48, Shape

Svn = Annotated[int, Meta(ge=0, le=255)]


class SnpTcb(Shape, frozen=True, kw_only=True):
    """The lowest firmware levels of one CPU generation; ``fmc`` is Turin's and stays 0 elsewhere."""

    generation: str
    bootloader: Svn
    tee: Svn
    snp: Svn
    microcode: Svn
    fmc: Svn = 0


class Mitigation(StrEnum):
    """Mitigations that an SNP report can prove (PLATFORM_INFO)."""

    ALIAS_CHECK = "alias_check"
    CIPHERTEXT_HIDING = "ciphertext_hiding"


class SnpRules(Shape, frozen=True, kw_only=True):
    """The requirements on SEV-SNP guests and platforms.

    ``milan`` is what to do with a generation whose VCEK root seed was extracted by software (arXiv
    2605.12990).
    """

    minimum_tcb: tuple[SnpTcb, ...] = ()
    signing_keys: tuple[Literal["vcek", "vlek"], ...] = ("vcek", "vlek")
    maximum_vmpl: Annotated[int, Meta(ge=0, le=3)] = 0
    generations: tuple[Literal["Milan", "Genoa", "Bergamo", "Siena", "Turin"], ...] = (
        "Milan",
        "Genoa",
        "Bergamo",
        "Siena",
        "Turin",
    )
    milan: Literal["warn", "refuse", "accept"] = "warn"
    mitigations_required: tuple[Mitigation, ...] = (Mitigation.ALIAS_CHECK,)
    smt: Literal["any", "off"] = "any"
    revocation: Literal["required", "warn"] = "required"
    id_key_digests: tuple[Bytes48, ...] = ()
