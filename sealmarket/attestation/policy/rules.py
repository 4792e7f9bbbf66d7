"""The appraisal policy: what an owner requires of the hardware and image that open their data.

It is the ``evidence`` part of the market's policy document. What decides trust has no default (which
measurements, which platforms); every other default is the strict one. Debug is not a rule: it is always
refused. ``check_rules`` refuses a policy that could never accept anything or that contradicts itself.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from sealmarket.attestation.azure.rules import AzureRules
from sealmarket.attestation.core.errors import InvalidRules
from sealmarket.attestation.core.model import TcbStatus
from sealmarket.attestation.core.unreadable import NOT_JSON
from sealmarket.attestation.registry import Measurement, VendorRules, module_of
from sealmarket_enclave.protocol.codec import Bytes32, HexBytes, Shape, from_builtins, parse_json
from sealmarket_enclave.protocol.errors import MalformedDocument

TeeSlug = Literal["sgx", "tdx", "snp", "cca", "nvidia", "nitro"]
GradeSlug = Literal["simulated", "hardware"]
"""The documents' spelling of ``Tee`` and ``Grade``: their slugs."""


class Custody(StrEnum):
    """Who has physical access to a machine, weakest custody first.

    Physical access has extracted keys (BadRAM, WireTap, TEE.fail).
    """

    UNKNOWN = "unknown"
    TENANT = "tenant"
    OPERATOR = "operator"
    AUDITED = "audited"

    @property
    def rank(self) -> int:
        """Higher is stronger."""
        return list(Custody).index(self)


class PlatformRule(Shape, frozen=True, kw_only=True):
    """One machine that is allowed: the digest of its identity (``Platform.digest``) and its custody."""

    tee: TeeSlug
    digest: Bytes32
    custody: Custody = Custody.UNKNOWN


class AppraisalPolicy(VendorRules, frozen=True, kw_only=True):
    """All requirements on evidence. ``platforms`` has no default: ``"any"`` is spelled out.

    ``maximum_age_seconds`` bounds the time between collection and appraisal.
    """

    version: Literal["sealmarket/evidence-rules/v1"] = "sealmarket/evidence-rules/v1"
    measurements: Annotated[tuple[Measurement, ...], Meta(min_length=1, max_length=1024)]
    platforms: Literal["any"] | tuple[PlatformRule, ...]
    lowest_custody: Custody = Custody.UNKNOWN
    lowest_grade: GradeSlug = "hardware"
    maximum_age_seconds: Annotated[int, Meta(ge=1, le=30 * 86400)] = 900
    azure: AzureRules = AzureRules()


def enclaves(rules: AppraisalPolicy) -> tuple[Measurement, ...]:
    """The measurements of enclaves: what a market's list pairs with workloads. Devices run none."""
    return tuple(measurement for measurement in rules.measurements if not module_of(measurement.tee).is_device)


def check_rules(rules: AppraisalPolicy) -> None:
    """Refuse a policy that no honest machine could meet or that contradicts itself.

    Raises:
        InvalidRules: no measurement, devices alone or demanded and not listed, an empty list of platforms,
            custody without named platforms, a status floor that is never acceptable, or a paravisor without
            registers of the guest.
    """
    if not rules.measurements:
        raise InvalidRules("rules must name at least one measurement", remedy="add the measurement of your image")
    if len(set(rules.measurements)) != len(rules.measurements):
        raise InvalidRules("a measurement is listed twice", remedy="list each measurement once")
    devices = [m for m in rules.measurements if module_of(m.tee).is_device]
    if len(devices) == len(rules.measurements):
        raise InvalidRules("only devices are listed", remedy="add the measurement of the image that commits to them")
    if rules.nvidia.gpus and not devices:
        raise InvalidRules(f"{rules.nvidia.gpus} GPUs are demanded, none is listed", remedy="add their measurements")
    if rules.platforms != "any" and not rules.platforms:
        raise InvalidRules("platforms is an empty list", remedy='name platforms, or say "any"')
    if rules.platforms == "any" and rules.lowest_custody is not Custody.UNKNOWN:
        raise InvalidRules(
            f"custody {rules.lowest_custody.value} is required of any platform",
            remedy="custody is known only of named platforms: list them",
        )
    if rules.azure.paravisor == "allowed" and not rules.azure.pcrs:
        raise InvalidRules(
            "azure allows a paravisor and names no register: the measurement says nothing of the guest",
            remedy="name the guest's PCRs",
        )
    if rules.intel.lowest_tcb_status.severity >= TcbStatus.REVOKED.severity:
        raise InvalidRules(
            f"lowestTcbStatus {rules.intel.lowest_tcb_status.value} can never be accepted",
            remedy="choose UpToDate to OutOfDateConfigurationNeeded",
        )


def read_rules(raw: bytes) -> AppraisalPolicy:
    """An appraisal policy from its JSON, or from the ``evidence`` part of a policy document.

    Raises:
        InvalidRules: not JSON, an unknown or absent field, or a policy that ``check_rules`` refuses.
    """
    try:
        document = parse_json(raw)
        if isinstance(document, dict) and "evidence" in document:
            document = document["evidence"]
        rules = from_builtins(AppraisalPolicy, document)
    except (*NOT_JSON, MalformedDocument) as error:
        raise InvalidRules(f"not an appraisal policy: {error}", remedy="see `sealmarket policy schema`") from error
    check_rules(rules)
    return rules


def rules_schema() -> dict[str, Any]:
    """The JSON Schema of an appraisal policy."""
    return msgspec.json.schema(AppraisalPolicy, schema_hook=_bytes_schema)


def _bytes_schema(kind: type) -> dict[str, Any]:
    digits = (kind.length or 0) * 2 if issubclass(kind, HexBytes) else 0
    return {"type": "string", "pattern": f"^0x[0-9a-f]{{{digits}}}$"}
