"""SEV-SNP as a row of the registry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from cryptography import x509

from sealmarket.attestation.amd.explain import explain
from sealmarket.attestation.amd.measurement import SnpMeasurement
from sealmarket.attestation.amd.rules import SnpRules
from sealmarket.attestation.core.errors import CollateralError, NotEvidence
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.findings import Finding
from sealmarket.attestation.core.model import AuthenticReport, MeasurementTuple
from sealmarket.attestation.core.tee import Anchors, ForeignClaims, Get, Harvest, TeeModule
from sealmarket_enclave.protocol.codec import Shape
from sealmarket_enclave.protocol.numbers import Tee

ARK_MILAN_SPKI = bytes.fromhex("9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9")
ARK_GENOA_SPKI = bytes.fromhex("429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831")
ARK_TURIN_SPKI = bytes.fromhex("4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08")

_ALGORITHM_AT, _ECDSA_P384_SHA384 = 0x34, 1


FOREIGN = ForeignClaims(
    kinds=frozenset({"sevsnpvm"}),
    prefixes=("x-ms-isolation-tee.x-ms-sevsnpvm-", "x-ms-sevsnpvm-"),
    measured=MappingProxyType({"launchmeasurement": "launch_digest", "hostdata": "host_data", "vmpl": "vmpl"}),
    keys=MappingProxyType({"idkeydigest": ("id_key_digest", "idKeyDigests")}),
    levels=MappingProxyType(
        {"bootloader-svn": "bootloader", "tee-svn": "tee", "snpfw-svn": "snp", "microcode-svn": "microcode"}
    ),
)
"""As Microsoft Azure Attestation names them."""


class SnpModule(TeeModule):
    """Guests: attestation reports."""

    tee = Tee.SNP
    pins = frozenset({ARK_MILAN_SPKI, ARK_GENOA_SPKI, ARK_TURIN_SPKI})
    measurement = SnpMeasurement
    section = "snp"
    without_policy = SnpRules(revocation="warn")
    foreign = FOREIGN
    tsm_provider = "sev_guest"
    endpoints = MappingProxyType({"amd": "https://kdsintf.amd.com"})

    def recognises(self, data: bytes) -> bool:
        algorithm = data[_ALGORITHM_AT : _ALGORITHM_AT + 4]
        version = int.from_bytes(data[:4], "little")
        return 2 <= version <= 15 and algorithm == _ECDSA_P384_SHA384.to_bytes(4, "little")

    def unwrap(self, data: bytes) -> Evidence | None:
        from sealmarket.attestation.amd.extended import is_certificate_table, split_extended

        if self.recognises(data) and (found := split_extended(data)) is not None:
            return Evidence(tee=self.tee, raw=found[0], certificates=found[1], source="extended")
        if is_certificate_table(data):
            remedy = "pass the report as evidence, and this file by --endorsement"
            raise NotEvidence("this is a certificate table (auxblob), without the report beside it", remedy=remedy)
        return None

    def read_document(self, document: Mapping[str, Any]) -> Evidence | None:
        from sealmarket.attestation.amd.agent import read_document

        return read_document(document)

    def floor(self, claims: Mapping[str, Any], levels: Mapping[str, int]) -> dict[str, Any]:
        rest = dict.fromkeys(FOREIGN.levels.values(), 0)
        return {"minimumTcb": [{"generation": claims["product"], **rest, **levels}]}

    def levels(self, report: AuthenticReport) -> dict[str, int]:
        from sealmarket.attestation.amd.authenticate import SnpBody

        return report.body.reported.as_json() if isinstance(report.body, SnpBody) else {}

    def certificates_beside(self, data: bytes) -> tuple[bytes, ...]:
        from sealmarket.attestation.amd.extended import read_certificate_table

        return read_certificate_table(data)

    def read_files(self, files: Iterable[bytes]) -> Endorsements:
        from sealmarket.attestation.amd.extended import is_certificate_table, read_certificate_table

        plain: list[bytes] = []
        for raw in files:
            try:
                plain += read_certificate_table(raw) if is_certificate_table(raw) else [raw]
            except NotEvidence as error:
                raise CollateralError(error.message, remedy=error.remedy) from error
        return Endorsements.read(plain)

    def shelf_of(self, certificate: x509.Certificate) -> str:
        from sealmarket.attestation.amd.leaf import chip_of

        return _shelf(chip_of(certificate))

    def shelf_for(self, evidence: Evidence) -> str:
        from sealmarket.attestation.amd.report import read_report

        return _shelf(read_report(evidence.raw).chip_id)

    def authenticate(
        self, evidence: Evidence, endorsements: Endorsements, anchors: Anchors, now: datetime
    ) -> AuthenticReport:
        from sealmarket.attestation.amd.authenticate import authenticate

        return authenticate(evidence, endorsements, anchors, now)

    def findings(
        self, report: AuthenticReport, rules: Shape | None, allowed: Sequence[MeasurementTuple], now: datetime
    ) -> Iterator[Finding]:
        from sealmarket.attestation.amd.findings import findings

        del now
        return findings(report, _section(rules), allowed)

    def claims(self, evidence: Evidence) -> dict[str, Any]:
        from sealmarket.attestation.amd.authenticate import unverified_claims

        return unverified_claims(evidence)

    def explain(self, rules: Shape | None) -> Iterator[str]:
        return explain(_section(rules))

    def fetch_shared(self, get: Get, endpoints: Mapping[str, str]) -> Harvest:
        from sealmarket.attestation.amd.fetch import fetch_lists

        return fetch_lists(get, endpoints["amd"])

    def fetch_endorsements(self, evidence: Evidence, get: Get, endpoints: Mapping[str, str]) -> Harvest:
        from sealmarket.attestation.amd.fetch import fetch_endorsements
        from sealmarket.attestation.amd.report import read_report

        return fetch_endorsements(read_report(evidence.raw), get, endpoints["amd"])


def _shelf(chip: bytes) -> str:
    return f"snp-{chip.ljust(64, bytes(1)).hex()}" if any(chip) else ""


def _section(rules: Shape | None) -> SnpRules:
    if not isinstance(rules, SnpRules):
        raise TypeError(f"expected SnpRules, found {type(rules).__name__}")
    return rules
