"""What a verifier of NVIDIA GPUs and switches must refuse, one test for each rule. Genuine evidence is in
``test_nvidia_vectors``, evidence of several devices in ``test_composite``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import ocsp
from lxml import etree

from sealmarket.attestation.amd.measurement import SnpMeasurement
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.errors import CollateralError, EvidenceRefused, InvalidRules
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.model import AuthenticReport, Bytes8
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.nvidia import authenticate as gpus
from sealmarket.attestation.nvidia import certificates, rim
from sealmarket.attestation.nvidia.documents import read_document, read_files
from sealmarket.attestation.nvidia.measurement import NvidiaMeasurement
from sealmarket.attestation.nvidia.ocsp import read_answer
from sealmarket.attestation.nvidia.pins import DEVICE_ROOT_SPKI, RIM_ROOT_SPKI
from sealmarket.attestation.nvidia.report import P384_ORDER, read_report
from sealmarket.attestation.nvidia.rules import NvidiaRules
from sealmarket.attestation.policy.rules import AppraisalPolicy, check_rules
from sealmarket.attestation.policy.verify import Expected, appraise, verify
from sealmarket_devices.nvidia_documents import sign_manifest
from sealmarket_devices.nvidia_format import (
    CHIP_INFO,
    DICE_TCB_INFO,
    FEATURE_FLAG,
    NVDEC,
    ON,
    PROTECTED_PCIE,
    SWITCH_PDI,
    fwid_extension,
)
from sealmarket_devices.pki import Validity
from sealmarket_enclave.protocol.codec import Bytes32, Bytes48
from sealmarket_enclave.protocol.numbers import Grade, Tee
from tests.forge.nvidia import (
    DRIVER,
    FWID,
    NONCE,
    VBIOS,
    ForgedDevice,
    NvidiaForge,
    measurement,
    swid,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CPU = SnpMeasurement(launch_digest=Bytes48(bytes(48)), policy=Bytes8(bytes(8)), host_data=Bytes32(bytes(32)), vmpl=0)
GOLDEN = NvidiaMeasurement(device="GH100", driver=DRIVER, vbios=VBIOS)


@pytest.fixture(scope="module")
def forge() -> NvidiaForge:
    return NvidiaForge(NOW)


@pytest.fixture(scope="module")
def gpu(forge: NvidiaForge) -> ForgedDevice:
    return forge.gpu()


@pytest.fixture(scope="module")
def documents(forge: NvidiaForge, gpu: ForgedDevice) -> list[bytes]:
    """The manifests and good answers about everything of the default GPU."""
    return [*forge.manifests(), *forge.answers(gpu)]


def prove(
    forge: NvidiaForge,
    device: ForgedDevice,
    raw: bytes | None = None,
    documents: list[bytes] | None = None,
    *,
    chain: list[bytes] | None = None,
    now: datetime = NOW,
    anchors: TrustAnchors | None = None,
) -> AuthenticReport:
    """Authenticate under the forge's roots."""
    trusted = anchors or TrustAnchors.production().with_development(forge.root.der, forge.rim_root.der)
    evidence = Evidence(
        tee=Tee.NVIDIA, raw=raw or device.report(), certificates=tuple(device.chain() if chain is None else chain)
    )
    return gpus.authenticate(evidence, read_files(documents or []), trusted, now)


def refusal(*arguments: Any, **settings: Any) -> Reason:
    """The reason of the first step that failed."""
    with pytest.raises(EvidenceRefused) as caught:
        prove(*arguments, **settings)
    return caught.value.finding.reason


def findings(
    forge: NvidiaForge,
    device: ForgedDevice,
    documents: list[bytes],
    raw: bytes | None = None,
    *,
    nonce: bytes = NONCE,
    bound: bool = True,
    allowed: NvidiaMeasurement | None = None,
    **rules: Any,
) -> list[Reason]:
    """Everything that the rules refuse about authentic evidence."""
    proven = prove(forge, device, raw, documents)
    policy = AppraisalPolicy(
        measurements=(CPU, allowed or proven.measurement),
        platforms="any",
        lowest_grade="simulated",
        nvidia=NvidiaRules(**rules),
    )
    expected = Expected(report_data=nonce.ljust(64, b"\0"), collected_at=NOW, bound=bound)
    return [f.reason for f in appraise(proven, policy, NOW, expected).findings]


# What holds, so that each refusal below is due to its one change.


def test_the_forges_defaults_are_accepted(forge: NvidiaForge, gpu: ForgedDevice, documents: list[bytes]) -> None:
    assert findings(forge, gpu, documents, allowed=GOLDEN) == []
    proven = prove(forge, gpu, None, documents)
    assert (proven.grade, proven.platform.generation) == (Grade.SIMULATED, "Hopper")
    assert proven.report_data == NONCE + bytes(32)
    assert proven.claims()["mode"] == "spt"


def test_a_switch_is_accepted_with_the_manifest_of_its_own(forge: NvidiaForge) -> None:
    switch = forge.switch()
    assert findings(forge, switch, [forge.switch_manifest(), *forge.answers(switch)]) == []


def test_a_blackwell_leaf_carries_its_firmware_in_another_extension(forge: NvidiaForge) -> None:
    extension = fwid_extension(FWID, bytes(48), kind=DICE_TCB_INFO)
    gpu = forge.gpu(product="GB100", mode=1, leaf={"extensions": (extension,)})
    proven = prove(forge, gpu)
    assert (proven.platform.generation, proven.claims()["leaf_fwid"]) == ("Blackwell", FWID.hex())


def test_of_several_leaves_the_one_that_signed_is_taken(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    others = [der for number in (2, 3) for der in forge.gpu(number).chain()]
    proven = prove(forge, gpu, chain=[*others, *gpu.chain()])
    assert proven.platform.identity == prove(forge, gpu).platform.identity


# 6, 7: one spelling.


@pytest.mark.parametrize("size", [0, 3, 36, 37, 40, 41, 44, 45, 3000, 3564, 3600, 3700])
def test_a_report_cut_short_is_refused(forge: NvidiaForge, gpu: ForgedDevice, size: int) -> None:
    with pytest.raises(EvidenceRefused) as caught:
        read_report(gpu.report()[:size])
    assert caught.value.finding.reason in (Reason.TRUNCATED, Reason.UNSUPPORTED_FORMAT)


def test_trailing_bytes_are_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    assert refusal(forge, gpu, gpu.report() + b"\0") is Reason.TRAILING_BYTES


def test_the_other_form_of_a_signature_has_the_same_name_in_a_replay_cache(
    forge: NvidiaForge, gpu: ForgedDevice
) -> None:
    raw = gpu.report()
    other = raw[:-48] + (P384_ORDER - int.from_bytes(raw[-48:])).to_bytes(48)
    assert other != raw
    assert prove(forge, gpu, other).evidence_digest == prove(forge, gpu, raw).evidence_digest


@pytest.mark.parametrize("half", [bytes(48), P384_ORDER.to_bytes(48), b"\xff" * 48])
def test_r_or_s_out_of_their_range_are_refused(forge: NvidiaForge, gpu: ForgedDevice, half: bytes) -> None:
    raw = gpu.report()
    assert refusal(forge, gpu, raw[:-48] + half) is Reason.NON_CANONICAL
    assert refusal(forge, gpu, raw[:-96] + half + raw[-48:]) is Reason.NON_CANONICAL


@pytest.mark.parametrize(
    "change",
    [
        {"request_start": b"\x12\xe0\x01\xff"},
        {"request_start": b"\x11\xe0\x00\xff"},
        {"request_start": b"\x11\xe0\x01\x01"},
        {"slot": 1},
        {"response_start": b"\x12\x60\x00\x00"},
        {"response_start": b"\x11\x60\x00\x01"},
    ],
)
def test_another_request_or_answer_is_refused(forge: NvidiaForge, gpu: ForgedDevice, change: Any) -> None:
    assert refusal(forge, gpu, gpu.report(**change)) is Reason.UNSUPPORTED_FORMAT


def test_a_measurement_out_of_its_place_or_twice_is_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    raw = gpu.report()
    twice = raw[:45] + raw[45 + 55 : 45 + 110] + raw[45 + 55 :]
    assert refusal(forge, gpu, twice) is Reason.MALFORMED


@pytest.mark.parametrize("at", [1, 2, 4, 5])
def test_a_measurement_of_another_kind_or_size_is_refused(forge: NvidiaForge, gpu: ForgedDevice, at: int) -> None:
    raw = bytearray(gpu.report())
    raw[45 + at] ^= 1
    assert refusal(forge, gpu, bytes(raw)) is Reason.MALFORMED


def test_measurements_that_do_not_fill_their_record_are_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    raw = bytearray(gpu.report())
    raw[41] = 63
    assert refusal(forge, gpu, bytes(raw)) is Reason.MALFORMED
    assert refusal(forge, gpu, gpu.report(measurements=[])) is Reason.MALFORMED


def test_an_opaque_field_twice_is_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    doubled = (*gpu.opaque, (200, b"x"), (200, b"x"))
    assert refusal(forge, gpu, gpu.report(opaque=doubled)) is Reason.MALFORMED


@pytest.mark.parametrize("kind", [6, NVDEC, 20, PROTECTED_PCIE, SWITCH_PDI, FEATURE_FLAG])
def test_an_opaque_field_of_another_length_is_refused(forge: NvidiaForge, kind: int) -> None:
    assert refusal(forge, forge.gpu(more={kind: bytes(9)})) is Reason.MALFORMED


def test_opaque_fields_that_do_not_fill_their_length_are_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    raw = bytearray(gpu.report(opaque=(*gpu.opaque, (200, b"x"))))
    raw[-96 - 3] = 9
    assert refusal(forge, gpu, bytes(raw)) is Reason.MALFORMED


@pytest.mark.parametrize("more", [{3: b"550\x01"}, {3: b"5" * 40}, {17: b"<a>"}])
def test_text_that_is_no_version_is_refused(forge: NvidiaForge, more: dict[int, bytes]) -> None:
    assert refusal(forge, forge.gpu(more=more)) is Reason.MALFORMED


def test_a_vbios_version_with_more_behind_it_is_refused(forge: NvidiaForge) -> None:
    assert refusal(forge, forge.gpu(more={6: bytes.fromhex("009f009601000001")})) is Reason.MALFORMED


def test_a_flag_that_is_neither_on_nor_off_is_refused(forge: NvidiaForge) -> None:
    assert refusal(forge, forge.gpu(more={NVDEC: b"\x00"})) is Reason.MALFORMED


def test_a_report_that_is_neither_of_a_gpu_nor_of_a_switch_is_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    without_driver = tuple((kind, value) for kind, value in gpu.opaque if kind != 3)
    without_vbios = tuple((kind, value) for kind, value in gpu.opaque if kind != 6)
    for opaque in (without_driver, without_vbios, (*gpu.opaque, (SWITCH_PDI, bytes(8)))):
        assert refusal(forge, gpu, gpu.report(opaque=opaque)) is Reason.MALFORMED


# 63, 3, 4: the nonce.


def test_the_nonce_of_the_request_counts_and_that_of_the_answer_does_not(
    forge: NvidiaForge, gpu: ForgedDevice, documents: list[bytes]
) -> None:
    other = gpu.report(nonce=b"\x22" * 32, device_nonce=NONCE)
    assert findings(forge, gpu, documents, other) == [Reason.REPORT_DATA_MISMATCH]


def test_a_nonce_that_is_right_in_front_only_is_refused(
    forge: NvidiaForge, gpu: ForgedDevice, documents: list[bytes]
) -> None:
    other = gpu.report(nonce=NONCE[:31] + b"\0")
    assert findings(forge, gpu, documents, other) == [Reason.REPORT_DATA_MISMATCH]


# 64: the signature.


def test_a_report_that_another_key_signed_is_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    assert refusal(forge, gpu, gpu.report(key=ec.generate_private_key(ec.SECP384R1()))) is Reason.SIGNATURE_INVALID


@pytest.mark.parametrize("at", [4, 36 + 20, 60, -97 - 100, -97])
def test_a_changed_byte_breaks_the_signature(forge: NvidiaForge, gpu: ForgedDevice, at: int) -> None:
    raw = bytearray(gpu.report())
    raw[at] ^= 1
    with pytest.raises(EvidenceRefused):
        prove(forge, gpu, bytes(raw))


def test_r_and_s_are_read_in_their_byte_order(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    raw = gpu.report()
    assert refusal(forge, gpu, raw[:-96] + raw[-96:-48][::-1] + raw[-48:][::-1]) is Reason.SIGNATURE_INVALID


# 65, 8: the chain.


@pytest.mark.parametrize("absent", [0, 1, 2, 3, 4])
def test_a_truncated_chain_is_refused(forge: NvidiaForge, gpu: ForgedDevice, absent: int) -> None:
    chain = [der for number, der in enumerate(gpu.chain()) if number != absent]
    assert refusal(forge, gpu, chain=chain) is Reason.ENDORSEMENT_MISSING


def test_evidence_under_a_development_root_is_refused_in_production(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    assert refusal(forge, gpu, anchors=TrustAnchors.production()) is Reason.UNTRUSTED_ROOT


def test_the_root_of_manifests_is_no_root_of_devices(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    """Both are pinned; each stands for its own hierarchy."""

    class Swapped:
        """Anchors that hold the forge's device root to be NVIDIA's root of manifests."""

        def grade_of(self, tee: Tee, spki: bytes) -> Grade | None:
            return Grade.HARDWARE

    with pytest.raises(EvidenceRefused) as caught:
        prove(forge, gpu, anchors=Swapped())  # type: ignore[arg-type]
    assert caught.value.finding.reason is Reason.UNTRUSTED_ROOT
    assert DEVICE_ROOT_SPKI != RIM_ROOT_SPKI


def test_a_certificate_that_its_issuer_did_not_sign_is_refused(forge: NvidiaForge) -> None:
    stranger = forge.authority("NVIDIA GH100 Provisioner ICA 1", forge.authority("NVIDIA GH100 Identity"))
    assert refusal(forge, forge.gpu(brom={"issuer": stranger}), chain=None) is Reason.CHAIN_INVALID


def test_an_issuer_that_may_not_sign_certificates_is_refused(forge: NvidiaForge) -> None:
    assert refusal(forge, forge.gpu(brom={"path_length": None})) is Reason.CHAIN_INVALID


def test_a_leaf_that_may_sign_certificates_is_refused(forge: NvidiaForge) -> None:
    assert refusal(forge, forge.gpu(leaf={"path_length": 0})) is Reason.CHAIN_INVALID


def test_a_certificate_on_another_curve_is_refused(forge: NvidiaForge) -> None:
    other = {"curve": ec.SECP256R1()}
    for gpu in (forge.gpu(leaf=other), forge.gpu(brom=other)):
        assert refusal(forge, gpu) is Reason.CHAIN_INVALID


def test_a_longer_chain_is_refused(forge: NvidiaForge) -> None:
    between = forge.authority("NVIDIA GH100 Provisioner ICA 0", forge.identity)
    gpu = forge.gpu(provisioner={"issuer": between})
    assert refusal(forge, gpu, chain=[*gpu.chain(), between.der]) is Reason.CHAIN_INVALID


def test_a_shorter_chain_is_refused(forge: NvidiaForge) -> None:
    gpu = forge.gpu(provisioner={"issuer": forge.root})
    assert refusal(forge, gpu) is Reason.CHAIN_INVALID


def test_more_certificates_than_the_bound_are_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    assert refusal(forge, gpu, chain=gpu.chain() * 60) is Reason.ENDORSEMENT_MALFORMED


def test_a_certificate_that_cannot_be_read_is_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    assert refusal(forge, gpu, chain=[b"\x30\x03\x02\x01\x01"]) is Reason.ENDORSEMENT_MALFORMED


@pytest.mark.parametrize("days", [-2, 2])
def test_a_certificate_out_of_its_validity_is_refused(forge: NvidiaForge, days: int) -> None:
    """The device's alone: manifests, answers and their signers hold."""
    start, end = NOW - timedelta(days=days + 1), NOW - timedelta(days=days - 1)
    gpu = forge.gpu(brom={"validity": Validity(start=start, end=end)})
    reason = refusal(forge, gpu)
    assert reason is (Reason.ENDORSEMENT_FUTURE if days < 0 else Reason.ENDORSEMENT_EXPIRED)


@pytest.mark.parametrize(
    "changes",
    [
        {"leaf": {"name": "GH100 A02 GSP FMC LF"}},
        {"brom": {"name": "GH100 A01 GSP FMC"}},
        {"provisioner": {"name": "NVIDIA GB100 Provisioner ICA 1"}},
        {"product": "CX700"},
        {"brom": {"serial_number": "00"}},
        {"brom": {"serial_number": "not hex"}},
        {"brom": {"serial_number": None}},
    ],
)
def test_the_chain_of_something_else_than_a_gpu_or_switch_is_refused(forge: NvidiaForge, changes: Any) -> None:
    assert refusal(forge, forge.gpu(**changes)) is Reason.NVIDIA_DEVICE


def test_the_report_of_another_kind_or_chip_than_its_chain_is_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    switch = forge.switch()
    assert refusal(forge, gpu, gpu.report(opaque=switch.opaque)) is Reason.NVIDIA_DEVICE
    assert refusal(forge, switch, switch.report(opaque=gpu.opaque)) is Reason.NVIDIA_DEVICE
    assert refusal(forge, forge.gpu(more={CHIP_INFO: b"GB100\0"})) is Reason.NVIDIA_DEVICE
    assert refusal(forge, switch, switch.report(opaque=forge.switch(2).opaque)) is Reason.NVIDIA_DEVICE


# 66: the firmware of the leaf's key.


def test_a_report_of_other_firmware_than_its_leafs_is_refused(forge: NvidiaForge) -> None:
    assert refusal(forge, forge.gpu(fwid=b"\x01" * 48)) is Reason.NVIDIA_FWID


@pytest.mark.parametrize(
    "extensions",
    [
        (),
        (fwid_extension(bytes(48)),),
        (fwid_extension(FWID[:32]),),
        (fwid_extension(FWID, b"\x02" * 48, kind=DICE_TCB_INFO),),
        (fwid_extension(FWID), fwid_extension(b"\x02" * 48, kind=DICE_TCB_INFO)),
    ],
)
def test_a_leaf_without_one_firmware_is_refused(forge: NvidiaForge, extensions: Any) -> None:
    assert refusal(forge, forge.gpu(fwid=None, leaf={"extensions": extensions})) is Reason.NVIDIA_FWID


def test_a_leaf_whose_extension_cannot_be_read_is_refused(forge: NvidiaForge) -> None:
    broken = x509.UnrecognizedExtension(x509.ObjectIdentifier(DICE_TCB_INFO), b"\x30\x05\xa6\x09\x30\x01\x01")
    assert refusal(forge, forge.gpu(leaf={"extensions": (broken,)})) is Reason.ENDORSEMENT_MALFORMED


def test_a_report_without_its_firmware_is_refused_unless_allowed(forge: NvidiaForge, documents: list[bytes]) -> None:
    gpu = forge.gpu(fwid=None)
    given = [*documents, *forge.answers(gpu)]
    assert findings(forge, gpu, given) == [Reason.NVIDIA_FWID_MISSING]
    assert findings(forge, gpu, given, fwid="any") == []


# 72: modes.


@pytest.mark.parametrize(("mode", "name"), [(0, "spt"), (1, "mpt"), (2, "ppcie")])
def test_a_mode_that_is_not_allowed_is_refused(
    forge: NvidiaForge, documents: list[bytes], mode: int, name: str
) -> None:
    gpu = forge.gpu(mode=mode)
    given = [*documents, *forge.answers(gpu)]
    others = tuple(other for other in ("spt", "mpt", "ppcie") if other != name)
    assert findings(forge, gpu, given, modes=others) == [Reason.NVIDIA_MODE]
    assert findings(forge, gpu, given, modes=(name,)) == []


def test_an_older_driver_names_its_mode_by_protected_pcie(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    plain = tuple(one for one in gpu.opaque if one[0] != FEATURE_FLAG)
    protected = tuple((kind, ON if kind == PROTECTED_PCIE else value) for kind, value in plain)
    modes = [prove(forge, gpu, gpu.report(opaque=opaque)).claims()["mode"] for opaque in (plain, protected)]
    assert modes == ["spt", "ppcie"]


def test_two_fields_that_name_two_modes_are_refused(forge: NvidiaForge) -> None:
    assert refusal(forge, forge.gpu(mode=0, more={PROTECTED_PCIE: ON})) is Reason.MALFORMED
    assert refusal(forge, forge.gpu(mode=2, more={PROTECTED_PCIE: b"\x55"})) is Reason.MALFORMED


def test_an_unknown_mode_is_refused(forge: NvidiaForge) -> None:
    assert refusal(forge, forge.gpu(more={FEATURE_FLAG: b"\x03\0"})) is Reason.UNSUPPORTED_FORMAT


def test_an_architecture_that_is_not_allowed_is_refused(
    forge: NvidiaForge, gpu: ForgedDevice, documents: list[bytes]
) -> None:
    assert findings(forge, gpu, documents, architectures=("Blackwell",)) == [Reason.GENERATION_NOT_ALLOWED]


# 67, 68: manifests.


def test_without_manifests_a_report_is_refused_unless_their_absence_is_a_warning(
    forge: NvidiaForge, gpu: ForgedDevice
) -> None:
    answers = forge.answers(gpu)
    assert findings(forge, gpu, answers) == [Reason.NVIDIA_RIM_MISSING] * 2
    assert findings(forge, gpu, answers, manifests="warn") == []


@pytest.mark.parametrize(
    "changes",
    [{"version": "550.90.08"}, {"product": "GB100"}, {"edition": "SWITCH"}],
)
def test_the_manifest_of_another_driver_or_device_is_refused(
    forge: NvidiaForge, gpu: ForgedDevice, changes: dict[str, Any]
) -> None:
    other = forge.manifest(**{"version": DRIVER, **changes})
    given = [other, forge.manifests()[1], *forge.answers(gpu)]
    assert findings(forge, gpu, given) == [Reason.NVIDIA_RIM_VERSION]


def test_a_changed_manifest_is_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    manifest = forge.manifests()[0].replace(b"ee" * 48, b"ef" * 48)
    assert refusal(forge, gpu, None, [manifest]) is Reason.NVIDIA_RIM_SIGNATURE


def test_a_manifest_that_its_signer_did_not_sign_is_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    stranger = forge.authority("HCC RIM L4 Signer", forge.rim_l3, path_length=None)
    signed = forge.manifest(signer=(stranger, forge.rim_l3, forge.rim_ca, forge.rim_root))
    first = forge.signer.pem.split("-----")[2].replace("\n", "").encode()
    other = stranger.pem.split("-----")[2].replace("\n", "").encode()
    flat = b"".join(signed.split(b"\n"))
    assert other in flat
    assert refusal(forge, gpu, None, [flat.replace(other, first)]) is Reason.NVIDIA_RIM_SIGNATURE


def test_a_manifest_under_another_root_is_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    root = forge.authority("NVIDIA CoRIM signing Root CA")
    ca = forge.authority("NVIDIA Reference Value GH100 CA", root)
    l3 = forge.authority("NVIDIA Reference Value L3 GH100 002", ca)
    chain = (forge.new_signer(l3), l3, ca, root)
    assert refusal(forge, gpu, None, [forge.manifest(signer=chain)]) is Reason.UNTRUSTED_ROOT


def test_the_root_of_devices_is_no_root_of_manifests(forge: NvidiaForge) -> None:
    class Swapped:
        """Anchors that hold the forge's root of manifests to be NVIDIA's root of devices."""

        def grade_of(self, tee: Tee, spki: bytes) -> Grade | None:
            return Grade.HARDWARE

    with pytest.raises(EvidenceRefused) as caught:
        rim.prove_manifest(forge.manifest(), Swapped())
    assert caught.value.finding.reason is Reason.UNTRUSTED_ROOT


def test_a_remembered_manifest_is_held_against_the_anchors_of_each_call(forge: NvidiaForge) -> None:
    manifest = forge.manifests()[0]
    rim.prove_manifest(manifest, TrustAnchors.production().with_development(forge.rim_root.der))
    with pytest.raises(EvidenceRefused) as caught:
        rim.prove_manifest(manifest, TrustAnchors.production())
    assert caught.value.finding.reason is Reason.UNTRUSTED_ROOT


def test_a_manifest_with_a_truncated_chain_is_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    short = forge.manifest(signer=(forge.signer, forge.rim_l3))
    assert refusal(forge, gpu, None, [short]) is Reason.ENDORSEMENT_MISSING


def test_a_manifest_signed_by_a_responder_is_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    responder = forge.responder(forge.rim_l3)
    signed = forge.manifest(signer=(responder, forge.rim_l3, forge.rim_ca, forge.rim_root))
    assert refusal(forge, gpu, None, [signed]) is Reason.SIGNER_PURPOSE


def test_a_manifest_whose_signer_expired_is_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    old = forge.new_signer(validity=Validity(start=NOW - timedelta(days=9), end=NOW - timedelta(days=1)))
    signed = forge.manifest(signer=(old, forge.rim_l3, forge.rim_ca, forge.rim_root))
    assert refusal(forge, gpu, None, [signed]) is Reason.ENDORSEMENT_EXPIRED


def test_a_broken_manifest_beside_a_good_one_concerns_itself_alone(
    forge: NvidiaForge, gpu: ForgedDevice, documents: list[bytes]
) -> None:
    broken = forge.manifests()[0].replace(b"ee" * 48, b"ef" * 48)
    assert findings(forge, gpu, [broken, *documents]) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"c14n_algorithm": "http://www.w3.org/2001/10/xml-exc-c14n#"},
        {"digest_algorithm": "sha256"},
        {"signature_algorithm": "ecdsa-sha256"},
    ],
)
def test_another_form_of_signature_is_refused(forge: NvidiaForge, gpu: ForgedDevice, changes: dict[str, str]) -> None:
    chain = [forge.signer, forge.rim_l3, forge.rim_ca, forge.rim_root]
    assert refusal(forge, gpu, None, [sign_manifest(swid(DRIVER), chain, **changes)]) is Reason.NVIDIA_RIM_SIGNATURE


def test_a_signature_over_a_part_of_the_manifest_is_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    root = swid(DRIVER)
    root[1].set("Id", "payload")
    chain = [forge.signer, forge.rim_l3, forge.rim_ca, forge.rim_root]
    partial = sign_manifest(root, chain, reference="#payload")
    assert refusal(forge, gpu, None, [partial]) is Reason.NVIDIA_RIM_SIGNATURE


def test_a_second_signature_is_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    manifest = forge.manifest()
    start, end = manifest.index(b"<ds:Signature "), manifest.index(b"</ds:Signature>") + len(b"</ds:Signature>")
    twice = manifest[:end] + manifest[start:end] + manifest[end:]
    assert refusal(forge, gpu, None, [twice]) is Reason.NVIDIA_RIM_SIGNATURE


DOCTYPE = b'<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
UNSIGNED = etree.tostring(swid(DRIVER))


def test_the_plain_manifest_is_read() -> None:
    for raw in (UNSIGNED, b'<?xml version="1.0"?>' + UNSIGNED, b'<?xml version="1.0" encoding="UTF-8"?>' + UNSIGNED):
        assert rim.read_manifest(raw).name == f"GH100 {DRIVER}"


@pytest.mark.parametrize(
    "raw",
    [
        DOCTYPE + UNSIGNED,
        b'<?xml version="1.0"?>' + DOCTYPE + UNSIGNED,
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd">' + UNSIGNED,
        UNSIGNED.replace(b"><", b"><!-- a comment --><", 1),
        UNSIGNED.replace(b"><", b"><![CDATA[x]]><", 1),
        UNSIGNED.replace(b"><", b"><?php x ?><", 1),
        UNSIGNED.replace(b"><", b">&undefined;<", 1),
        b'<?xml version="1.0" encoding="ISO-8859-1"?>' + UNSIGNED,
        b'<?xml version="1.0" encoding="UTF-7"?>+ADw-!-- x --+AD4-' + UNSIGNED,
        ('\ufeff<?xml version="1.0" encoding="UTF-16"?>' + UNSIGNED.decode()).encode("utf-16-le"),
        b"<SoftwareIdentity>" * 300,
        b"<SoftwareIdentity/>",
    ],
)
def test_xml_that_does_more_than_a_manifest_is_refused(raw: bytes) -> None:
    with pytest.raises(EvidenceRefused) as caught:
        rim.read_manifest(raw)
    assert caught.value.finding.reason is Reason.NVIDIA_RIM_MALFORMED


def test_a_document_type_is_refused_before_a_parser_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def parsed(*_: object) -> None:
        raise AssertionError("the parser saw it")

    monkeypatch.setattr(etree, "fromstring", parsed)
    for raw in (DOCTYPE + b"<a>&b;</a>", b"<a><!-- --></a>", b"x" * (rim.MAXIMUM_BYTES + 1)):
        with pytest.raises(EvidenceRefused, match="nvidia_rim_malformed"):
            rim.parse_xml(raw)


@pytest.mark.parametrize(
    "attributes",
    [
        {"index": "-1"},
        {"index": "255"},
        {"index": "x"},
        {"index": "\u0667"},
        {"index": None},
        {"active": "true"},
        {"active": None},
        {"alternatives": "0"},
        {"alternatives": "2"},
        {"alternatives": "9999"},
        {"alternatives": None},
        {"size": "32"},
        {"size": None},
        {"{http://www.w3.org/2001/04/xmlenc#sha384}Hash0": "00" * 47},
        {"{http://www.w3.org/2001/04/xmlenc#sha384}Hash0": "zz" * 48},
        {"{http://www.w3.org/2001/04/xmlenc#sha384}Hash0": None},
        {"Hash0": "00" * 48},
    ],
)
def test_a_resource_that_is_not_of_the_layout_is_refused(
    forge: NvidiaForge, gpu: ForgedDevice, attributes: dict[str, str | None]
) -> None:
    manifest = forge.manifest(attributes=attributes, plain={20: (measurement(21),)})
    assert refusal(forge, gpu, None, [manifest]) is Reason.NVIDIA_RIM_MALFORMED


def test_an_index_twice_is_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    manifest = forge.manifest(inactive={7: (measurement(1),)})
    assert refusal(forge, gpu, None, [manifest]) is Reason.NVIDIA_RIM_MALFORMED


def test_a_manifest_without_active_measurements_is_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    manifest = forge.manifest(values={}, inactive={7: (measurement(1),)})
    assert refusal(forge, gpu, None, [manifest]) is Reason.NVIDIA_RIM_MALFORMED


# 69, 70: measurements.


def reasons_under(forge: NvidiaForge, gpu: ForgedDevice, manifest: bytes, raw: bytes | None = None) -> list[Reason]:
    """The findings with this manifest in place of the driver's."""
    return findings(forge, gpu, [manifest, forge.manifests()[1], *forge.answers(gpu)], raw)


def test_the_index_of_a_manifest_counts_from_zero(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    assert reasons_under(forge, gpu, forge.manifest(values={8: (measurement(9),)})) == []
    assert reasons_under(forge, gpu, forge.manifest(values={8: (measurement(8),)})) == [Reason.NVIDIA_MEASUREMENT]
    assert reasons_under(forge, gpu, forge.manifest(values={8: (measurement(10),)})) == [Reason.NVIDIA_MEASUREMENT]


def test_any_alternative_is_right_and_no_other_value(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    right = (b"\x01" * 48, b"\x02" * 48, measurement(9))
    assert reasons_under(forge, gpu, forge.manifest(values={8: right})) == []
    assert reasons_under(forge, gpu, forge.manifest(values={8: right[:2]})) == [Reason.NVIDIA_MEASUREMENT]


def test_an_inactive_measurement_is_passed_over(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    manifest = forge.manifest(inactive={9: (bytes(48),)})
    assert reasons_under(forge, gpu, manifest) == []


def test_a_zero_or_absent_measurement_is_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    values = [measurement(index) for index in range(1, 65)]
    zero = gpu.report(measurements=[*values[:7], bytes(48), *values[8:]])
    assert reasons_under(forge, gpu, forge.manifests()[0], zero) == [Reason.NVIDIA_MEASUREMENT_MISSING]
    short = gpu.report(measurements=values[:7])
    assert reasons_under(forge, gpu, forge.manifest(), short) == [Reason.NVIDIA_MEASUREMENT_MISSING]


def test_the_video_decoders_measurement_counts_while_it_is_on(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    manifest = forge.manifest(values={35: (measurement(1),)})
    assert reasons_under(forge, gpu, manifest) == []
    decoding = forge.gpu(more={NVDEC: ON})
    assert reasons_under(forge, decoding, manifest) == [Reason.NVIDIA_MEASUREMENT]


def test_two_manifests_that_claim_one_measurement_are_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    manifest = forge.manifest(values={7: (measurement(8),), 0: (measurement(1),)})
    assert reasons_under(forge, gpu, manifest) == [Reason.NVIDIA_RIM_CONFLICT]


def test_another_driver_than_the_policys_is_refused(
    forge: NvidiaForge, gpu: ForgedDevice, documents: list[bytes]
) -> None:
    other = NvidiaMeasurement(device="GH100", driver="550.90.08", vbios=VBIOS)
    assert findings(forge, gpu, documents, allowed=other) == [Reason.MEASUREMENT_NOT_ALLOWED]


# 71: OCSP.


def test_without_answers_a_report_is_refused_unless_their_absence_is_a_warning(
    forge: NvidiaForge, gpu: ForgedDevice
) -> None:
    assert findings(forge, gpu, forge.manifests()) == [Reason.NVIDIA_OCSP_MISSING]
    assert findings(forge, gpu, forge.manifests(), ocsp="warn") == []


def test_each_certificate_needs_its_answer(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    answers = forge.answers(gpu)
    assert len(answers) == 6
    for absent in range(6):
        given = [*forge.manifests(), *(one for number, one in enumerate(answers) if number != absent)]
        assert findings(forge, gpu, given) == [Reason.NVIDIA_OCSP_MISSING]


def pairs_of(forge: NvidiaForge, gpu: ForgedDevice) -> list[Any]:
    return [*gpu.pairs(), *forge.rim_pairs()]


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize(
    ("status", "why", "reason"),
    [
        (ocsp.OCSPCertStatus.REVOKED, None, Reason.CERTIFICATE_REVOKED),
        (ocsp.OCSPCertStatus.REVOKED, x509.ReasonFlags.key_compromise, Reason.CERTIFICATE_REVOKED),
        (ocsp.OCSPCertStatus.REVOKED, x509.ReasonFlags.certificate_hold, Reason.NVIDIA_ON_HOLD),
        (ocsp.OCSPCertStatus.UNKNOWN, None, Reason.NVIDIA_OCSP_UNKNOWN),
    ],
)
def test_a_certificate_that_is_revoked_on_hold_or_unknown_is_refused(
    forge: NvidiaForge, gpu: ForgedDevice, number: int, status: Any, why: Any, reason: Reason
) -> None:
    subject, issuer = pairs_of(forge, gpu)[number]
    answer = forge.answer(subject, issuer, status=status, reason=why)
    assert refusal(forge, gpu, None, [*forge.manifests(), answer]) is reason


@pytest.mark.parametrize("hours", [-48, 48])
def test_a_stale_or_future_answer_is_refused(forge: NvidiaForge, gpu: ForgedDevice, hours: int) -> None:
    middle = NOW + timedelta(hours=hours)
    period = Validity(start=middle - timedelta(hours=12), end=middle + timedelta(hours=12))
    answer = forge.answer(*gpu.pairs()[0], validity=period)
    assert refusal(forge, gpu, None, [answer]) is Reason.NVIDIA_OCSP_INVALID


def test_an_answer_of_a_foreign_responder_is_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    other = forge.responder(forge.rim_root)
    assert refusal(forge, gpu, None, [forge.answer(*gpu.pairs()[0], responder=other)]) is Reason.NVIDIA_OCSP_INVALID


def test_an_answer_of_a_namesake_of_the_issuers_responder_is_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    namesake = forge.authority("NVIDIA GH100 Provisioner ICA 1")
    answer = forge.answer(*gpu.pairs()[0], responder=forge.responder(namesake))
    assert refusal(forge, gpu, None, [answer]) is Reason.NVIDIA_OCSP_INVALID


def test_an_answer_by_a_certificate_of_another_purpose_is_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    subject, issuer = gpu.pairs()[0]
    answer = forge.answer(subject, issuer, responder=forge.responder(issuer, purpose=False))
    assert refusal(forge, gpu, None, [answer]) is Reason.NVIDIA_OCSP_INVALID


def test_an_answer_that_its_responder_did_not_sign_is_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    answer = forge.answer(*gpu.pairs()[0])
    end = (NOW + timedelta(hours=12)).strftime("%Y%m%d%H%M%SZ").encode()
    assert answer.count(end) == 1
    answer = answer.replace(end, b"20300101000000Z")
    assert refusal(forge, gpu, None, [answer]) is Reason.NVIDIA_OCSP_INVALID


def test_an_answer_under_a_weaker_hash_is_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    assert refusal(forge, gpu, None, [forge.answer(*gpu.pairs()[0], algorithm=SHA256())]) is Reason.NVIDIA_OCSP_INVALID


def test_an_answer_of_an_expired_responder_is_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    subject, issuer = gpu.pairs()[0]
    period = Validity(start=NOW - timedelta(days=9), end=NOW - timedelta(days=1))
    answer = forge.answer(subject, issuer, responder=forge.responder(issuer, validity=period))
    assert refusal(forge, gpu, None, [answer]) is Reason.ENDORSEMENT_EXPIRED


def test_an_answer_about_another_certificate_is_no_answer(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    given = [*forge.manifests(), *forge.answers(forge.gpu(2))]
    assert findings(forge, gpu, given) == [Reason.NVIDIA_OCSP_MISSING]


def test_an_answer_about_a_namesake_with_the_same_serial_number_is_no_answer(
    forge: NvidiaForge, gpu: ForgedDevice
) -> None:
    namesake = forge.authority("NVIDIA GH100 Provisioner ICA 1")
    twin = forge.authority("twin", namesake, serial=gpu.brom.certificate.serial_number)
    given = [*forge.manifests(), *forge.answers(gpu)[1:], forge.answer(twin, namesake)]
    assert findings(forge, gpu, given) == [Reason.NVIDIA_OCSP_MISSING]


def test_the_newest_answer_counts_and_a_revocation_stays(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    pair = gpu.pairs()[0]
    earlier = Validity(start=NOW - timedelta(days=3), end=NOW - timedelta(days=2))
    revoked = ocsp.OCSPCertStatus.REVOKED
    hold = forge.answer(*pair, status=revoked, reason=x509.ReasonFlags.certificate_hold, validity=earlier)
    for_good = forge.answer(*pair, status=revoked, reason=x509.ReasonFlags.key_compromise, validity=earlier)
    assert prove(forge, gpu, None, [hold, forge.answer(*pair)]).grade is Grade.SIMULATED
    assert refusal(forge, gpu, None, [forge.answer(*pair), for_good]) is Reason.CERTIFICATE_REVOKED


def test_an_answer_longer_than_any_is_refused() -> None:
    with pytest.raises(EvidenceRefused, match="at most 16384 bytes"):
        read_answer(b"\x30" + bytes(16 << 10))


@pytest.mark.parametrize("raw", [b"\x30\x03\x0a\x01\x06", b"\x30\x03\x0a\x01\x00", b"\x30\x05\x0a\x01\x00\xa0\x00"])
def test_an_answer_that_cannot_be_read_or_says_nothing_is_refused(
    forge: NvidiaForge, gpu: ForgedDevice, raw: bytes
) -> None:
    assert refusal(forge, gpu, None, [raw]) is Reason.NVIDIA_OCSP_INVALID


def test_more_documents_than_the_bound_are_refused(forge: NvidiaForge, gpu: ForgedDevice) -> None:
    with pytest.raises(CollateralError, match="at most 64"):
        read_files([forge.manifest()] * 65)
    many = Endorsements(documents=(b"<x",) * 4097)
    evidence = Evidence(tee=Tee.NVIDIA, raw=gpu.report(), certificates=tuple(gpu.chain()))
    anchors = TrustAnchors.production().with_development(forge.root.der)
    with pytest.raises(EvidenceRefused, match="at most 4096"):
        gpus.authenticate(evidence, many, anchors, NOW)
    with pytest.raises(CollateralError, match="at most"):
        read_document(b"<?xml " + bytes(1 << 20))


# 73: a GPU alone.


def test_a_gpu_that_no_cpu_commits_to_is_refused_under_a_policy(
    forge: NvidiaForge, gpu: ForgedDevice, documents: list[bytes]
) -> None:
    assert findings(forge, gpu, documents, bound=False) == [Reason.DEVICE_UNBOUND]


def test_a_policy_of_devices_alone_or_of_gpus_that_it_does_not_list_is_unusable() -> None:
    for listed, wanted, why in ((GOLDEN, 0, "only devices"), (CPU, 1, "none is listed")):
        policy = AppraisalPolicy(measurements=(listed,), platforms="any", nvidia=NvidiaRules(gpus=wanted))
        with pytest.raises(InvalidRules, match=why):
            check_rules(policy)


def test_without_a_policy_the_answer_says_that_the_binding_is_unchecked(
    forge: NvidiaForge, gpu: ForgedDevice, documents: list[bytes]
) -> None:
    anchors = TrustAnchors.production().with_development(forge.root.der, forge.rim_root.der)
    evidence = Evidence(tee=Tee.NVIDIA, raw=gpu.report(), certificates=tuple(gpu.chain()))
    result = verify(evidence, read_files(documents), anchors, NOW, Expected(report_data=NONCE.ljust(64, b"\0")))
    assert result.accepted
    assert "binding to a CPU TEE unchecked" in result.notes


def test_what_is_remembered_can_be_dropped(forge: NvidiaForge, gpu: ForgedDevice, documents: list[bytes]) -> None:
    certificates.forget()
    rim.forget()
    assert findings(forge, gpu, documents) == []
