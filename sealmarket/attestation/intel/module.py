"""SGX and TDX as rows of the registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, ClassVar

from sealmarket.attestation.core.collateral import Collateral, Entry, PlatformKind
from sealmarket.attestation.core.errors import CollateralError
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.findings import Finding
from sealmarket.attestation.core.model import AuthenticReport, MeasurementTuple
from sealmarket.attestation.core.tee import Anchors, ForeignClaims, Get, Harvest, Issued, TeeModule
from sealmarket.attestation.intel.collateral import IntelCollateral
from sealmarket.attestation.intel.explain import explain_platform, explain_td
from sealmarket.attestation.intel.measurement import SgxMeasurement, TdxMeasurement
from sealmarket.attestation.intel.rules import IntelRules
from sealmarket_enclave.protocol.codec import Shape
from sealmarket_enclave.protocol.numbers import Tee

INTEL_ROOT_SPKI = bytes.fromhex("a0af031289f5d5d4132f9186068a7fc13628633ba235777472e29b6b6c67a49e")
"""Intel SGX Root CA, valid 2018-05-21 to 2049-12-31."""

_TDX_TYPE = 0x81


def tee_type(data: bytes) -> int | None:
    """The TEE type in the header of a quote v3, v4 or v5 with an ECDSA key; None for other bytes."""
    if len(data) >= 8 and data[0] in (3, 4, 5) and data[1] == 0 and data[2] in (2, 3) and data[3] == 0:
        return int.from_bytes(data[4:8], "little")
    return None


SGX_FOREIGN = ForeignClaims(
    kinds=frozenset({"sgx"}),
    prefixes=("x-ms-sgx-", "sgx-"),
    measured=MappingProxyType(
        {"mrenclave": "mr_enclave", "mrsigner": "mr_signer", "product-id": "isv_prod_id", "svn": "isv_svn"}
    ),
)
TDX_FOREIGN = ForeignClaims(
    kinds=frozenset({"tdxvm", "GCP_INTEL_TDX"}),
    prefixes=("x-ms-isolation-tee.tdx_", "tdx_", "tdx."),
    measured=MappingProxyType(
        {
            **{name: name for name in ("rtmr0", "rtmr1", "rtmr2", "rtmr3", "td_attributes", "xfam")},
            "mrtd": "mr_td",
            "mrconfigid": "mr_config_id",
            "mrowner": "mr_owner",
            "mrownerconfig": "mr_owner_config",
        }
    ),
    statuses=frozenset({"attester_tcb_status", "gcp_attester_tcb_status"}),
)
"""As Microsoft Azure Attestation and Google's Confidential Space name them."""


class _IntelModule(TeeModule):
    """What SGX and TDX share."""

    pins = frozenset({INTEL_ROOT_SPKI})
    section = "intel"
    issues_by_kind = True
    endpoints = MappingProxyType(
        {
            "intel": "https://api.trustedservices.intel.com",
            "intel_root_crl": "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der",
        }
    )

    def authenticate(
        self, evidence: Evidence, endorsements: Endorsements, anchors: Anchors, now: datetime
    ) -> AuthenticReport:
        from sealmarket.attestation.intel.authenticate import authenticate

        return authenticate(evidence, endorsements, anchors, now)

    def findings(
        self, report: AuthenticReport, rules: Shape | None, allowed: Sequence[MeasurementTuple], now: datetime
    ) -> Iterator[Finding]:
        from sealmarket.attestation.intel.findings import findings

        del allowed
        return findings(report, _section(rules), now)

    def claims(self, evidence: Evidence) -> dict[str, Any]:
        from sealmarket.attestation.intel.quote import read_quote

        quote = read_quote(evidence.raw)
        return {**quote.body.claims(), "report_data": quote.body.report_data.hex(), "quote_version": quote.version}

    def explain(self, rules: Shape | None) -> Iterator[str]:
        return explain_platform(_section(rules))

    def read_endorsements(self, raw: bytes) -> Endorsements:
        return Endorsements(collateral=IntelCollateral.from_json(raw))

    def issued(self, endorsements: Endorsements) -> Issued:
        from sealmarket.attestation.intel.platform import issued

        collateral = endorsements.collateral
        return issued(collateral) if isinstance(collateral, IntelCollateral) else Issued(None, None)

    def platform_kind(self, evidence: Evidence) -> PlatformKind | None:
        from sealmarket.attestation.intel.platform import platform_kind

        return platform_kind(evidence)

    def describe(self, collateral: Collateral, anchors: Anchors) -> Entry:
        from sealmarket.attestation.intel.platform import describe

        if not isinstance(collateral, IntelCollateral):
            raise CollateralError(f"expected Intel collateral, found {type(collateral).__name__}")
        return describe(collateral, anchors)

    def renewed(self, shown: Endorsements, own: Collateral) -> Endorsements:
        from sealmarket.attestation.intel.platform import renewed

        return replace(shown, collateral=renewed(shown.collateral, own))

    def with_list(self, collateral: Collateral, other: Collateral, place: int) -> Collateral:
        from sealmarket.attestation.intel.platform import with_list

        return with_list(collateral, other, place)

    def fetch_collateral(self, kind: PlatformKind, get: Get, endpoints: Mapping[str, str]) -> Collateral:
        from sealmarket.attestation.intel.fetch import fetch_collateral

        return fetch_collateral(kind, get, endpoints)

    def fetch_endorsements(self, evidence: Evidence, get: Get, endpoints: Mapping[str, str]) -> Harvest:
        from sealmarket.attestation.intel.platform import platform_kind

        return Harvest(Endorsements(collateral=self.fetch_collateral(platform_kind(evidence), get, endpoints)))


class SgxModule(_IntelModule):
    """Enclaves: quotes v3."""

    tee: ClassVar[Tee] = Tee.SGX
    foreign = SGX_FOREIGN
    measurement = SgxMeasurement

    def recognises(self, data: bytes) -> bool:
        kind = tee_type(data)
        return kind == 0 or (kind is not None and kind != _TDX_TYPE and data[0] == 3)


class TdxModule(_IntelModule):
    """Trust domains: quotes v4 and v5."""

    tee: ClassVar[Tee] = Tee.TDX
    foreign = TDX_FOREIGN
    tsm_provider = "tdx_guest"
    measurement = TdxMeasurement

    def recognises(self, data: bytes) -> bool:
        return tee_type(data) == _TDX_TYPE

    def explain(self, rules: Shape | None) -> Iterator[str]:
        yield from explain_platform(_section(rules))
        yield from explain_td(_section(rules))


def _section(rules: Shape | None) -> IntelRules:
    if not isinstance(rules, IntelRules):
        raise TypeError(f"expected IntelRules, found {type(rules).__name__}")
    return rules
