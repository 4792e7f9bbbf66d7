"""NVIDIA GPU and NVSwitch reports: authentic?

The steps of :func:`authenticate`, which stops at the first that fails:

1. The report follows its layout to the last byte (:mod:`sealmarket.attestation.nvidia.report`).
2. A chain of five certificates under the pinned device root (:mod:`sealmarket.attestation.nvidia.certificates`).
3. It is the chain of a GPU or switch, and the report is of that device: the same kind and chip, a switch's identity.
4. Every certificate is valid at ``now``.
5. What OCSP answers were supplied about them hold now, and say good (:mod:`sealmarket.attestation.nvidia.ocsp`).
   Whether they must be supplied is a rule.
6. The leaf's key signed the request and the response.
7. The firmware that the leaf's key belongs to (FWID) is the one that the report names, where it names one.
8. The manifests of exactly this driver and this VBIOS, where supplied: signed under the pinned manifest root, valid
   now, their signers good by the OCSP answers supplied. Whether they must be supplied, and what they say, are rules.

Report data is the nonce of the *request*, which the verifier chose, and 32 zero bytes. The nonce of the response is the
device's own. The platform is the device: its identity is the hash of the key of its boot ROM, which every firmware of
the device is certified with.

Checks considered and rejected: ``s <= n/2`` (the evidence's name is the digest of what was signed, so a re-encoding
gains nothing); the counts of measurements (MSRSCNT), for which NVIDIA publishes no reference; a debug field (reports
have none: other firmware has other measurements, which no manifest under NVIDIA's root lists).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from sealmarket.attestation.core.errors import EvidenceRefused, refuse
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.model import _MAKER, AuthenticReport, Platform, Tcb, TcbStatus
from sealmarket.attestation.core.pki import check_windows, seconds
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.core.tee import Anchors
from sealmarket.attestation.nvidia.certificates import DEVICE_LENGTH, Path, find_path, load_der, names_of, read_link
from sealmarket.attestation.nvidia.leaf import LEAF_SUFFIX, Device, read_device
from sealmarket.attestation.nvidia.measurement import NvidiaMeasurement
from sealmarket.attestation.nvidia.ocsp import Answers, by_serial, check_path, read_answer
from sealmarket.attestation.nvidia.pins import DEVICE_ROOT_SPKI
from sealmarket.attestation.nvidia.report import NvidiaReport, read_report, versions_of
from sealmarket.attestation.nvidia.rim import Manifest, ProvenManifest, prove_manifest, read_manifest
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import Tee

_ECDSA = ECDSA(SHA384())
_MAXIMUM_LEAVES, _MAXIMUM_DOCUMENTS = 16, 4096
"""A store of a fleet holds one answer for each device. Files of one verification are fewer (``Endorsements.read``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NvidiaBody:
    """What the appraisal of a report needs beyond the common report.

    ``manifests`` are the proven ones of its driver and VBIOS; ``offered`` names all that were supplied; ``unanswered``
    names the certificates that no OCSP answer is about.
    """

    report: NvidiaReport
    device: Device
    manifests: tuple[ProvenManifest, ...]
    offered: tuple[str, ...]
    unanswered: tuple[str, ...]

    def claims(self) -> Mapping[str, Any]:
        """The report's fields, the device's, and what was proven about both."""
        return {
            **self.report.claims(),
            "hwmodel": self.device.name,
            "ueid": str(self.device.ueid),
            "device_serial": self.device.serial.hex(),
            "leaf_fwid": self.device.fwid.hex(),
            "manifests": {proven.manifest.name: proven.fingerprint.hex() for proven in self.manifests},
            "revocation_unchecked": list(self.unanswered),
        }


def authenticate(evidence: Evidence, endorsements: Endorsements, anchors: Anchors, now: datetime) -> AuthenticReport:
    """Prove a report of a GPU or switch. See the module's steps.

    Raises:
        EvidenceRefused: the first step that failed, as a finding.
    """
    # 1. Layout.
    report = read_report(evidence.raw)
    # 2. Chain under the pinned device root.
    own = load_der(evidence.certificates)
    pool = (*own, *endorsements.certificates)
    leaf = _leaf(own or endorsements.certificates, report)
    path = find_path(leaf, pool, anchors, pin=DEVICE_ROOT_SPKI, length=DEVICE_LENGTH)
    # 3. Of this device.
    device = read_device(path)
    _check_device(report, device)
    # 4. Validity at this moment.
    check_windows(path.windows, seconds(now))
    # 5. Revocation. The leaf is firmware's, and has no responder.
    manifests, answers = _sort(endorsements.documents)
    unanswered = check_path(path.links[1:], answers, now)
    # 6. The report itself.
    if not _verifies(report, path.leaf.certificate):
        refuse(Reason.SIGNATURE_INVALID, f"a report signed by {path.leaf.name}", "a signature that does not verify")
    # 7. The leaf's firmware.
    fwid = report.opaque.fwid
    if fwid is not None and fwid != device.fwid:
        refuse(Reason.NVIDIA_FWID, f"a report of the leaf's firmware {device.fwid.hex()}", fwid.hex())
    # 8. The manifests of its driver and VBIOS.
    versions = versions_of(report)
    named = {raw: read_manifest(raw) for raw in manifests}
    proven = tuple(_proven_of(version, named, device, anchors, now) for version in versions)
    for one in proven:
        unanswered += check_path(one.links, answers, now) if one else ()
    body = NvidiaBody(
        report=report,
        device=device,
        manifests=tuple(one for one in proven if one),
        offered=tuple(sorted({manifest.name for manifest in named.values()})),
        unanswered=unanswered,
    )
    return _authentic(body, path, now)


def unverified_claims(evidence: Evidence) -> dict[str, Any]:
    """What a report says of itself, without any proof; for looking at evidence only.

    Raises:
        EvidenceRefused: not the layout of a report.
    """
    report = read_report(evidence.raw)
    certificates = [names_of(certificate).common for certificate in load_der(evidence.certificates)]
    return {**report.claims(), "report_data": report.nonce.ljust(64, b"\0").hex(), "certificates": certificates}


def _leaf(certificates: Sequence[x509.Certificate], report: NvidiaReport) -> x509.Certificate:
    """The leaf to prove, by name; of several the one whose key signed the report, if any did."""
    leaves = [one for one in certificates if names_of(one).common.endswith(LEAF_SUFFIX)][:_MAXIMUM_LEAVES]
    if not leaves:
        refuse(Reason.ENDORSEMENT_MISSING, f"the certificate of the report's key, *{LEAF_SUFFIX}", "none")
    if len(leaves) == 1:
        return leaves[0]
    return next((leaf for leaf in leaves if _verifies(report, leaf)), leaves[0])


def _verifies(report: NvidiaReport, leaf: x509.Certificate) -> bool:
    try:
        key = read_link(leaf).key
    except EvidenceRefused:
        return False
    try:
        key.verify(encode_dss_signature(report.r, report.s), report.signed, _ECDSA)
    except InvalidSignature:
        return False
    return True


def _check_device(report: NvidiaReport, device: Device) -> None:
    opaque = report.opaque
    if opaque.is_switch != device.is_switch:
        found = f"the report of a {'switch' if opaque.is_switch else 'GPU'}"
        refuse(Reason.NVIDIA_DEVICE, f"the report of a {device.generation} device, as its chain says", found)
    if opaque.chip not in ("", device.name):
        refuse(Reason.NVIDIA_DEVICE, f"a report of chip {device.name}, as its chain says", opaque.chip)
    if opaque.pdi is not None and opaque.pdi != device.pdi:
        refuse(Reason.NVIDIA_DEVICE, "a report of the switch that its chain names", opaque.pdi.hex())


def _sort(documents: Sequence[bytes]) -> tuple[list[bytes], Answers]:
    """Manifests and OCSP answers, by their first byte."""
    if len(documents) > _MAXIMUM_DOCUMENTS:
        refuse(Reason.ENDORSEMENT_MALFORMED, f"at most {_MAXIMUM_DOCUMENTS} manifests and answers", len(documents))
    manifests = [raw for raw in documents if raw.startswith(b"<")]
    return manifests, by_serial(read_answer(raw) for raw in documents if raw.startswith(b"\x30"))


def _proven_of(
    version: str, named: Mapping[bytes, Manifest], device: Device, anchors: Anchors, now: datetime
) -> ProvenManifest | None:
    """The manifest of this driver or VBIOS that holds now; None where none of it was supplied."""
    edition = "SWITCH" if device.is_switch else "GPU"
    wanted = (device.name, edition, version)
    refusal: EvidenceRefused | None = None
    for raw, manifest in named.items():
        if (manifest.product, manifest.edition, manifest.version) != wanted:
            continue
        try:
            proven = prove_manifest(raw, anchors)
            check_windows(proven.windows, seconds(now))
        except EvidenceRefused as error:
            refusal = refusal or error
        else:
            return proven
    if refusal is not None:
        raise refusal
    return None


def _authentic(body: NvidiaBody, path: Path, now: datetime) -> AuthenticReport:
    opaque = body.report.opaque
    windows = [window for proven in body.manifests for window in proven.windows]
    ends = [window.end for window in (*path.windows, *windows)]
    return AuthenticReport(
        maker=_MAKER,
        tee=Tee.NVIDIA,
        grade=min([path.grade, *(proven.path.grade for proven in body.manifests)]),
        measurement=NvidiaMeasurement(device=body.device.name, driver=opaque.driver, vbios=opaque.vbios),
        report_data=body.report.nonce.ljust(64, b"\0"),
        evidence_digest=Bytes32(sha256(body.report.signed).digest()),
        tcb=Tcb(status=TcbStatus.NOT_RATED, expires=datetime.fromtimestamp(min(ends), UTC)),
        platform=Platform(identity=body.device.identity, generation=body.device.generation),
        debug=False,
        body=body,
        authenticated_at=now,
    )
