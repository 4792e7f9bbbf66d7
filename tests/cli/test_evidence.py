"""``sealmarket evidence|collateral|policy``: answers, exit codes, and the forms in which agents write
evidence."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sealmarket.attestation.policy.ear import read_ear
from sealmarket.cli.main import main
from tests.attestation.support import NOW, report_of
from tests.forge.intel import IntelForge
from tests.vectors import manifest, vector

AT = NOW.isoformat()
FIELDS = {"tee", "authentic", "verdict", "grade", "tcb_status", "advisories", "claims", "reasons"}


@pytest.fixture(scope="module")
def forge() -> IntelForge:
    return IntelForge(NOW)


@pytest.fixture
def files(forge: IntelForge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEALMARKET_HOME", str(tmp_path / "home"))
    quote = forge.tdx_quote(forge.td_report(report_data=b"\x0b" * 32 + bytes(32)))
    (tmp_path / "quote.bin").write_bytes(quote)
    (tmp_path / "collateral.json").write_text(forge.collateral())
    (tmp_path / "root.pem").write_text(forge.root.pem)
    (tmp_path / "root.der").write_bytes(forge.root.der)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def verify(capsys: pytest.CaptureFixture[str], files: Path, *more: object, quote: str = "quote.bin") -> Any:
    arguments = ("--collateral", files / "collateral.json", "--at", AT, "--json", *more)
    code, out, err = run(capsys, "evidence", "verify", files / quote, *arguments)
    return code, json.loads(out) if out else None, err


DEVELOPMENT = ("--roots", "development", "--endorsement")


def test_what_is_no_evidence_ends_with_2(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    for content in (b"", b"hello", b"{}", b"[1]", bytes(1184), b"\xff" * 5000, b"00" * 2000, b"{" * 5000):
        (files / "other").write_bytes(content)
        code, answer, err = verify(capsys, files, quote="other")
        assert code == 2
        assert answer["verdict"] == "refused"
        assert "not evidence" in err
    assert run(capsys, "evidence", "verify", files / "absent")[0] == 2
    assert verify(capsys, files, "--tee", "snp")[0] == 2


def test_simulated_evidence_is_refused_under_production_roots(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    code, answer, _ = verify(capsys, files, "--endorsement", files / "root.pem")

    assert code == 1
    assert answer.keys() >= FIELDS
    assert (answer["authentic"], answer["grade"], answer["verdict"]) == (False, None, "refused")
    assert [r["reason"] for r in answer["reasons"]] == ["untrusted_root"]
    assert set(answer["reasons"][0]) == {"reason", "expected", "found", "remedy"}


@pytest.mark.parametrize("root", ["root.pem", "root.der"])
def test_simulated_evidence_says_so_where_it_is_accepted(
    capsys: pytest.CaptureFixture[str], files: Path, root: str
) -> None:
    code, answer, _ = verify(capsys, files, *DEVELOPMENT, files / root)

    assert code == 0
    assert (answer["verdict"], answer["grade"], answer["tcb_status"]) == ("accepted", "simulated", "UpToDate")
    assert "measurement unchecked" in answer["notes"]
    assert any("SIMULATED" in note for note in answer["notes"])
    code, out, _ = run(
        capsys, "evidence", "verify", files / "quote.bin", "--collateral", files / "collateral.json",
        "--at", AT, *DEVELOPMENT, files / root,
    )  # fmt: skip
    assert code == 0
    assert "SIMULATED" in out
    assert "measurement unchecked" in out


def test_report_data_is_held_in_full(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    roots = (*DEVELOPMENT, files / "root.pem")

    assert verify(capsys, files, *roots, "--nonce", "0b" * 32)[0] == 0
    assert verify(capsys, files, *roots, "--report-data", "0b" * 32 + "00" * 32)[0] == 0
    for wrong in ("0b" * 31, "0b" * 33, "0c" * 32):
        code, answer, _ = verify(capsys, files, *roots, "--nonce", wrong)
        assert (code, answer["reasons"][0]["reason"]) == (1, "report_data_mismatch")
    assert verify(capsys, files, "--nonce", "0b", "--report-data", "0b")[0] == 2
    assert verify(capsys, files, "--nonce", "xyz")[0] == 2
    assert verify(capsys, files, "--nonce", "00" * 65)[0] == 2


def test_every_form_of_the_same_evidence_gets_the_same_answer(
    capsys: pytest.CaptureFixture[str], files: Path, forge: IntelForge
) -> None:
    raw = (files / "quote.bin").read_bytes()
    forms: dict[str, bytes] = {
        "raw": raw,
        "hex": raw.hex().encode() + b"\n",
        "0x hex": b"0x" + raw.hex().upper().encode(),
        "base64": base64.encodebytes(raw),
        "base64url": base64.urlsafe_b64encode(raw).rstrip(b"="),
        "dstack": json.dumps({"quote": raw.hex(), "event_log": "[]", "vm_config": "{}"}).encode(),
        "trustee": json.dumps({"quote": base64.b64encode(raw).decode(), "cc_eventlog": None}).encode(),
        "envelope": json.dumps({"primary_evidence": {"quote": base64.b64encode(raw).decode()}}).encode(),
        "quoted": json.dumps({"tee": "tdx", "evidence": json.dumps({"quote": raw.hex()})}).encode(),
    }
    for name, content in forms.items():
        (files / "form").write_bytes(content)
        code, answer, err = verify(capsys, files, *DEVELOPMENT, files / "root.pem", quote="form")
        assert (code, err) == (0, ""), name
        assert answer["claims"]["evidence_sha256"] == report_of(forge, raw).evidence_digest.hex(), name


def test_a_policy_decides_where_it_is_given(capsys: pytest.CaptureFixture[str], files: Path, forge: IntelForge) -> None:
    from sealmarket.attestation.policy.rules import AppraisalPolicy
    from sealmarket_enclave.protocol.codec import canonical_json

    measurement = report_of(forge, (files / "quote.bin").read_bytes()).measurement
    rules = AppraisalPolicy(measurements=(measurement,), platforms="any", lowest_grade="simulated")
    (files / "policy.json").write_bytes(canonical_json(rules))
    arguments = (*DEVELOPMENT, files / "root.pem", "--policy", files / "policy.json")

    assert verify(capsys, files, *arguments)[1]["reasons"][0]["reason"] == "evidence_age_unknown"
    code, answer, _ = verify(capsys, files, *arguments, "--nonce", "0b" * 32)
    assert (code, "measurement unchecked" in answer["notes"]) == (0, False)
    assert verify(capsys, files, *arguments, "--collected-at", "2025-12-01")[0] == 1
    (files / "policy.json").write_bytes(b"{}")
    assert verify(capsys, files, *arguments)[0] == 1
    assert run(capsys, "policy", "check", files / "policy.json")[0] == 1


def test_an_event_log_that_is_not_the_quotes_is_refused(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    log = vector("tdx/go-tdx-guest-ccel-ccel_data.dat")
    (files / "log").write_bytes(log)
    entry = next(e for e in manifest() if e["file"] == "tdx/go-tdx-guest-cos-113-tdx-quote.bin")
    check = entry["verifications"][0]
    (files / "cos").write_bytes(vector(entry["file"]))
    (files / "collateral.json").write_bytes(vector(check["collateral"]))
    at = ("--at", "2025-07-01T00:00:00Z", "--event-log", files / "log")

    assert verify(capsys, files, *at, quote="cos")[0] == 0
    (files / "log").write_bytes(log.replace(b"grub", b"grab"))
    assert verify(capsys, files, *at, quote="cos")[0] == 0, "texts beside the digests are not measured"
    position = log.index(b"\x0c\x00", 200) + 10
    (files / "log").write_bytes(log[:position] + bytes([log[position] ^ 1]) + log[position + 1 :])
    code, answer, _ = verify(capsys, files, *at, quote="cos")
    assert (code, answer["reasons"][0]["reason"]) == (1, "rtmr_replay")
    (files / "log").write_bytes(log[:1000])
    assert verify(capsys, files, *at, quote="cos")[0] == 1


def test_a_verdict_can_be_taken_away_as_a_signed_ear(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (files / "key.pem").write_bytes(pem)
    ear = ("--ear", files / "ear.jwt", "--ear-key", files / "key.pem")

    assert verify(capsys, files, *ear)[0] == 1
    refused = read_ear((files / "ear.jwt").read_text().strip(), key.public_key(), NOW)
    assert verify(capsys, files, *DEVELOPMENT, files / "root.pem", *ear)[0] == 0
    accepted = read_ear((files / "ear.jwt").read_text().strip(), key.public_key(), NOW)

    assert refused["submods"]["tdx"]["ear.status"] == "contraindicated"
    assert accepted["submods"]["tdx"]["ear.status"] == "warning"
    assert accepted["submods"]["tdx"]["sealmarket.verdict"]["notes"][0] == "measurement unchecked"


def test_evidence_is_shown_without_being_believed(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    code, out, _ = run(capsys, "evidence", "show", files / "quote.bin")

    assert code == 0
    shown = json.loads(out)
    assert shown["verified"] is False
    assert shown["claims"]["report_data"] == "0b" * 32 + "00" * 32


def test_collateral_from_a_store_serves_without_network(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    entry = next((e for e in manifest() if e["file"] == "tdx/dcap-qvl-tdx_quote.bin"), None)
    (files / "real").write_bytes(vector("tdx/dcap-qvl-tdx_quote.bin"))
    assert entry is not None
    (files / "real.json").write_bytes(vector(entry["verifications"][0]["collateral"]))
    at = ("--at", "2025-07-01T00:00:00Z")

    assert run(capsys, "evidence", "verify", files / "real", *at)[0] == 1
    assert run(capsys, "collateral", "import", files / "collateral.json")[0] == 1, "not under a vendor's root"
    assert run(capsys, "collateral", "import", files / "real.json")[0] == 0
    assert run(capsys, "evidence", "verify", files / "real", *at)[0] == 0
    assert run(capsys, "collateral", "status", *at)[0] == 0
    code, out, _ = run(capsys, "collateral", "status", "--json", "--at", "2025-07-15T00:00:00Z")
    assert (code, json.loads(out)[0]["state"]) == (1, "due")
    assert run(capsys, "collateral", "export", files / "bundle.json")[0] == 0
    store = ("--store", files / "elsewhere")
    assert run(capsys, "collateral", "import", files / "bundle.json", *store)[0] == 0
    assert run(capsys, "evidence", "verify", files / "real", *at, *store)[0] == 0
    expired = run(capsys, "evidence", "verify", files / "real", "--at", "2025-09-01T00:00:00Z")
    assert expired[0] == 1


def test_newer_collateral_foretells_who_falls_out(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    entry = next((e for e in manifest() if e["file"] == "tdx/automata-dcap-attestation-alibaba_quote_5_v5.bin"), None)
    (files / "real").write_bytes(vector("tdx/dcap-qvl-tdx_quote.bin"))
    assert entry is not None
    (files / "used.json").write_bytes(vector("tdx/collateral/B0C06F000000-TDX-20250619-ev17-0e940a8f931c.json"))
    assert run(capsys, "collateral", "import", files / "used.json")[0] == 0

    code, out, _ = run(
        capsys, "collateral", "forecast", files / "used.json", files / "real", "--at", "2025-07-01T00:00:00Z"
    )

    assert code == 0
    assert "stays as it is" in out
    at = ("--at", "2025-07-01T00:00:00Z", "--json")
    _, out, _ = run(capsys, "collateral", "forecast", files / "used.json", files / "real", *at)
    [found] = json.loads(out)
    assert (found["name"], found["fallsOut"], found["before"]) == ("real", False, found["after"])


def test_options_that_exclude_each_other_are_a_wrong_call_with_a_next_step(
    capsys: pytest.CaptureFixture[str], files: Path
) -> None:
    (files / "any").write_bytes(b"any")
    code, _, said = run(capsys, "evidence", "verify", files / "any", "--nonce", "00", "--report-data", "00")
    assert (code, "what to do: give one of them" in said) == (2, True)


def test_rules_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "policy", "schema")

    assert code == 0
    assert "AppraisalPolicy" in json.loads(out)["$defs"]
