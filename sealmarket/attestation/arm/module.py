"""Arm CCA as a row of the registry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from sealmarket.attestation.arm.explain import explain
from sealmarket.attestation.arm.measurement import CcaMeasurement
from sealmarket.attestation.arm.rules import CcaRules
from sealmarket.attestation.core.certificates import MAXIMUM_BLOCKS, require_at_most
from sealmarket.attestation.core.errors import CollateralError
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.findings import Finding
from sealmarket.attestation.core.model import AuthenticReport, MeasurementTuple
from sealmarket.attestation.core.tee import Anchors, TeeModule
from sealmarket.attestation.core.unreadable import NOT_JSON
from sealmarket_enclave.protocol.codec import Shape, parse_json
from sealmarket_enclave.protocol.numbers import Tee

_HEADS = (b"\xd9\x01\x8f", b"\xd9\x03\x8b")
"""A collection of tokens: tag 399 or 907."""
_PACKAGE = b'{"documents":'


class CcaModule(TeeModule):
    """Realms: collections of a platform's and a realm's token."""

    tee = Tee.CCA
    pins = frozenset[bytes]()
    measurement = CcaMeasurement
    section = "cca"
    tsm_provider = "arm_cca_guest"
    without_policy = CcaRules(reference_values="warn")

    def recognises(self, data: bytes) -> bool:
        return data.startswith(_HEADS)

    def authenticate(
        self, evidence: Evidence, endorsements: Endorsements, anchors: Anchors, now: datetime
    ) -> AuthenticReport:
        from sealmarket.attestation.arm.authenticate import authenticate

        return authenticate(evidence, endorsements, anchors, now)

    def findings(
        self, report: AuthenticReport, rules: Shape | None, allowed: Sequence[MeasurementTuple], now: datetime
    ) -> Iterator[Finding]:
        from sealmarket.attestation.arm.findings import findings

        del allowed, now
        return findings(report, _section(rules))

    def claims(self, evidence: Evidence) -> dict[str, Any]:
        from sealmarket.attestation.arm.authenticate import unverified_claims

        return unverified_claims(evidence)

    def explain(self, rules: Shape | None) -> Iterator[str]:
        return explain(_section(rules))

    def read_endorsements(self, raw: bytes) -> Endorsements:
        """A document; certificates; or, since a package holds text, ``{"documents": [hex, ...]}``."""
        if raw.lstrip().startswith(_PACKAGE):
            return self.read_files(_unpacked(raw))
        return self.read_files([raw])

    def read_files(self, files: Iterable[bytes]) -> Endorsements:
        found = Endorsements()
        for raw in files:
            found = found.and_also(_read(raw))
            total = len(found.documents) + len(found.certificates) + len(found.crls)
            require_at_most(MAXIMUM_BLOCKS, total, "documents, certificates and CRLs in all files")
        return found

    def development_keys(self, endorsements: Endorsements) -> frozenset[bytes]:
        from sealmarket.attestation.arm.authenticate import development_keys

        return frozenset(development_keys(endorsements))


def _read(raw: bytes) -> Endorsements:
    from sealmarket.attestation.arm.reading import read_document

    try:
        return Endorsements.read([raw])
    except CollateralError:
        read_document(raw)
        return Endorsements(documents=(raw,))


def _unpacked(raw: bytes) -> Iterator[bytes]:
    try:
        package = parse_json(raw, dict[str, list[str]])
        yield from (bytes.fromhex(text) for text in package["documents"])
    except (*NOT_JSON, KeyError, ValueError) as error:
        raise CollateralError(f"CCA endorsements are a list of documents in hex: {error}") from error


def _section(rules: Shape | None) -> CcaRules:
    if not isinstance(rules, CcaRules):
        raise TypeError(f"expected CcaRules, found {type(rules).__name__}")
    return rules
