"""The vocabulary of attestation: what is proven about evidence, and the answer to a relying party.

RATS (RFC 9334) names the roles. A device is the *attester*; this package is the *verifier*; an oracle node or an
owner is the *relying party*. Evidence and endorsements come in; an :class:`AppraisalResult` goes out.
An :class:`AuthenticReport` is made only by the ``authenticate`` of a TEE's module
(:mod:`sealmarket.attestation.core.tee`), which passes ``maker=_MAKER``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from sealmarket.attestation.core.errors import AttestationError
from sealmarket.attestation.core.findings import Finding
from sealmarket.attestation.core.reasons import Reason
from sealmarket_enclave.protocol.codec import Bytes32, HexBytes
from sealmarket_enclave.protocol.hashing import keccak, words
from sealmarket_enclave.protocol.numbers import Grade, Tee

_MAKER = object()
"""Passed by TEE modules when they make a report; a test holds that nothing else names it."""

MEASUREMENT_DOMAIN = keccak(b"sealmarket/measurement/v1")
PLATFORM_DOMAIN = keccak(b"sealmarket/platform/v1")


class TcbStatus(StrEnum):
    """Intel's terms, best first, in Intel's order of severity; ``NotRated`` where the vendor publishes none."""

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


def measurement_digest(tee: Tee, *fields: bytes) -> Bytes32:
    """keccak(domain, keccak(slug), keccak(fields in order)).

    All fields have fixed lengths, so no two tuples have the same digest.
    """
    return keccak(words(MEASUREMENT_DOMAIN, keccak(tee.slug.encode()), keccak(b"".join(fields))))


class MeasurementTuple(Protocol):
    """What runs inside the TEE, as a typed tuple: each vendor's package defines its own."""

    @property
    def tee(self) -> Tee:
        """The TEE whose report it is taken from."""

    def digest(self) -> Bytes32:
        """The measurement's part of the market's allow-list leaf."""


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
    """The machine that signed: ``identity`` is PPID (Intel) or CHIP_ID (AMD), None where the evidence masks it.

    ``generation`` is the CPU generation by name where the evidence shows it ("Milan", "Genoa", ...).
    """

    identity: bytes | None
    generation: str | None = None

    def digest(self, tee: Tee) -> Bytes32 | None:
        """The name under which policies list this machine, so that a public policy does not publish its identity."""
        if self.identity is None:
            return None
        return keccak(words(PLATFORM_DOMAIN, keccak(tee.slug.encode()), keccak(self.identity)))


class Body(Protocol):
    """The parsed fields that only one TEE's module reads, typed for its own ``findings``."""

    def claims(self) -> Mapping[str, Any]:
        """Everything that a person may want to see, as JSON values with stable names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticReport:
    """Evidence whose signatures are proven up to a root. Made only by a TEE module's ``authenticate``.

    ``evidence_digest`` is the SHA-256 of what the device signed, not of its spelling (padding, ``n - s``),
    so that one piece of evidence has one name in every replay cache. ``mitigations`` are those that the
    signed bytes prove to be on. ``signed_at`` is when the device says that it signed, where what it signed
    says so. ``paravisor`` is what was proven about a guest that the hardware did not measure itself.
    """

    tee: Tee
    grade: Grade
    measurement: MeasurementTuple
    report_data: bytes
    evidence_digest: Bytes32
    tcb: Tcb
    platform: Platform
    debug: bool
    mitigations: frozenset[str] = frozenset()
    body: Body
    maker: InitVar[object]
    authenticated_at: datetime = field()
    signed_at: datetime | None = None
    paravisor: Body | None = None

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
            **(self.paravisor.claims() if self.paravisor else {}),
            "report_data": self.report_data.hex(),
            "measurement_digest": str(self.measurement.digest()),
            "evidence_sha256": self.evidence_digest.hex(),
            "platform_identity": identity.hex() if identity is not None else None,
            "generation": self.platform.generation,
            "debug": self.debug,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class AppraisalResult:
    """The verifier's answer: ``findings`` are all refusals at once; ``warnings`` and ``notes`` never refuse."""

    tee: Tee
    report: AuthenticReport | None
    findings: tuple[Finding, ...]
    warnings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def parts(self) -> Mapping[str, AppraisalResult]:
        """The one part of this result, by its TEE's name: the label of its submodule in an EAR."""
        return {self.tee.slug: self}

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
        """The report's claims; empty where the evidence is not authentic."""
        return self.report.claims() if self.report else {}

    @property
    def accepted(self) -> bool:
        """Whether the evidence is authentic and nothing refuses it."""
        return self.authentic and not self.findings

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """The typed reasons of the refusals, in the order found."""
        return tuple(finding.reason for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """The command's answer (see ``sealmarket evidence verify --json``)."""
        return {
            "tee": self.tee.slug,
            "authentic": self.authentic,
            "verdict": "accepted" if self.accepted else "refused",
            "grade": self.grade.slug if self.grade else None,
            "tcb_status": self.tcb.status.value if self.tcb else None,
            "advisories": list(self.tcb.advisories) if self.tcb else [],
            "claims": dict(self.claims),
            "reasons": [finding.as_json() for finding in self.findings],
            "warnings": [finding.as_json() for finding in self.warnings],
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CompositeResult:
    """The verifier's answer about a machine: one result for each part, by its label.

    What concerns the machine as a whole (a device twice, a switch too few, no binding) is among the findings of every
    part, so that no part of it is taken for good alone.
    """

    parts: Mapping[str, AppraisalResult]

    @property
    def accepted(self) -> bool:
        """Whether every part is authentic and nothing refuses any."""
        return bool(self.parts) and all(part.accepted for part in self.parts.values())

    @property
    def common(self) -> tuple[Finding, ...]:
        """The refusals of every part: what concerns the machine as a whole. None where there is one part."""
        first, *others = self.parts.values()
        return tuple(f for f in first.findings if others and all(f in other.findings for other in others))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All refusals, each once."""
        return tuple(dict.fromkeys(finding for part in self.parts.values() for finding in part.findings))

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """The typed reasons of the refusals, in the order found."""
        return tuple(finding.reason for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """The first part's answer (the CPU's, where there is one) with the verdict of all, and each part's own."""
        first = next(iter(self.parts.values())).as_json()
        grades = [part.grade for part in self.parts.values()]
        known = [grade for grade in grades if grade is not None]
        warnings = dict.fromkeys(finding for part in self.parts.values() for finding in part.warnings)
        return {
            **first,
            "authentic": all(part.authentic for part in self.parts.values()),
            "verdict": "accepted" if self.accepted else "refused",
            "grade": min(known).slug if len(known) == len(grades) else None,
            "reasons": [finding.as_json() for finding in self.findings],
            "warnings": [finding.as_json() for finding in warnings],
            "notes": list(dict.fromkeys(note for part in self.parts.values() for note in part.notes)),
            "parts": {label: part.as_json() for label, part in self.parts.items()},
        }
