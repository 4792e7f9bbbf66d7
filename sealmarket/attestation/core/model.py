"""The words of attestation, and the interface that every TEE module fills.

A TEE module (``intel``, ``snp``, and later ``cca``, ``nvidia``, ``nitro``) offers two functions::

    def authenticate(evidence: Evidence, endorsements: Endorsements, roots: Roots, now: datetime) ->
    AuthenticReport def findings(report: AuthenticReport, rules: EvidenceRules, now: datetime) ->
    Iterator[Finding]

``authenticate`` runs numbered steps, stops at the first that fails with
:class:`~sealmarket.attestation.core.errors.EvidenceRefused`, and is the only maker of an :class:`AuthenticReport`
(it passes ``maker=_MAKER``). It judges nothing that a policy may judge: a debug TD under Intel's root is
authentic, and refused afterwards. ``findings`` yields everything about this TEE that the rules refuse; what
is common to all TEEs (grade, measurement, platform, generation, age, report data) is held by
``verify.appraise``. Neither does I/O or reads a clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from datetime import datetime
from enum import Enum, StrEnum
from typing import Any, Protocol

from sealmarket.attestation.core.errors import AttestationError
from sealmarket.attestation.core.reasons import Reason
from sealmarket_enclave.protocol.codec import Bytes32, Bytes48, Bytes64, HexBytes, Shape
from sealmarket_enclave.protocol.hashing import keccak, words

_MAKER = object()
"""Shown by TEE modules when they make a report; a test holds that nothing else names it."""

MEASUREMENT_DOMAIN = keccak(b"sealmarket/measurement/v1")
PLATFORM_DOMAIN = keccak(b"sealmarket/platform/v1")


class Tee(StrEnum):
    """A kind of trusted hardware."""

    SGX = "sgx"
    TDX = "tdx"
    SNP = "snp"
    CCA = "cca"
    NVIDIA = "nvidia"
    NITRO = "nitro"


class Grade(StrEnum):
    """What stands behind evidence, decided by the root that its chain ends in and by nothing else."""

    SIMULATED = "simulated"
    HARDWARE = "hardware"

    @property
    def rank(self) -> int:
        """Higher is stronger."""
        return 1 if self is Grade.HARDWARE else 0


class TcbStatus(StrEnum):
    """Intel's words, best first, in Intel's order of severity; ``NotRated`` where the vendor publishes
    none."""

    UP_TO_DATE = "UpToDate"
    SW_HARDENING_NEEDED = "SWHardeningNeeded"
    CONFIGURATION_NEEDED = "ConfigurationNeeded"
    CONFIGURATION_AND_SW_HARDENING_NEEDED = "ConfigurationAndSWHardeningNeeded"
    TD_RELAUNCH_ADVISED = "TDRelaunchAdvised"
    TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED = "TDRelaunchAdvisedConfigurationNeeded"
    OUT_OF_DATE = "OutOfDate"
    OUT_OF_DATE_CONFIGURATION_NEEDED = "OutOfDateConfigurationNeeded"
    REVOKED = "Revoked"
    NO_LEVEL = "NoMatchingLevel"
    NOT_RATED = "NotRated"

    @property
    def severity(self) -> int:
        """0 is best. ``Revoked`` and ``NoMatchingLevel`` are never acceptable."""
        return _SEVERITY[self]


_SEVERITY = {status: index for index, status in enumerate(TcbStatus)}


class Bytes4(HexBytes):
    """Four bytes in the order of the report."""

    length = 4


class Bytes8(HexBytes):
    """Eight bytes in the order of the report (little-endian registers)."""

    length = 8


class Bytes16(HexBytes):
    """Sixteen bytes."""

    length = 16


def _digest(tee: Tee, *fields: bytes) -> Bytes32:
    """keccak(domain, keccak(tee), keccak(fields in order)): all fields have fixed lengths, so no two tuples
    meet."""
    return keccak(words(MEASUREMENT_DOMAIN, keccak(tee.value.encode()), keccak(b"".join(fields))))


class TdxMeasurement(Shape, frozen=True, kw_only=True, tag_field="tee", tag="tdx"):
    """What a trust domain is, as the TDX module reports it (TDX module ABI, TDINFO)."""

    mr_td: Bytes48
    rtmr0: Bytes48
    rtmr1: Bytes48
    rtmr2: Bytes48
    rtmr3: Bytes48
    mr_config_id: Bytes48
    mr_owner: Bytes48
    mr_owner_config: Bytes48
    td_attributes: Bytes8
    xfam: Bytes8

    tee = Tee.TDX

    def digest(self) -> Bytes32:
        """The measurement's part of the market's allow-list leaf."""
        return _digest(
            Tee.TDX,
            self.mr_td,
            self.rtmr0,
            self.rtmr1,
            self.rtmr2,
            self.rtmr3,
            self.mr_config_id,
            self.mr_owner,
            self.mr_owner_config,
            self.td_attributes,
            self.xfam,
        )


class SgxMeasurement(Shape, frozen=True, kw_only=True, tag_field="tee", tag="sgx"):
    """What an enclave is, as its REPORT says (Intel SDM vol. 3D, 38.15). ``attributes`` is flags and XFRM."""

    mr_enclave: Bytes32
    mr_signer: Bytes32
    isv_prod_id: int
    isv_svn: int
    misc_select: Bytes4
    attributes: Bytes16
    config_id: Bytes64
    config_svn: int

    tee = Tee.SGX

    def digest(self) -> Bytes32:
        """The measurement's part of the market's allow-list leaf."""
        numbers = b"".join(n.to_bytes(2, "little") for n in (self.isv_prod_id, self.isv_svn, self.config_svn))
        return _digest(
            Tee.SGX,
            self.mr_enclave,
            self.mr_signer,
            self.misc_select,
            self.attributes,
            self.config_id,
            numbers,
        )


class SnpMeasurement(Shape, frozen=True, kw_only=True, tag_field="tee", tag="snp"):
    """What a guest is, as the SNP firmware reports it (SEV-SNP ABI, ATTESTATION_REPORT)."""

    launch_digest: Bytes48
    policy: Bytes8
    host_data: Bytes32
    vmpl: int

    tee = Tee.SNP

    def digest(self) -> Bytes32:
        """The measurement's part of the market's allow-list leaf."""
        return _digest(Tee.SNP, self.launch_digest, self.policy, self.host_data, self.vmpl.to_bytes(4, "little"))


Measurement = TdxMeasurement | SgxMeasurement | SnpMeasurement


class Severity(Enum):
    """Whether a finding refuses, or is only said."""

    REFUSAL = "refusal"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that was not met: which, what it wanted, what was there, what to do."""

    reason: Reason
    expected: str
    found: str
    remedy: str = ""
    severity: Severity = Severity.REFUSAL

    def __post_init__(self) -> None:
        if not self.remedy:
            object.__setattr__(self, "remedy", self.reason.remedy)

    def as_json(self) -> dict[str, str]:
        """``{"reason", "expected", "found", "remedy"}``."""
        return {
            "reason": self.reason.value,
            "expected": self.expected,
            "found": self.found,
            "remedy": self.remedy,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Tcb:
    """How the vendor rates the platform's firmware.

    ``level_date`` is the date of the matched level, ``evaluation_numbers`` those of TCB info and QE
    identity (Intel), ``expires`` the end of the validity that the vendor signed for what was used.
    """

    status: TcbStatus
    advisories: tuple[str, ...] = ()
    level_date: datetime | None = None
    evaluation_numbers: tuple[int, ...] = ()
    expires: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """Which machine signed: ``identity`` is PPID (Intel) or CHIP_ID (AMD), None where the evidence masks it.

    ``generation`` is the CPU generation by name where the evidence shows it ("Milan", "Genoa", ...).
    """

    identity: bytes | None
    generation: str | None = None

    def digest(self, tee: Tee) -> Bytes32 | None:
        """The name under which rules list this machine, so that a public policy does not publish its
        identity."""
        if self.identity is None:
            return None
        return keccak(words(PLATFORM_DOMAIN, keccak(tee.value.encode()), keccak(self.identity)))


class Body(Protocol):
    """What only one TEE's module understands: parsed fields, typed for its own ``findings``."""

    def claims(self) -> Mapping[str, Any]:
        """Everything a person may want to see, as JSON values with stable names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticReport:
    """Evidence whose signatures are proven up to a root. Made only by a TEE module's ``authenticate``.

    ``evidence_digest`` is the SHA-256 of what the device signed, not of its spelling (padding, ``n - s``),
    so that one piece of evidence has one name in every replay cache. ``mitigations`` are those that the
    signed bytes prove to be on.
    """

    tee: Tee
    grade: Grade
    measurement: Measurement
    report_data: bytes
    evidence_digest: Bytes32
    tcb: Tcb
    platform: Platform
    debug: bool
    mitigations: frozenset[str] = frozenset()
    body: Body
    maker: InitVar[object]
    authenticated_at: datetime = field()

    def __post_init__(self, maker: object) -> None:
        if maker is not _MAKER:
            raise AttestationError("an AuthenticReport is made only by authenticate()")
        if len(self.report_data) != 64:
            raise AttestationError(f"report data is 64 bytes, found {len(self.report_data)}")

    def claims(self) -> dict[str, Any]:
        """The TEE's own claims with the common ones, as JSON values."""
        identity = self.platform.identity
        return {
            **self.body.claims(),
            "report_data": self.report_data.hex(),
            "measurement_digest": str(self.measurement.digest()),
            "evidence_sha256": self.evidence_digest.hex(),
            "platform_identity": identity.hex() if identity is not None else None,
            "generation": self.platform.generation,
            "debug": self.debug,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer: ``findings`` are all refusals at once, ``warnings`` and ``notes`` are only said."""

    tee: Tee
    report: AuthenticReport | None
    findings: tuple[Finding, ...]
    warnings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def authentic(self) -> bool:
        """Whether there is a report to appraise at all."""
        return self.report is not None

    @property
    def grade(self) -> Grade | None:
        """The report's grade."""
        return self.report.grade if self.report else None

    @property
    def tcb(self) -> Tcb | None:
        """How the vendor rates the platform."""
        return self.report.tcb if self.report else None

    @property
    def claims(self) -> Mapping[str, Any]:
        """The report's claims; nothing is claimed by what is not authentic."""
        return self.report.claims() if self.report else {}

    @property
    def accepted(self) -> bool:
        """Authentic, and nothing refused."""
        return self.authentic and not self.findings

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """The typed reasons of the refusals, in the order found."""
        return tuple(finding.reason for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """The command's answer (see ``sealmarket evidence verify --json``)."""
        return {
            "tee": self.tee.value,
            "authentic": self.authentic,
            "verdict": "accepted" if self.accepted else "refused",
            "grade": self.grade.value if self.grade else None,
            "tcb_status": self.tcb.status.value if self.tcb else None,
            "advisories": list(self.tcb.advisories) if self.tcb else [],
            "claims": dict(self.claims),
            "reasons": [finding.as_json() for finding in self.findings],
            "warnings": [finding.as_json() for finding in self.warnings],
            "notes": list(self.notes),
        }
