"""``sealmarket evidence`` and ``collateral`` on GPUs: raw, as an agent's JSON, and together with a CPU TEE."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.policy.composite import binding_report_data, device_name, device_nonce
from sealmarket.attestation.policy.ear import read_ear
from sealmarket.attestation.policy.verify import authenticate
from sealmarket.cli.main import main
from sealmarket_enclave.protocol.numbers import Tee
from tests.attestation.support import NOW
from tests.forge.cca import CcaForge
from tests.forge.intel import IntelForge
from tests.forge.nvidia import NONCE, ForgedDevice, NvidiaForge

SESSION = b"\x5e" * 64
AT = ("--at", NOW.isoformat(), "--json")


@pytest.fixture(scope="module")
def forge() -> NvidiaForge:
    return NvidiaForge(NOW)


@pytest.fixture(scope="module")
def gpu(forge: NvidiaForge) -> ForgedDevice:
    return forge.gpu()


def entry(device: ForgedDevice, nonce: bytes) -> dict[str, str]:
    """One device as NVIDIA's SDK writes it."""
    chain = (device.leaf, device.brom, device.provisioner, device.identity, device.root)
    pem = "".join(one.pem for one in chain)
    return {
        "arch": "HOPPER",
        "certificate": base64.b64encode(pem.encode()).decode(),
        "evidence": base64.b64encode(device.report(nonce=nonce)).decode(),
        "nonce": nonce.hex(),
    }


@pytest.fixture
def files(forge: NvidiaForge, gpu: ForgedDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEALMARKET_HOME", str(tmp_path / "home"))
    (tmp_path / "gpu.bin").write_bytes(gpu.report())
    (tmp_path / "gpu.json").write_text(json.dumps([entry(gpu, NONCE)]))
    (tmp_path / "chain.pem").write_text("".join(one.pem for one in (gpu.leaf, gpu.brom, gpu.provisioner, gpu.identity)))
    (tmp_path / "roots.pem").write_text(forge.root.pem + forge.rim_root.pem)
    for number, document in enumerate((*forge.manifests(), *forge.answers(gpu))):
        raw = document if number % 2 else base64.b64encode(document) if document[:1] == b"\x30" else document
        (tmp_path / f"document{number}").write_bytes(raw)
    return tmp_path


def documents(files: Path, count: int = 8) -> list[object]:
    return [word for number in range(count) for word in ("--endorsement", files / f"document{number}")]


def roots(files: Path) -> list[object]:
    return ["--roots", "development", "--endorsement", files / "roots.pem"]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in ("evidence", *arguments)])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), json.loads(out) if out.startswith("{") else out, err


def machine(files: Path, gpu: ForgedDevice, forge: NvidiaForge, *, session: bytes = SESSION) -> Path:
    """A file of composite evidence of a TD whose binding quote is over ``session``."""
    intel = IntelForge(NOW)
    nonce = device_nonce(SESSION)
    evidence = Evidence(tee=Tee.NVIDIA, raw=gpu.report(nonce=nonce), certificates=tuple(gpu.chain()))
    anchors = TrustAnchors.production().with_development(forge.root.der)
    report = authenticate(evidence, Endorsements(), anchors, NOW)
    binding = binding_report_data(session, [device_name(report)])
    device = entry(gpu, nonce) | {"evidence": evidence.raw.hex()}
    document = {
        "version": "sealmarket/composite-evidence/1",
        "cpu": intel.tdx_quote(intel.td_report(report_data=SESSION)).hex(),
        "binding": intel.tdx_quote(intel.td_report(report_data=binding)).hex(),
        "devices": [device],
    }
    (files / "collateral.json").write_text(intel.collateral())
    (files / "roots.pem").write_text(forge.root.pem + forge.rim_root.pem + intel.root.pem)
    path = files / "machine.json"
    path.write_text(json.dumps(document))
    return path


def test_a_gpu_under_a_development_root_is_refused_in_production(
    capsys: pytest.CaptureFixture[str], files: Path
) -> None:
    code, answer, _ = run(capsys, "verify", files / "gpu.json", *AT)
    assert (code, answer["authentic"]) == (1, False)
    assert [reason["reason"] for reason in answer["reasons"]] == ["untrusted_root"]


def test_another_nonce_is_refused(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    code, answer, _ = run(capsys, "verify", files / "gpu.json", "--nonce", "22" * 32, *roots(files), *AT)
    assert (code, [reason["reason"] for reason in answer["reasons"]]) == (1, ["report_data_mismatch"])


def test_a_manifest_that_cannot_be_read_is_a_refusal(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    (files / "document0").write_text("<?xml version='1.0'?><!DOCTYPE x><SoftwareIdentity/>")
    code, answer, _ = run(capsys, "verify", files / "gpu.json", *documents(files, 1), *roots(files), *AT)
    assert (code, [reason["reason"] for reason in answer["reasons"]]) == (1, ["nvidia_rim_malformed"])


def test_composite_evidence_whose_binding_is_of_another_session_is_refused(
    capsys: pytest.CaptureFixture[str], files: Path, gpu: ForgedDevice, forge: NvidiaForge
) -> None:
    path = machine(files, gpu, forge, session=b"\x77" * 64)
    code, answer, _ = run(capsys, "verify", path, "--collateral", files / "collateral.json", *roots(files), *AT)
    assert (code, answer["verdict"]) == (1, "refused")
    assert "device_binding" in [reason["reason"] for reason in answer["reasons"]]


def realm(files: Path, gpu: ForgedDevice, forge: NvidiaForge) -> tuple[Path, list[object]]:
    """A file of composite evidence of a realm with a GPU, and the options with what each part needs."""
    cca, nonce = CcaForge(), device_nonce(SESSION)
    evidence = Evidence(tee=Tee.NVIDIA, raw=gpu.report(nonce=nonce), certificates=tuple(gpu.chain()))
    anchors = TrustAnchors.production().with_development(forge.root.der)
    binding = binding_report_data(SESSION, [device_name(authenticate(evidence, Endorsements(), anchors, NOW))])
    document = {
        "version": "sealmarket/composite-evidence/1",
        "cpu": cca.token(realm={10: SESSION}).hex(),
        "binding": cca.token(realm={10: binding}).hex(),
        "devices": [entry(gpu, nonce) | {"evidence": evidence.raw.hex()}],
    }
    (files / "realm.json").write_text(json.dumps(document))
    (files / "anchors").write_bytes(cca.anchors())
    (files / "corim").write_bytes(cca.corim())
    (files / "roots.pem").write_text(forge.root.pem + forge.rim_root.pem)
    return files / "realm.json", ["--endorsement", files / "anchors", "--endorsement", files / "corim"]


def test_a_file_that_no_part_of_a_machine_reads_is_a_refusal(
    capsys: pytest.CaptureFixture[str], files: Path, gpu: ForgedDevice, forge: NvidiaForge
) -> None:
    path, of_cpu = realm(files, gpu, forge)
    (files / "other").write_bytes(b"neither")
    other = ("--endorsement", files / "other")
    code, answer, _ = run(capsys, "verify", path, *of_cpu, *other, *documents(files), *roots(files), *AT)
    assert (code, [reason["reason"] for reason in answer["reasons"]]) == (1, ["endorsement_malformed"])


def test_each_part_of_a_machine_is_given_the_files_that_its_module_reads(
    capsys: pytest.CaptureFixture[str], files: Path, gpu: ForgedDevice, forge: NvidiaForge
) -> None:
    path, of_cpu = realm(files, gpu, forge)
    code, answer, _ = run(capsys, "verify", path, *of_cpu, *documents(files), *roots(files), *AT)
    assert (code, answer["verdict"], answer["reasons"]) == (0, "accepted", [])


@pytest.mark.parametrize("file", ["gpu.bin", "gpu.json"])
def test_a_gpu_is_verified_with_all_that_was_given(capsys: pytest.CaptureFixture[str], files: Path, file: str) -> None:
    arguments = (files / file, "--nonce", NONCE.hex(), "--endorsement", files / "chain.pem")
    code, answer, _ = run(capsys, "verify", *arguments, *documents(files), *roots(files), *AT)
    assert (code, answer["verdict"], answer["grade"], answer["warnings"]) == (0, "accepted", "simulated", [])
    assert len(answer["claims"]["manifests"]) == 2


def test_what_is_missing_without_a_policy_is_a_warning(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    code, answer, _ = run(capsys, "verify", files / "gpu.json", *roots(files), *AT)
    assert code == 0
    assert {warning["reason"] for warning in answer["warnings"]} == {"nvidia_ocsp_missing", "nvidia_rim_missing"}
    assert "binding to a CPU TEE unchecked" in answer["notes"]


def test_a_machine_is_one_answer_and_one_ear(
    capsys: pytest.CaptureFixture[str], files: Path, gpu: ForgedDevice, forge: NvidiaForge
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    (files / "ear.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path = machine(files, gpu, forge)
    arguments = ("--collateral", files / "collateral.json", "--report-data", SESSION.hex(), "--ear", files / "ear.jwt")
    signing = ("--ear-key", files / "ear.key")
    code, answer, _ = run(capsys, "verify", path, *arguments, *signing, *documents(files), *roots(files), *AT)
    assert (code, answer["verdict"], list(answer["parts"])) == (0, "accepted", ["tdx", "tdx-binding", "nvidia-0"])
    claims = read_ear((files / "ear.jwt").read_text().strip(), key.public_key(), NOW)
    assert set(claims["submods"]) == {"tdx", "tdx-binding", "nvidia-0"}


def test_a_machine_is_told_to_people_part_by_part(
    capsys: pytest.CaptureFixture[str], files: Path, gpu: ForgedDevice, forge: NvidiaForge
) -> None:
    path = machine(files, gpu, forge, session=b"\x77" * 64)
    arguments = ("verify", path, "--collateral", files / "collateral.json", *roots(files), "--at", NOW.isoformat())
    code, text, _ = run(capsys, *arguments)
    assert code == 1
    assert text.startswith("REFUSED: composite evidence of 3 parts\n  refused: device_binding")
    assert text.count("device_binding") == 1
    for label in ("[tdx] ", "[tdx-binding] ", "[nvidia-0] "):
        assert f"\n{label}" in text


def test_an_event_log_belongs_to_a_cpu(capsys: pytest.CaptureFixture[str], files: Path, gpu: ForgedDevice) -> None:
    (files / "two.json").write_text(json.dumps([entry(gpu, NONCE)] * 2))
    code, _, err = run(capsys, "verify", files / "two.json", "--event-log", files / "gpu.bin", *AT)
    assert code == 2
    assert "devices alone" in err


def test_evidence_is_shown_unverified(
    capsys: pytest.CaptureFixture[str], files: Path, gpu: ForgedDevice, forge: NvidiaForge
) -> None:
    code, answer, _ = run(capsys, "show", files / "gpu.json")
    assert (code, answer["verified"], answer["tee"], answer["claims"]["mode"]) == (0, False, "nvidia", "spt")
    code, answer, _ = run(capsys, "show", machine(files, gpu, forge))
    assert (code, answer["verified"]) == (0, False)
    assert [part["tee"] for part in answer["parts"]] == ["tdx", "tdx", "nvidia"]
