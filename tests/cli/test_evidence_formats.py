"""``sealmarket evidence`` and ``collateral`` about CCA tokens, Nitro documents and Azure's guests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sealmarket.cli.main import main
from tests.attestation.support import NOW
from tests.forge.azure import EXTRA, PCRS, AzureForge
from tests.forge.cca import CcaForge
from tests.forge.intel import IntelForge
from tests.forge.nitro import NitroForge

CCA, NITRO, INTEL = CcaForge(), NitroForge(NOW), IntelForge(NOW)
DEVELOPMENT = ("--roots", "development")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEALMARKET_HOME", str(tmp_path / "home"))
    (tmp_path / "cca").write_bytes(CCA.token())
    (tmp_path / "trustee.json").write_text(json.dumps({"token": list(CCA.token())}))
    (tmp_path / "anchors.json").write_bytes(CCA.anchors())
    (tmp_path / "corim").write_bytes(CCA.corim())
    (tmp_path / "nitro").write_bytes(NITRO.document())
    (tmp_path / "nitro.der").write_bytes(NITRO.root.der)
    (tmp_path / "azure").write_bytes(AzureForge(intel=INTEL).document())
    (tmp_path / "collateral.json").write_text(INTEL.collateral())
    (tmp_path / "intel.der").write_bytes(INTEL.root.der)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any]:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    out, _ = capsys.readouterr()
    return int(ended.value.code or 0), json.loads(out) if out.startswith("{") else out


def verify(capsys: pytest.CaptureFixture[str], file: Path, *more: object) -> tuple[int, Any]:
    return run(capsys, "evidence", "verify", file, "--at", NOW.isoformat(), "--json", *more)


def reasons(answer: Any) -> list[str]:
    return [finding["reason"] for finding in answer["reasons"]]


def test_under_production_roots_each_is_refused(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    code, answer = verify(capsys, files / "cca", "--endorsement", files / "anchors.json")
    assert (code, reasons(answer)) == (1, ["untrusted_root"])
    code, answer = verify(capsys, files / "nitro", "--endorsement", files / "nitro.der")
    assert (code, reasons(answer)) == (1, ["untrusted_root"])
    code, answer = verify(capsys, files / "azure", "--collateral", files / "collateral.json")
    assert (code, reasons(answer)) == (1, ["untrusted_root"])


def test_without_its_platforms_key_or_with_one_that_cannot_be_read_a_token_is_refused(
    capsys: pytest.CaptureFixture[str], files: Path
) -> None:
    code, answer = verify(capsys, files / "cca", *DEVELOPMENT)
    assert (code, reasons(answer)) == (1, ["cca_key_unknown"])
    (files / "broken").write_bytes(CCA.corim() + b"\0")
    code, answer = verify(capsys, files / "cca", *DEVELOPMENT, "--endorsement", files / "broken")
    assert (code, reasons(answer)) == (1, ["endorsement_malformed"])


@pytest.mark.parametrize("name", ["cca", "trustee.json"])
def test_a_token_is_accepted_under_the_keys_that_the_caller_names(
    capsys: pytest.CaptureFixture[str], files: Path, name: str
) -> None:
    given = ("--endorsement", files / "anchors.json", "--endorsement", files / "corim")
    report_data = ("--report-data", CCA.challenge.hex())
    code, answer = verify(capsys, files / name, "--tee", "cca", *DEVELOPMENT, *given, *report_data)
    assert (code, answer["grade"]) == (0, "simulated")
    assert answer["claims"]["report_data"] == CCA.challenge.hex()
    code, answer = verify(capsys, files / name, *DEVELOPMENT, *given, "--report-data", "00" * 64)
    assert (code, reasons(answer)) == (1, ["report_data_mismatch"])


def test_a_document_is_accepted_under_the_root_that_the_caller_names(
    capsys: pytest.CaptureFixture[str], files: Path
) -> None:
    given = (*DEVELOPMENT, "--endorsement", files / "nitro.der")
    code, answer = verify(capsys, files / "nitro", "--tee", "nitro", *given)
    assert (code, answer["grade"], answer["tcb_status"]) == (0, "simulated", "NotRated")
    late = (files / "nitro", "--at", "2026-01-02T00:00:00Z", "--json", *given)
    code, answer = run(capsys, "evidence", "verify", *late)
    assert (code, reasons(answer)) == (1, ["evidence_stale"])


def test_an_azure_guest_is_accepted_without_a_policy_and_refused_by_one_that_does_not_name_it(
    capsys: pytest.CaptureFixture[str], files: Path
) -> None:
    given = (*DEVELOPMENT, "--collateral", files / "collateral.json")
    code, answer = verify(capsys, files / "azure", *given, "--nonce", EXTRA.hex())
    assert code == 0
    assert "vtpm_pcrs" in [warning["reason"] for warning in answer["warnings"]]
    measurement = {name: f"0x{value}" for name, value in _tdx(answer["claims"]).items()}
    policy: dict[str, Any] = {"measurements": [{"tee": "tdx", **measurement}], "platforms": "any"}
    policy["lowestGrade"] = "simulated"
    (files / "policy.json").write_text(json.dumps(policy))
    rules = (*given, "--nonce", EXTRA.hex(), "--policy", files / "policy.json")
    code, answer = verify(capsys, files / "azure", *rules)
    assert (code, reasons(answer)) == (1, ["paravisor_not_allowed"])
    policy["azure"] = {"paravisor": "allowed", "pcrs": [{"index": 4, "value": f"0x{PCRS[4].hex()}"}]}
    (files / "policy.json").write_text(json.dumps(policy))
    assert verify(capsys, files / "azure", *rules)[0] == 0


def _tdx(claims: dict[str, Any]) -> dict[str, str]:
    rtmrs = {
        f"rtmr{index}": claims["rtmrs"][index] if "rtmrs" in claims else claims[f"rtmr{index}"] for index in range(4)
    }
    names = {"mrTd": "mr_td", "mrConfigId": "mr_config_id", "mrOwner": "mr_owner", "mrOwnerConfig": "mr_owner_config"}
    rest = {"tdAttributes": "td_attributes", "xfam": "xfam"}
    return {**rtmrs, **{name: claims[claim] for name, claim in (names | rest).items()}}


@pytest.mark.parametrize(("name", "tee"), [("cca", "cca"), ("nitro", "nitro"), ("azure", "tdx")])
def test_each_is_shown_without_being_believed(
    capsys: pytest.CaptureFixture[str], files: Path, name: str, tee: str
) -> None:
    code, shown = run(capsys, "evidence", "show", files / name)
    assert (code, shown["verified"], shown["tee"]) == (0, False, tee)
    assert len(shown["claims"]["report_data"]) == 128
    if name == "azure":
        assert shown["vtpm"]["extra_data"] == EXTRA.hex()
        assert "HCLAkPub" in shown["runtime_data"]


def test_documents_in_a_store_serve_without_being_named_again(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    for name in ("anchors.json", "corim"):
        code, said = run(capsys, "collateral", "import", files / name, "--tee", "cca")
        assert (code, said) == (0, "1 kept\n")
    assert verify(capsys, files / "cca", *DEVELOPMENT)[0] == 0
    code, _ = run(capsys, "collateral", "export", files / "bundle.json")
    assert code == 0
    code, said = run(capsys, "collateral", "import", files / "bundle.json", "--store", files / "other")
    assert (code, said) == (0, "2 kept\n")
