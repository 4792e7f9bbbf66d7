"""Evidence rules: what an owner demands of the hardware and image that open their data.

The rules are the ``evidence`` part of the market's policy document. What decides trust has no default (which
measurements, which platforms); every other default is the strict one. Debug is not a rule: it is always
refused. ``check_rules`` refuses rules that could never accept anything or that contradict themselves.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from sealmarket.attestation.core.errors import InvalidRules
from sealmarket.attestation.core.model import Grade, Measurement, TcbStatus, Tee
from sealmarket.attestation.core.unreadable import NOT_JSON
from sealmarket_enclave.protocol.codec import Bytes32, Bytes48, HexBytes, Shape, from_builtins, parse_json
from sealmarket_enclave.protocol.errors import MalformedDocument

Advisory = Annotated[str, Meta(pattern=r"^(INTEL-SA-|AMD-SB-|CVE-)[0-9-]+$", max_length=32)]
Svn = Annotated[int, Meta(ge=0, le=255)]


class Custody(StrEnum):
    """Who can touch a machine, weakest first: physical access has extracted keys (BadRAM, WireTap,
    TEE.fail)."""

    UNKNOWN = "unknown"
    TENANT = "tenant"
    OPERATOR = "operator"
    AUDITED = "audited"

    @property
    def rank(self) -> int:
        """Higher is stronger."""
        return list(Custody).index(self)


class PlatformRule(Shape, frozen=True, kw_only=True):
    """One machine that is allowed: the digest of its identity (``Platform.digest``) and who holds it."""

    tee: Tee
    digest: Bytes32
    custody: Custody = Custody.UNKNOWN


class TdAttribute(StrEnum):
    """TD attributes that rules may allow by name (TDX module ABI, ATTRIBUTES). Debug, profiling, migration:
    never."""

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
    """What is demanded of SGX and TDX platforms.

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
    """What is demanded of SEV-SNP guests and platforms.

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


class EvidenceRules(Shape, frozen=True, kw_only=True):
    """The whole demand. ``platforms`` must be said, even when it is ``"any"``.

    ``maximum_age_seconds`` bounds the time between collection and appraisal.
    """

    version: Literal["sealmarket/evidence-rules/v1"] = "sealmarket/evidence-rules/v1"
    measurements: Annotated[tuple[Measurement, ...], Meta(min_length=1, max_length=1024)]
    platforms: Literal["any"] | tuple[PlatformRule, ...]
    lowest_custody: Custody = Custody.UNKNOWN
    lowest_grade: Grade = Grade.HARDWARE
    maximum_age_seconds: Annotated[int, Meta(ge=1, le=30 * 86400)] = 900
    intel: IntelRules = IntelRules()
    snp: SnpRules = SnpRules()


def check_rules(rules: EvidenceRules) -> None:
    """Refuse rules that no honest machine could meet or that say two things.

    Raises:
        InvalidRules: no measurement, an empty list of platforms, custody without named platforms, or a
            status floor that is never acceptable.
    """
    if not rules.measurements:
        raise InvalidRules("rules must name at least one measurement", remedy="add the measurement of your image")
    if len(set(rules.measurements)) != len(rules.measurements):
        raise InvalidRules("a measurement is listed twice", remedy="list each measurement once")
    if rules.platforms != "any" and not rules.platforms:
        raise InvalidRules("platforms is an empty list", remedy='name platforms, or say "any"')
    if rules.platforms == "any" and rules.lowest_custody is not Custody.UNKNOWN:
        raise InvalidRules(
            f"custody {rules.lowest_custody.value} is demanded of any platform",
            remedy="custody is known only of named platforms: list them",
        )
    if rules.intel.lowest_tcb_status.severity >= TcbStatus.REVOKED.severity:
        raise InvalidRules(
            f"lowestTcbStatus {rules.intel.lowest_tcb_status.value} can never be accepted",
            remedy="choose UpToDate to OutOfDateConfigurationNeeded",
        )


def read_rules(raw: bytes) -> EvidenceRules:
    """Evidence rules from their JSON, or from the ``evidence`` part of a policy document.

    Raises:
        InvalidRules: not JSON, an unknown or absent field, or rules that ``check_rules`` refuses.
    """
    try:
        document = parse_json(raw)
        if isinstance(document, dict) and "evidence" in document:
            document = document["evidence"]
        rules = from_builtins(EvidenceRules, document)
    except (*NOT_JSON, MalformedDocument) as error:
        raise InvalidRules(f"not evidence rules: {error}", remedy="see `sealmarket policy schema`") from error
    check_rules(rules)
    return rules


def rules_schema() -> dict[str, Any]:
    """The JSON Schema of evidence rules."""
    return msgspec.json.schema(EvidenceRules, schema_hook=_bytes_schema)


def _bytes_schema(kind: type) -> dict[str, Any]:
    digits = (kind.length or 0) * 2 if issubclass(kind, HexBytes) else 0
    return {"type": "string", "pattern": f"^0x[0-9a-f]{{{digits}}}$"}
