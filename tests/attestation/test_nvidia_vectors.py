"""Evidence from NVIDIA hardware gives the result that its manifest expects; the whole manifest is covered."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from sealmarket.attestation.amd.measurement import SnpMeasurement
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.composite import parse_any
from sealmarket.attestation.core.errors import EvidenceRefused, NotEvidence
from sealmarket.attestation.core.evidence import CompositeEvidence, Endorsements, Evidence
from sealmarket.attestation.core.model import AppraisalResult, AuthenticReport, Bytes8, CompositeResult
from sealmarket.attestation.core.pki import spki_sha256
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.nvidia.authenticate import NvidiaBody
from sealmarket.attestation.nvidia.documents import read_document, read_files
from sealmarket.attestation.nvidia.ocsp import by_serial, check_path, read_answer
from sealmarket.attestation.nvidia.pins import DEVICE_ROOT_SPKI, RIM_ROOT_SPKI
from sealmarket.attestation.nvidia.rim import prove_manifest, read_payload
from sealmarket.attestation.nvidia.rules import NvidiaRules
from sealmarket.attestation.parse import parse
from sealmarket.attestation.policy.composite import verify_composite
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.attestation.policy.verify import UNCHECKED, Expected, appraise, authenticate, verify
from sealmarket_enclave.protocol.codec import Bytes32, Bytes48
from sealmarket_enclave.protocol.numbers import Grade, Tee
from tests.vectors import manifest, vector

CPU = SnpMeasurement(launch_digest=Bytes48(bytes(48)), policy=Bytes8(bytes(8)), host_data=Bytes32(bytes(32)), vmpl=0)
ENTRIES = [entry for entry in manifest() if entry["tee"] == "nvidia"]
PRODUCTION = TrustAnchors.production()
RIMS_HOLD = datetime(2025, 11, 1, tzinfo=UTC)
"""When the signers of the manifests of driver 550.90.07 and its VBIOS are valid."""
OCSP_OF_DEVICE = datetime(2025, 8, 21, 12, tzinfo=UTC)
OCSP_OF_RIMS = datetime(2025, 10, 24, 18, tzinfo=UTC)
LONG_AFTER = datetime(2026, 11, 1, tzinfo=UTC)

GOLDEN = "nvidia/trustee-h100-550.90.07.report.bin"
OLD = "nvidia/attestation-sdk-h100-535.report.bin"
SDK, GO = "nvidia/attestation-sdk-rimsdk-", "nvidia/go-nvattest-tools-rim-"
GOLDEN_RIMS = (GO + "NV_GPU_DRIVER_GH100_550.90.07.xml", GO + "NV_GPU_VBIOS_1010_0200_882_96009F0001.xml")
OLD_VBIOS = SDK + "NV_GPU_VBIOS_1010_0200_882_96005E0001_measurement_mismatch.xml"
MPT, PPCIE = "nvidia/go-nvattest-tools-test_mpt_data.json", "nvidia/go-nvattest-tools-test_ppcie_data.json"
MULTI = "nvidia/attestation-sdk-multi_gpu_hopper.json"

# What stands between a report with its chain alone and acceptance by the built-in strict rules.
NOT_AUTHENTIC = {
    "nvidia/attestation-sdk-h100-560-badsig.report.bin": Reason.SIGNATURE_INVALID,
    "nvidia/trustee-h100-coco-580.report.bin": Reason.TRAILING_BYTES,
}
REFUSED = {OLD: [Reason.NVIDIA_FWID_MISSING]}

RIM_REASONS = {
    SDK + "incorrect_cert_chain_driver_rim.xml": Reason.ENDORSEMENT_MISSING,
    SDK + "incorrect_signature_driver_rim.xml": Reason.NVIDIA_RIM_SIGNATURE,
    SDK + "NV_GPU_DRIVER_GH100_535.86.09_measurement_mismatch.xml": Reason.NVIDIA_RIM_SIGNATURE,
    SDK + "NV_GPU_DRIVER_GH100_570.124.03_expired.xml": Reason.NVIDIA_RIM_SIGNATURE,
    SDK + "NV_SWITCH_BIOS_5612_0002_890_9610550001_invalid_signature.xml": Reason.NVIDIA_RIM_SIGNATURE,
    SDK + "NV_SWITCH_BIOS_5612_0002_890_9610550001_measurement_mismatch.xml": Reason.NVIDIA_RIM_SIGNATURE,
    GO + "valid_signed_xml.xml": Reason.CHAIN_INVALID,
}
RIM_HOLDS = {
    SDK + "NV_GPU_DRIVER_GH100_550.144.03.xml": ("GH100", "550.144.03", 21),
    SDK + "switchVBIOSRim_NV_SWITCH_BIOS_5612_0002_890_9610550001.xml": ("LS10", "96.10.55.00.01", 31),
    OLD_VBIOS: ("GH100", "96.00.5E.00.01", 12),
    GOLDEN_RIMS[0]: ("GH100", "550.90.07", 21),
    GOLDEN_RIMS[1]: ("GH100", "96.00.9F.00.01", 12),
    GO + "success_valid_rim.xml": ("GH100", "96.00.6D.00.29", 12),
}
PAYLOADS_REFUSED = ("duplicate_index", "empty_payload", "hash_empty_namespace", "no_payload")
SAMPLES = {"multiple_alternatives": {1: 1, 13: 4}}


def of_role(role: str) -> list[Any]:
    return [pytest.param(entry, id=entry["file"]) for entry in ENTRIES if entry["role"] == role]


def entry_of(file: str) -> dict[str, Any]:
    for entry in ENTRIES:
        if entry["file"] == file:
            return entry
    pytest.skip("no evidence from hardware here")


def read(*files: str) -> Endorsements:
    return read_files([vector(file) for file in files])


def judge(file: str, *documents: str, nonce: str | None = None, now: datetime = RIMS_HOLD) -> AppraisalResult:
    """The result by the built-in rules on a report with its chain and further files."""
    entry = entry_of(file)
    expected = Expected(report_data=bytes.fromhex(nonce).ljust(64, b"\0") if nonce else UNCHECKED)
    return verify(parse(vector(file), Tee.NVIDIA), read(entry["chain"], *documents), PRODUCTION, now, expected)


def pickled(file: str) -> tuple[list[Evidence], list[Evidence]]:
    """GPUs and switches of a file that another verifier's tests keep."""
    document = json.loads(vector(file))

    def chain(entries: list[dict[str, str]]) -> tuple[bytes, ...]:
        pem = b"\n".join(base64.b64decode(entry["pem"]) for entry in entries)
        return tuple(c.public_bytes(Encoding.DER) for c in x509.load_pem_x509_certificates(pem))

    gpus = [
        Evidence(
            tee=Tee.NVIDIA,
            raw=base64.b64decode(gpu["AttestationReport"]["py/b64"]),
            certificates=chain(gpu["CertificateChains"]["GpuAttestationCertificateChain"]),
        )
        for gpu in document["gpus"]
    ]
    switches = [
        Evidence(
            tee=Tee.NVIDIA,
            raw=base64.b64decode(switch["attestation_report"]["py/b64"]),
            certificates=chain(switch["attestation_cert_chain"]),
        )
        for switch in document.get("nvswitches", [])
    ]
    return gpus, switches


def together(*devices: Evidence) -> CompositeResult:
    """The result by the built-in rules on devices without a CPU."""
    evidence = CompositeEvidence(cpu=None, binding=None, devices=devices)
    expected = Expected(report_data=UNCHECKED)
    return verify_composite(evidence, lambda _: Endorsements(), PRODUCTION, RIMS_HOLD, expected)


# Refusals.


@pytest.mark.parametrize("entry", of_role("negative"))
def test_a_truncated_chain_is_refused(entry: dict[str, Any]) -> None:
    for file in (GOLDEN, OLD):
        evidence = parse(vector(file))
        with pytest.raises(EvidenceRefused) as caught:
            authenticate(evidence, read(entry["file"]), PRODUCTION, RIMS_HOLD)
        assert caught.value.finding.reason is Reason.ENDORSEMENT_MISSING


@pytest.mark.parametrize("entry", [e for e in of_role("rim") if "failure_" in e.id or e.id in RIM_REASONS])
def test_a_manifest_that_must_be_refused_is_refused(entry: dict[str, Any]) -> None:
    with pytest.raises(EvidenceRefused) as caught:
        prove_manifest(vector(entry["file"]), PRODUCTION)
    expected = RIM_REASONS.get(entry["file"], Reason.NVIDIA_RIM_MALFORMED)
    assert caught.value.finding.reason is expected


@pytest.mark.parametrize("entry", [e for e in of_role("rim") if "failure_" in e.id])
def test_a_payload_that_must_be_refused_is_refused_for_itself(entry: dict[str, Any]) -> None:
    root = etree.fromstring(vector(entry["file"]))
    if "SoftwareIdentity" not in root.tag or root.find("{*}Payload") is None:
        pytest.skip("it has no payload to refuse")
    with pytest.raises(EvidenceRefused) as caught:
        read_payload(root)
    assert caught.value.finding.reason is Reason.NVIDIA_RIM_MALFORMED


def test_genuine_evidence_whose_measurements_differ_from_the_manifest_is_refused() -> None:
    result = judge(OLD, OLD_VBIOS)
    assert Reason.NVIDIA_MEASUREMENT in result.reasons


def test_the_manifest_of_another_driver_is_named_where_it_is_refused() -> None:
    result = judge(GOLDEN, SDK + "NV_GPU_DRIVER_GH100_550.144.03.xml")
    found = [warning.found for warning in result.warnings if warning.reason is Reason.NVIDIA_RIM_VERSION]
    assert found == ["GH100 550.144.03"] * 2


def test_a_manifest_whose_signer_expired_is_refused() -> None:
    result = judge(GOLDEN, *GOLDEN_RIMS, now=LONG_AFTER)
    assert result.reasons == (Reason.ENDORSEMENT_EXPIRED,)


def test_another_nonce_is_refused_and_the_devices_own_does_not_count() -> None:
    entry = entry_of(GOLDEN)
    raw = vector(GOLDEN)
    own = raw[-96 - 2 - 422 - 32 : -96 - 2 - 422].hex()
    assert judge(GOLDEN, nonce=entry["nonce"]).accepted
    for nonce in (own, "00" * 32, entry["nonce"][:32]):
        assert judge(GOLDEN, nonce=nonce).reasons == (Reason.REPORT_DATA_MISMATCH,)


def test_an_old_answer_of_the_responder_is_refused() -> None:
    answers = [e.values[0]["file"] for e in of_role("ocsp")]
    assert judge(GOLDEN, *answers).reasons == (Reason.NVIDIA_OCSP_INVALID,)


def test_gpus_in_protected_pcie_without_their_switches_are_refused() -> None:
    evidence = parse_any(vector(MULTI))
    assert isinstance(evidence, CompositeEvidence)
    result = together(*evidence.devices)
    assert all(part.authentic for part in result.parts.values())
    assert set(result.reasons) == {Reason.NVIDIA_TOPOLOGY}


def test_a_switch_twice_and_a_switch_too_few_are_refused() -> None:
    gpus, switches = pickled(PPCIE)
    assert Reason.PLATFORM_DUPLICATE in together(*gpus, *switches, switches[0]).reasons
    assert together(*gpus, *switches[1:]).reasons == (Reason.NVIDIA_TOPOLOGY,)
    stranger = parse(vector("nvidia/attestation-sdk-switch_evidence_ls10.json"))
    assert together(*gpus, *switches, stranger).reasons == (Reason.NVIDIA_TOPOLOGY,)


def test_a_genuine_gpu_alone_is_refused_under_a_policy() -> None:
    entry = entry_of(GOLDEN)
    report = authenticate(parse(vector(GOLDEN)), read(entry["chain"], *GOLDEN_RIMS), PRODUCTION, RIMS_HOLD)
    rules = AppraisalPolicy(measurements=(report.measurement, CPU), platforms="any", nvidia=NvidiaRules(ocsp="warn"))
    result = appraise(report, rules, RIMS_HOLD, Expected(report_data=report.report_data))
    assert result.reasons == (Reason.DEVICE_UNBOUND,)


# Accepted.


def body_of(report: AuthenticReport | None) -> NvidiaBody:
    assert report is not None
    assert isinstance(report.body, NvidiaBody)
    return report.body


@pytest.mark.parametrize("entry", of_role("evidence"))
def test_evidence_gives_the_expected_result(entry: dict[str, Any]) -> None:
    file = entry["file"]
    result = judge(file, nonce=entry["nonce"])
    if file in NOT_AUTHENTIC:
        assert (result.authentic, result.reasons) == (False, (NOT_AUTHENTIC[file],))
        return
    assert (result.authentic, result.grade) == (True, Grade.HARDWARE)
    assert list(result.reasons) == REFUSED.get(file, [])
    assert body_of(result.report).report.opaque.driver == entry["driver"]


def test_all_measurements_of_a_genuine_gpu_are_those_of_its_manifests() -> None:
    result = judge(GOLDEN, *GOLDEN_RIMS)
    assert result.accepted
    manifests = body_of(result.report).manifests
    assert sum(len(proven.manifest.values) for proven in manifests) == 33
    assert [w.reason for w in result.warnings] == [Reason.NVIDIA_OCSP_MISSING]


def test_the_responders_answers_about_a_genuine_gpu_and_its_manifests_are_good() -> None:
    devices = [e.values[0]["file"] for e in of_role("ocsp") if "gpu_certificate" in e.id]
    signers = [e.values[0]["file"] for e in of_role("ocsp") if "gpu_certificate" not in e.id]
    of_device = judge(GOLDEN, *devices, now=OCSP_OF_DEVICE)
    assert of_device.accepted
    assert body_of(of_device.report).unanswered == ()
    answers = by_serial(read_answer(read_document(vector(file)) or b"") for file in signers)
    for file in GOLDEN_RIMS:
        assert check_path(prove_manifest(vector(file), PRODUCTION).links, answers, OCSP_OF_RIMS) == ()


@pytest.mark.parametrize("file", RIM_HOLDS)
def test_a_genuine_manifest_is_proven(file: str) -> None:
    found = prove_manifest(vector(file), PRODUCTION).manifest
    assert (found.product, found.version, len(found.values)) == RIM_HOLDS[file]


@pytest.mark.parametrize(
    ("name", "alternatives"),
    [("multiple_alternatives", {1: 1, 13: 4}), ("multiple_measurements", None), ("single_measurement", {1: 1})],
)
def test_a_sample_of_a_payload_is_read_or_refused_as_a_manifest_is(name: str, alternatives: Any) -> None:
    """The samples are unsigned; one of them carries texts in place of hashes, which no manifest does."""
    raw = vector(f"{GO}success_payload_{name}.xml")
    if alternatives is None:
        with pytest.raises(EvidenceRefused, match="SHA-384 hash"):
            read_payload(etree.fromstring(raw))
    else:
        found = read_payload(etree.fromstring(raw))
        assert {index: len(values) for index, values in found.items()} == alternatives
    with pytest.raises(EvidenceRefused):
        prove_manifest(raw, PRODUCTION)


@pytest.mark.parametrize(
    ("file", "generation", "mode"),
    [
        ("nvidia/attestation-sdk-hopper_evidence.json", "Hopper", "ppcie"),
        ("nvidia/services-blackwell-evidence.json", "Blackwell", "mpt"),
        ("nvidia/attestation-sdk-switch_evidence_ls10.json", "NVSwitch", None),
    ],
)
def test_the_sdks_file_of_one_device_is_read(file: str, generation: str, mode: str | None) -> None:
    nonce = bytes.fromhex(json.loads(vector(file))[0]["nonce"]).ljust(64, b"\0")
    evidence = parse_any(vector(file))
    assert isinstance(evidence, Evidence)
    result = verify(evidence, Endorsements(), PRODUCTION, RIMS_HOLD, Expected(report_data=nonce))
    assert (result.accepted, result.grade) == (True, Grade.HARDWARE)
    assert result.report is not None
    assert (result.report.platform.generation, result.claims["mode"]) == (generation, mode)


def test_the_eight_gpus_of_a_blackwell_machine_are_accepted_together() -> None:
    gpus, _ = pickled(MPT)
    result = together(*gpus)
    assert (result.accepted, len(result.parts)) == (True, 8)


def test_the_gpus_of_a_hopper_machine_are_accepted_with_their_four_switches() -> None:
    gpus, switches = pickled(PPCIE)
    result = together(*gpus, *switches)
    assert (result.accepted, len(result.parts)) == (True, 12)


def test_the_ueid_is_what_nvidias_own_verifier_prints() -> None:
    claims = json.loads(vector("nvidia/attestation-sdk-hopperClaimsv3_decoded.json"))["GPU-0"]
    result = judge(GOLDEN)
    assert claims["x-nvidia-gpu-driver-version"] == result.claims["driver"]
    assert claims["eat_nonce"] == result.claims["nonce"]
    assert claims["hwmodel"].startswith(result.claims["hwmodel"])
    assert claims["ueid"] == result.claims["ueid"]


@pytest.mark.parametrize("entry", of_role("root"))
def test_the_pins_are_those_of_nvidias_roots(entry: dict[str, Any]) -> None:
    root = x509.load_pem_x509_certificate(vector(entry["file"]))
    assert spki_sha256(root) == (RIM_ROOT_SPKI if "rim_root" in entry["file"] else DEVICE_ROOT_SPKI)


@pytest.mark.parametrize("entry", of_role("claims"))
def test_tokens_and_claims_of_other_verifiers_are_no_evidence(entry: dict[str, Any]) -> None:
    """A local verifier signs its tokens with ``alg: none``: what it says proves nothing."""
    with pytest.raises(NotEvidence):
        parse_any(vector(entry["file"]))


def test_every_entry_of_the_manifest_is_covered(capsys: pytest.CaptureFixture[str]) -> None:
    if not ENTRIES:
        pytest.skip("no evidence from hardware here")
    covered = {e["file"] for e in ENTRIES if e["role"] in ("evidence", "negative", "ocsp", "root", "claims")}
    covered |= {e["file"] for e in ENTRIES if e["role"] == "rim" and "failure_" in e["file"]}
    covered |= {*RIM_REASONS, *RIM_HOLDS, MPT, PPCIE, MULTI}
    covered |= {f"{GO}success_payload_{name}.xml" for name in ("multiple_alternatives", "multiple_measurements")}
    covered |= {
        f"{GO}success_payload_single_measurement.xml",
        "nvidia/attestation-sdk-hopper_evidence.json",
        "nvidia/services-blackwell-evidence.json",
        "nvidia/attestation-sdk-switch_evidence_ls10.json",
    }
    files = {entry["file"] for entry in ENTRIES}
    with capsys.disabled():
        print(f"\nNVIDIA vectors: {len(files & covered)} of {len(files)} entries covered")
    assert files <= covered
