"""The manifests of a device's driver and VBIOS, and the OCSP answers about its certificates and their signers.

NVIDIA serves manifests by name, as base64 in JSON, and answers OCSP requests (RFC 6960, A.1) by POST. Both arrive
unproven: a server can withhold, never forge.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from sealmarket.attestation.core.errors import CollateralError, EvidenceRefused
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.tee import Get, Harvest
from sealmarket.attestation.core.unreadable import NOT_JSON
from sealmarket.attestation.nvidia.certificates import load_der, names_of
from sealmarket.attestation.nvidia.leaf import LEAF_SUFFIX
from sealmarket.attestation.nvidia.ocsp import read_answer
from sealmarket.attestation.nvidia.opaque import Opaque
from sealmarket.attestation.nvidia.report import read_report
from sealmarket.attestation.nvidia.rim import certificates_of
from sealmarket_enclave.protocol.codec import parse_json

T = TypeVar("T")
OCSP_REQUEST = "application/ocsp-request"
_LS10_BOARD = "5612_0002_890"
"""Project, project SKU and chip SKU of the one NVSwitch that reports: its report does not name them."""


def fetch_endorsements(evidence: Evidence, get: Get, endpoints: Mapping[str, str]) -> Harvest:
    """Manifests, and an answer about each certificate of the device and of their signers, as far as they come.

    Raises:
        CollateralError: evidence without its chain.
        EvidenceRefused: the evidence cannot be read.
    """
    report = read_report(evidence.raw)
    chain = _chain(load_der(evidence.certificates))
    problems: list[CollateralError] = []
    manifests = [
        manifest
        for name in manifest_names(report.opaque, chain)
        for manifest in _asked(partial(_manifest, name, get, endpoints["nvidia_rim"]), problems)
    ]
    # The leaf is firmware's, and has no responder.
    paths = [chain[1:], *(path for raw in manifests for path in _asked(partial(_signers, raw), problems))]
    requests = {_request(subject, issuer): None for path in paths for subject, issuer in pairwise(path)}
    answers = [
        answer
        for request in requests
        for answer in _asked(partial(_answer, request, get, endpoints["nvidia_ocsp"]), problems)
    ]
    return Harvest(Endorsements(documents=(*manifests, *answers)), tuple(problems))


def _asked(ask: Callable[[], T], problems: list[CollateralError]) -> tuple[T, ...]:
    """What was asked for, or nothing and a problem more."""
    try:
        return (ask(),)
    except CollateralError as error:
        problems.append(error)
    except EvidenceRefused as refusal:
        problems.append(CollateralError(str(refusal)))
    return ()


def _signers(manifest: bytes) -> list[x509.Certificate]:
    return _chain(load_der(certificates_of(manifest)))


def _answer(request: bytes, get: Get, server: str) -> bytes:
    return read_answer(get(server, {}, request, OCSP_REQUEST).content).raw


def manifest_names(opaque: Opaque, chain: Sequence[x509.Certificate]) -> tuple[str, ...]:
    """The names under which NVIDIA serves the manifests of this driver and VBIOS."""
    vbios = opaque.vbios.replace(".", "").upper()
    if opaque.is_switch:
        return (f"NV_SWITCH_BIOS_{_LS10_BOARD}_{vbios}",)
    chip = opaque.chip or names_of(chain[0]).common.split(" ")[0]
    driver = f"NV_GPU_DRIVER_{chip}" if chip.startswith("GH") else f"NV_GPU_CC_DRIVER_{chip}"
    return (f"{driver}_{opaque.driver}", f"NV_GPU_VBIOS_{'_'.join(opaque.project)}_{vbios}")


def _manifest(name: str, get: Get, server: str) -> bytes:
    answer = get(f"{server}/v1/rim/{name}", {}).content
    try:
        document: Any = parse_json(answer)
        return base64.b64decode(document["rim"], validate=True)
    except (*NOT_JSON, KeyError, TypeError, ValueError, binascii.Error) as error:
        raise CollateralError(f"expected the manifest {name} in JSON, found {answer[:40]!r}") from error


def _chain(certificates: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """From the leaf to the root, by names alone; nothing is proven."""
    names = [names_of(certificate) for certificate in certificates]
    issuers = {name.issuer for name in names if name.issuer != name.subject}
    leaves = [
        certificate
        for certificate, name in zip(certificates, names, strict=True)
        if name.subject not in issuers or name.common.endswith(LEAF_SUFFIX)
    ]
    if not leaves:
        raise CollateralError("the evidence has no certificate chain", remedy="pass it with its certificate")
    return list(_upwards(leaves[0], certificates))


def _upwards(leaf: x509.Certificate, certificates: Sequence[x509.Certificate]) -> Iterator[x509.Certificate]:
    by_name = {names_of(certificate).subject: certificate for certificate in certificates}
    current: x509.Certificate | None = leaf
    for _ in certificates:
        if current is None:
            return
        yield current
        following = by_name.get(names_of(current).issuer)
        current = following if following is not current else None


def _request(subject: x509.Certificate, issuer: x509.Certificate) -> bytes:
    request = ocsp.OCSPRequestBuilder().add_certificate(subject, issuer, SHA384()).build()
    return request.public_bytes(Encoding.DER)
