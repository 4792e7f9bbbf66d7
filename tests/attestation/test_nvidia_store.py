"""NVIDIA's manifests and OCSP answers in the store: fetched, kept, replaced by newer ones, moved by a bundle."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography.x509 import ocsp

from sealmarket.attestation.collateral.bundle import export_bundle, import_bundle
from sealmarket.attestation.collateral.fetch import Fetcher
from sealmarket.attestation.collateral.store import CollateralStore
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.certificates import load_certificate
from sealmarket.attestation.core.errors import CollateralError
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.nvidia.documents import document_name, read_document, read_files
from sealmarket.attestation.nvidia.fetch import OCSP_REQUEST, manifest_names
from sealmarket.attestation.nvidia.report import read_report
from sealmarket.attestation.policy.verify import UNCHECKED, Expected, verify
from sealmarket_devices.pki import Authority, Validity
from sealmarket_enclave.protocol.numbers import Tee
from tests.forge.intel import IntelForge
from tests.forge.nvidia import DRIVER, SWITCH_VBIOS, VBIOS, ForgedDevice, NvidiaForge

NOW = datetime(2026, 3, 1, tzinfo=UTC)
Change = Callable[[httpx.Request, bytes], httpx.Response | None]


@pytest.fixture(scope="module")
def forge() -> NvidiaForge:
    return NvidiaForge(NOW)


@pytest.fixture
def store(tmp_path: Path, forge: NvidiaForge) -> CollateralStore:
    return CollateralStore(tmp_path / "store", anchors(forge))


def anchors(forge: NvidiaForge) -> TrustAnchors:
    return TrustAnchors.production().with_development(forge.root.der, forge.rim_root.der)


def evidence_of(device: ForgedDevice) -> Evidence:
    return Evidence(tee=Tee.NVIDIA, raw=device.report(), certificates=tuple(device.chain()))


def server(forge: NvidiaForge, *devices: ForgedDevice, change: Change | None = None) -> httpx.MockTransport:
    """NVIDIA's two servers: manifests by name, and a responder for these devices and the signers."""
    driver, vbios = forge.manifests()
    manifests = {
        f"/v1/rim/NV_GPU_DRIVER_GH100_{DRIVER}": driver,
        f"/v1/rim/NV_GPU_VBIOS_1010_0200_882_{VBIOS.replace('.', '')}": vbios,
        f"/v1/rim/NV_SWITCH_BIOS_5612_0002_890_{SWITCH_VBIOS.replace('.', '')}": forge.switch_manifest(),
    }
    pairs: list[tuple[Authority, Authority]] = [
        *(pair for device in devices for pair in device.pairs()),
        *forge.rim_pairs(),
    ]
    by_serial = {subject.certificate.serial_number: (subject, issuer) for subject, issuer in pairs}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            assert request.headers["content-type"] == OCSP_REQUEST
            asked = ocsp.load_der_ocsp_request(request.content)
            found = forge.answer(*by_serial[asked.serial_number])
        elif request.url.path in manifests:
            raw = manifests[request.url.path]
            found = json.dumps({"id": request.url.path, "rim": base64.b64encode(raw).decode()}).encode()
        else:
            return httpx.Response(404)
        return (change(request, found) if change else None) or httpx.Response(200, content=found)

    return httpx.MockTransport(answer)


def test_what_is_fetched_for_a_device_is_all_that_its_evidence_needs(
    forge: NvidiaForge, store: CollateralStore
) -> None:
    for device in (forge.gpu(), forge.switch()):
        evidence = evidence_of(device)
        with Fetcher(transport=server(forge, device)) as fetcher:
            found, problems = fetcher.endorsements(evidence)
        assert problems == ()
        assert store.keep(found, Tee.NVIDIA, NOW) == ()
        result = verify(
            evidence, store.endorsements_for(evidence, NOW), anchors(forge), NOW, Expected(report_data=UNCHECKED)
        )
        assert (result.accepted, result.warnings) == (True, ())


def test_the_names_of_manifests_are_nvidias(forge: NvidiaForge) -> None:
    def names(device: ForgedDevice) -> tuple[str, ...]:
        return manifest_names(read_report(device.report()).opaque, [device.leaf.certificate])

    assert names(forge.gpu()) == ("NV_GPU_DRIVER_GH100_550.90.07", "NV_GPU_VBIOS_1010_0200_882_96009F0001")
    assert names(forge.gpu(product="GB100", mode=1))[0] == "NV_GPU_CC_DRIVER_GB100_550.90.07"
    assert names(forge.switch()) == ("NV_SWITCH_BIOS_5612_0002_890_9610550001",)


@pytest.mark.parametrize(
    ("method", "content"),
    [
        ("GET", b"<SoftwareIdentity/>"),
        ("GET", b'{"id":"x"}'),
        ("GET", b'{"rim":"!"}'),
        ("GET", b'{"rim":"PCFET0NUWVBFIHg+"}'),
        ("POST", b"no answer"),
        ("POST", b"<?xml but no answer"),
    ],
)
def test_an_answer_of_another_shape_is_refused(forge: NvidiaForge, method: str, content: bytes) -> None:
    def change(request: httpx.Request, _: bytes) -> httpx.Response | None:
        return httpx.Response(200, content=content) if request.method == method else None

    gpu = forge.gpu()
    with Fetcher(transport=server(forge, gpu, change=change)) as fetcher:
        found, problems = fetcher.endorsements(evidence_of(gpu))
    assert problems
    assert content not in found.documents


def test_evidence_without_its_chain_has_nothing_to_fetch(forge: NvidiaForge) -> None:
    evidence = Evidence(tee=Tee.NVIDIA, raw=forge.gpu().report())
    with Fetcher(transport=server(forge)) as fetcher, pytest.raises(CollateralError, match="no certificate chain"):
        fetcher.endorsements(evidence)


def test_a_manifest_that_nvidia_does_not_serve_is_told(forge: NvidiaForge) -> None:
    gpu = forge.gpu(more={3: b"999.1\0"})
    with Fetcher(transport=server(forge, gpu)) as fetcher:
        found, (problem,) = fetcher.endorsements(evidence_of(gpu))
    assert "answered 404" in problem.message
    assert any(document.startswith(b"<") for document in found.documents), "the other manifest came"


def test_a_newer_answer_takes_the_place_of_an_older_one_and_never_the_other_way(
    forge: NvidiaForge, store: CollateralStore
) -> None:
    gpu = forge.gpu()
    pair = gpu.pairs()[0]
    before = Validity(start=NOW - timedelta(days=2), end=NOW - timedelta(days=1))
    older, newer = forge.answer(*pair, validity=before), forge.answer(*pair)
    for order in ((older, newer), (newer, older)):
        for raw in order:
            store.put_document(Tee.NVIDIA, raw)
        assert store.endorsements_for(evidence_of(gpu), NOW).documents == (newer,)


def test_what_is_no_document_of_the_tee_is_not_kept_as_one(forge: NvidiaForge, store: CollateralStore) -> None:
    """The files of one TEE would refuse the evidence of another whose module cannot read them."""
    for tee, raw, why in (
        (Tee.NVIDIA, forge.root.der, "a document that only nvidia reads"),
        (Tee.CCA, forge.manifest(), "not a usable CoRIM"),
        (Tee.SNP, forge.manifest(), "neither certificate"),
    ):
        with pytest.raises(CollateralError, match=why):
            store.put_document(tee, raw)


def test_a_store_serves_a_fleet_of_many_devices(forge: NvidiaForge, store: CollateralStore) -> None:
    gpus = [forge.gpu(number) for number in range(1, 81)]
    for document in (*forge.manifests(), *forge.answers(*gpus)):
        store.put_document(Tee.NVIDIA, document)
    evidence = evidence_of(gpus[-1])
    endorsements = store.endorsements_for(evidence, NOW)
    assert (len(store.documents(Tee.NVIDIA)) > 80, len(endorsements.documents)) == (True, 8)
    result = verify(evidence, endorsements, anchors(forge), NOW, Expected(report_data=UNCHECKED))
    assert (result.accepted, result.warnings) == (True, ())


def test_documents_of_devices_do_not_travel_with_evidence_of_a_cpu(forge: NvidiaForge, store: CollateralStore) -> None:
    store.put_document(Tee.NVIDIA, forge.manifest())
    assert store.endorsements_for(Evidence(tee=Tee.SNP, raw=b""), NOW).documents == ()


def test_a_bundle_carries_manifests_and_answers(forge: NvidiaForge, store: CollateralStore, tmp_path: Path) -> None:
    gpu = forge.gpu()
    store.put_all(read_files([*forge.manifests(), *forge.answers(gpu)]), Tee.NVIDIA)
    other = CollateralStore(tmp_path / "other", anchors(forge))
    assert import_bundle(other, export_bundle(store)) == 8
    evidence = evidence_of(gpu)
    assert set(other.endorsements_for(evidence, NOW).documents) == set(store.endorsements_for(evidence, NOW).documents)


def test_a_document_is_recognised_by_its_first_bytes_alone(forge: NvidiaForge) -> None:
    gpu = forge.gpu()
    answer = forge.answers(gpu)[0]
    assert read_document(answer) == answer
    assert read_document(base64.b64encode(answer)) == answer
    assert read_document(forge.manifest()) is not None
    for other in (gpu.leaf.der, gpu.leaf.pem.encode(), b"", b"MI", b"MIIx!", b"{}", base64.b64encode(gpu.leaf.der)):
        assert read_document(other) is None
    with pytest.raises(CollateralError, match="not an OCSP answer"):
        document_name(b"\x30\x03\x0a\x01\x00\x00")


def put_fleet(store: CollateralStore, forge: NvidiaForge, devices: list[ForgedDevice]) -> None:
    """Keep what a fleet needs: an answer about each certificate of each device, and everybody's manifests."""
    for raw in (*forge.manifests(), forge.switch_manifest(), *forge.answers(*devices)):
        store.put_document(Tee.NVIDIA, raw)


def test_a_verification_is_handed_what_its_evidence_names_however_large_the_fleet_is(
    forge: NvidiaForge, tmp_path: Path
) -> None:
    devices = [forge.gpu(number) for number in range(1, 9)]
    own = (*forge.manifests(), *forge.answers(devices[0]))
    store = CollateralStore(tmp_path, anchors(forge))
    for raw in (forge.switch_manifest(), *forge.answers(*devices[1:]), *own):
        store.put_document(Tee.NVIDIA, raw)
    evidence = evidence_of(devices[0])

    handed = store.endorsements_for(evidence, NOW)

    assert set(handed.documents) == set(own)
    assert len(store.documents(Tee.NVIDIA)) >= 2 * len(own)
    result = verify(evidence, handed, anchors(forge), NOW, Expected(report_data=UNCHECKED))
    assert (result.accepted, result.warnings) == (True, ())


def test_a_revocation_in_a_fleets_store_reaches_the_device_that_it_is_about(
    forge: NvidiaForge, store: CollateralStore
) -> None:
    good, revoked = forge.gpu(), forge.gpu()
    put_fleet(store, forge, [good, revoked])
    later = NOW + timedelta(hours=1)
    subject, issuer = revoked.pairs()[0]
    store.put_document(
        Tee.NVIDIA,
        forge.answer(
            subject,
            issuer,
            status=ocsp.OCSPCertStatus.REVOKED,
            validity=Validity(start=later, end=later + timedelta(days=1)),
        ),
    )

    for device, accepted in ((good, True), (revoked, False)):
        evidence = evidence_of(device)
        handed = store.endorsements_for(evidence, NOW)
        result = verify(evidence, handed, anchors(forge), later, Expected(report_data=UNCHECKED))
        assert result.accepted is accepted, result.findings


@pytest.mark.parametrize("sent", [1, 2, 3])
def test_a_revocation_reaches_a_device_whose_evidence_leaves_its_revoked_certificate_to_the_store(
    forge: NvidiaForge, store: CollateralStore, sent: int
) -> None:
    gpu = forge.gpu()
    put_fleet(store, forge, [gpu])
    chain = [load_certificate(raw) for raw in gpu.chain()]
    store.put_all(Endorsements(certificates=tuple(chain[1:])), Tee.NVIDIA)
    later = NOW + timedelta(hours=1)
    validity = Validity(start=later, end=later + timedelta(days=1))
    pair = gpu.pairs()[-1]
    assert pair[0].certificate.serial_number == chain[-2].serial_number
    store.put_document(Tee.NVIDIA, forge.answer(*pair, status=ocsp.OCSPCertStatus.REVOKED, validity=validity))
    evidence = Evidence(tee=Tee.NVIDIA, raw=gpu.report(), certificates=tuple(gpu.chain()[:sent]))

    handed = store.endorsements_for(evidence, NOW)

    found = verify(evidence, handed, anchors(forge), later, Expected(report_data=UNCHECKED))
    assert [finding.reason for finding in found.findings] == [Reason.CERTIFICATE_REVOKED]


def test_a_certificate_of_another_kind_beside_the_evidence_keeps_no_answer_from_it(
    forge: NvidiaForge, store: CollateralStore
) -> None:
    gpu = forge.gpu()
    put_fleet(store, forge, [gpu])
    evidence = evidence_of(gpu)
    beside = replace(evidence, certificates=(*evidence.certificates, IntelForge(NOW).root.der))
    assert store.endorsements_for(beside, NOW).documents == store.endorsements_for(evidence, NOW).documents


def test_documents_that_were_stored_before_there_were_shelves_are_served_and_move(
    forge: NvidiaForge, store: CollateralStore
) -> None:
    gpu = forge.gpu()
    put_fleet(store, forge, [gpu])
    folder = store.folder / "documents" / "nvidia"
    folder.mkdir(parents=True)
    before = set(store.documents(Tee.NVIDIA))
    for path in list((store.folder / "shelves" / "nvidia").glob("*/*")):
        path.rename(folder / path.name)

    assert set(store.endorsements_for(evidence_of(gpu), NOW).documents) == before
    for raw in before:
        store.put_document(Tee.NVIDIA, raw)
    assert list(folder.iterdir()) == []
    assert set(store.documents(Tee.NVIDIA)) == before


def test_a_manifest_that_was_altered_in_the_store_concerns_itself_alone(
    forge: NvidiaForge, store: CollateralStore
) -> None:
    gpu = forge.gpu()
    put_fleet(store, forge, [gpu])
    whole = set(store.endorsements_for(evidence_of(gpu), NOW).documents)
    path = next(
        path for path in (store.folder / "shelves" / "nvidia").glob("manifests-*/*.xml") if path.read_bytes() in whole
    )
    altered = path.read_bytes()
    path.write_bytes(altered[:-40])

    handed = store.endorsements_for(evidence_of(gpu), NOW)

    assert set(handed.documents) == whole - {altered}
    assert verify(evidence_of(gpu), handed, anchors(forge), NOW, Expected(report_data=UNCHECKED)).authentic


def test_xml_that_is_no_manifest_is_not_stored(store: CollateralStore) -> None:
    with pytest.raises(CollateralError, match="not a manifest"):
        store.put_document(Tee.NVIDIA, b"<SoftwareIdentity/>")
