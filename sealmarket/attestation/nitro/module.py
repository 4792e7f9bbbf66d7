"""AWS Nitro as a row of the registry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.findings import Finding
from sealmarket.attestation.core.model import AuthenticReport, MeasurementTuple
from sealmarket.attestation.core.tee import Anchors, TeeModule
from sealmarket.attestation.nitro.envelope import document_in_dstack, starts_document
from sealmarket.attestation.nitro.explain import explain
from sealmarket.attestation.nitro.measurement import NitroMeasurement
from sealmarket.attestation.nitro.rules import NitroRules
from sealmarket_enclave.protocol.codec import Shape
from sealmarket_enclave.protocol.numbers import Tee

AWS_ROOT_SPKI = bytes.fromhex("f2caf5ecc6190b4a8399b78bc58a2bbcd0382375db8a1bfd78a82743874fd225")
"""AWS Nitro Enclaves Root-G1, valid 2019-10-28 to 2049-10-28."""


class NitroModule(TeeModule):
    """Enclaves: attestation documents of the Nitro Secure Module."""

    tee = Tee.NITRO
    pins = frozenset({AWS_ROOT_SPKI})
    measurement = NitroMeasurement
    section = "nitro"
    without_policy = NitroRules(user_data="any", further_pcrs="any")
    oldest_without_policy = timedelta(hours=3)

    def recognises(self, data: bytes) -> bool:
        return starts_document(data)

    def unwrap(self, data: bytes) -> Evidence | None:
        document = document_in_dstack(data)
        return None if document is None else Evidence(tee=self.tee, raw=document, source="dstack")

    def authenticate(
        self, evidence: Evidence, endorsements: Endorsements, anchors: Anchors, now: datetime
    ) -> AuthenticReport:
        from sealmarket.attestation.nitro.authenticate import authenticate

        return authenticate(evidence, endorsements, anchors, now)

    def findings(
        self, report: AuthenticReport, rules: Shape | None, allowed: Sequence[MeasurementTuple], now: datetime
    ) -> Iterator[Finding]:
        from sealmarket.attestation.nitro.findings import findings

        del allowed, now
        return findings(report, _section(rules))

    def claims(self, evidence: Evidence) -> dict[str, Any]:
        from sealmarket.attestation.nitro.authenticate import unverified_claims

        return unverified_claims(evidence)

    def explain(self, rules: Shape | None) -> Iterator[str]:
        return explain(_section(rules))


def _section(rules: Shape | None) -> NitroRules:
    if not isinstance(rules, NitroRules):
        raise TypeError(f"expected NitroRules, found {type(rules).__name__}")
    return rules
