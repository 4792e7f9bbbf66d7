"""NVIDIA GPUs and NVSwitch as a row of the registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from cryptography import x509

from sealmarket.attestation.core.errors import CollateralError, EvidenceRefused
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.findings import Finding
from sealmarket.attestation.core.model import AuthenticReport, MeasurementTuple
from sealmarket.attestation.core.tee import Anchors, DocumentName, Get, Harvest, TeeModule
from sealmarket.attestation.nvidia.explain import explain
from sealmarket.attestation.nvidia.measurement import NvidiaMeasurement
from sealmarket.attestation.nvidia.pins import DEVICE_ROOT_SPKI, RIM_ROOT_SPKI
from sealmarket.attestation.nvidia.rules import NvidiaRules
from sealmarket_enclave.protocol.codec import Shape
from sealmarket_enclave.protocol.numbers import Tee

_REQUEST, _RESPONSE, _RESPONSE_AT = b"\x11\xe0", b"\x11\x60", 37


class NvidiaModule(TeeModule):
    """GPUs and switches: SPDM measurement reports. They are devices: alone they protect no memory of a CPU."""

    tee = Tee.NVIDIA
    pins = frozenset({DEVICE_ROOT_SPKI, RIM_ROOT_SPKI})
    measurement = NvidiaMeasurement
    section = "nvidia"
    without_policy = NvidiaRules(modes=("spt", "mpt", "ppcie"), manifests="warn", ocsp="warn")
    is_device = True
    endpoints = MappingProxyType(
        {"nvidia_rim": "https://rim.attestation.nvidia.com", "nvidia_ocsp": "https://ocsp.ndis.nvidia.com"}
    )

    def recognises(self, data: bytes) -> bool:
        return data[:2] == _REQUEST and data[_RESPONSE_AT : _RESPONSE_AT + 2] == _RESPONSE

    def authenticate(
        self, evidence: Evidence, endorsements: Endorsements, anchors: Anchors, now: datetime
    ) -> AuthenticReport:
        from sealmarket.attestation.nvidia.authenticate import authenticate

        return authenticate(evidence, endorsements, anchors, now)

    def findings(
        self, report: AuthenticReport, rules: Shape | None, allowed: Sequence[MeasurementTuple], now: datetime
    ) -> Iterator[Finding]:
        from sealmarket.attestation.nvidia.findings import findings

        del allowed, now
        return findings(report, _section(rules))

    def beside(self, devices: Sequence[AuthenticReport], rules: Shape | None) -> Iterator[Finding]:
        own = _section(rules)
        if not devices and not own.gpus:
            return iter(())  # a verifier of CPUs loads no reader of manifests
        from sealmarket.attestation.nvidia.topology import findings

        return findings(devices, own)

    def claims(self, evidence: Evidence) -> dict[str, Any]:
        from sealmarket.attestation.nvidia.authenticate import unverified_claims

        return unverified_claims(evidence)

    def read_files(self, files: Iterable[bytes]) -> Endorsements:
        from sealmarket.attestation.nvidia.documents import read_files

        return read_files(files)

    def document_name(self, raw: bytes) -> DocumentName:
        from sealmarket.attestation.nvidia.documents import document_name

        return document_name(raw)

    def documents_for(
        self, evidence: Evidence, certificates: Sequence[x509.Certificate], held: Callable[[str], tuple[bytes, ...]]
    ) -> tuple[bytes, ...]:
        from sealmarket.attestation.nvidia.documents import documents_for

        return documents_for(evidence, certificates, held)

    def fetch_endorsements(self, evidence: Evidence, get: Get, endpoints: Mapping[str, str]) -> Harvest:
        from sealmarket.attestation.nvidia.fetch import fetch_endorsements

        try:
            return fetch_endorsements(evidence, get, endpoints)
        except EvidenceRefused as refusal:
            raise CollateralError(str(refusal)) from refusal

    def explain(self, rules: Shape | None) -> Iterator[str]:
        return explain(_section(rules))


def _section(rules: Shape | None) -> NvidiaRules:
    if not isinstance(rules, NvidiaRules):
        raise TypeError(f"expected NvidiaRules, found {type(rules).__name__}")
    return rules
