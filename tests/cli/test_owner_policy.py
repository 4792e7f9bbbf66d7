"""`owner policy new` asks in plain language, refuses what nobody could meet, and writes what `owner seal` takes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from scripts.toolchain import ROOT
from sealmarket.cli._options import Usage, asset_option, require_cards_of
from sealmarket.cli.main import main
from sealmarket.client.asset_card import MAXIMUM_CARD, AssetCard, asset_card, book_digest, load_asset_card
from sealmarket.client.draft_file import read_draft
from sealmarket.client.public_keys import public_key_in, write_public_key
from sealmarket.protocol.output_rules import MembershipRules
from sealmarket.workloads.cache import WorkloadCache
from sealmarket.workloads.steps import shipped
from sealmarket.workloads.wheels import build
from sealmarket_enclave.protocol.card import Card, Column, Dialect, ReaderRef
from sealmarket_enclave.protocol.codec import (
    Address,
    Bytes32,
    Uint64,
    Wei,
    canonical_json,
    from_builtins,
    to_builtins,
)
from sealmarket_enclave.protocol.hashing import sha256
from sealmarket_enclave.protocol.policy import Serving
from sealmarket_enclave.sealed.hpke import PrivateKey
from tests.client.bundles import MEASUREMENT, Case
from tests.workloads.projects import SERVES, project

DIGEST = "0x" + "77" * 32
CHECKSUMMED = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
NOW = ("--now", "2026-11-28T00:00:00Z")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)
    Path("m.json").write_bytes(canonical_json({"measurement": MEASUREMENT, "digest": "0x"}))
    Path("data.csv").write_text("age,visits\n1,2\n")

    def called(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["owner", "policy", "new", "policy.json", *words])
        code: Any = ended.value.code
        said = capsys.readouterr()
        return code or 0, said.out, said.err

    return called


TABLE = Card(
    kind="table",
    media_type="text/csv",
    dialect=Dialect(),
    reader=ReaderRef(name="tables", digest=Bytes32(b"\x01" * 32)),
    columns=(Column(name="age", type="integer"),),
)
BASE = ("--workload", DIGEST, "--evidence", "m.json", "--title", "Rows", "--defaults", *NOW)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--defaults", *NOW), "--title has no default"),
        (("--title", "x", "--defaults", *NOW), "--evidence has no default"),
        ((*BASE, "--expiry", "1970-01-01"), "is over"),
        ((*BASE, "--expiry", "soon"), "is no date"),
        ((*BASE, "--price", "cheap"), "is no amount"),
        ((*BASE, "--purposes", "sell"), "is none of train, fine_tune, infer, query"),
        ((*BASE, "--consumer", CHECKSUMMED.replace("aA", "Aa")), "checksum"),
        ((*BASE, "--label", "GRU"), "is no label"),
        ((*BASE, "--minimum-owners", "17"), "at most 16 assets"),
        ((*BASE, "--max-uses", "0"), "is no count"),
    ],
)
def test_an_answer_that_is_none_is_refused_and_nothing_is_written(words: tuple[str, ...], said: str, run: Run) -> None:
    code, _, error = run(*words)
    assert code in (1, 2)
    assert said in error
    assert "what to do: " in error
    assert not Path("policy.json").exists()


def test_a_file_that_is_there_is_not_written_over(run: Run) -> None:
    assert run(*BASE)[0] == 0
    code, _, error = run(*BASE)
    assert (code, "policy.json exists" in error) == (2, True)


def test_the_draft_says_dates_coins_and_accounts_as_people_write_them_and_seals(run: Run) -> None:
    words = ("--consumer", CHECKSUMMED, "--price", "0.5coin", "--columns-of", "data.csv", "--label", "DUO:0000042")
    code, out, error = run(*BASE, *words, "--expiry", "2027-01-31", "--label", "dpv:AcademicResearch")
    assert code == 0, error
    written = json.loads(Path("policy.json").read_bytes())
    assert (written["terms"]["price"], written["terms"]["expiry"]) == ("0.5coin", "2027-01-31T23:59:59Z")
    assert written["terms"]["consumers"] == [CHECKSUMMED]
    assert written["dataCard"] == {
        "columns": ["age", "visits"],
        "purposes": ["DUO:0000042", "dpv:AcademicResearch"],
    }
    draft = read_draft(Path("policy.json").read_bytes())
    assert draft.terms.price == 5 * 10**17
    assert draft.terms.consumers == (Address.parse(CHECKSUMMED.lower()),)
    assert "Each use costs 0.5 coin" in out
    assert f"Only these accounts may ask: {CHECKSUMMED}" in out
    assert "Not allowed: fine_tune, infer, query." in out
    assert "DUO:0000042 (general research)" in out
    assert "until 2027-01-31T23:59:59Z (in 64 days)" in out


def test_what_is_left_open_is_said_loudly(run: Run) -> None:
    _, out, _ = run(*BASE, "--allow-simulated")
    assert "ANYONE may ask" in out
    assert "SIMULATED evidence is accepted" in out
    assert "ANY platform may run it" in out


def test_on_a_terminal_it_asks_and_asks_again_after_a_wrong_answer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"title": ["Rows"], "cost": ["cheap", "0.25coin"], "until when": ["in 10 days"], "workload": [DIGEST]}

    def prompt(question: str, default: str | None = None, **_: Any) -> str:
        for part, given in answers.items():
            if part in question.lower() and given:
                return given.pop(0)
        assert default is not None, question
        return default

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.prompt", prompt)
    code, out, error = run("--evidence", "m.json", *NOW)
    assert code == 0, error
    assert "is no amount" in error
    assert "train a model on the data" in error
    assert "Each use costs 0.25 coin" in out
    assert read_draft(Path("policy.json").read_bytes()).title == "Rows"


# --- services ---------------------------------------------------------------------------------------------------


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """The folder of a workload that serves: ``chat``."""
    (tmp_path / "serving").mkdir()
    return project(tmp_path / "serving", manifest=SERVES).rename(tmp_path / "chat")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--no-serving", "--per-unit", "1"), "--per-unit and --no-serving say two things"),
        (("--serving", "--per-unit", "cheap"), "is no amount"),
        (("--serving", "--max-lease", "0"), "is no count"),
        (("--serving", "--price", "5", "--per-unit", "6"), "one use costs 5, less than the royalty of one unit, 6"),
        (("--serving", "--endpoints", "Chat!"), "endpoints"),
        (("--serving", "--endpoints", ","), "endpoints"),
        (("--serving", "--meter", "0x12"), "0x12"),
        (("--serving", "--per-unit", str(1 << 88), "--price", str(1 << 90)), "ask for less"),
    ],
)
def test_terms_that_no_service_could_meet_are_refused_and_nothing_is_written(
    words: tuple[str, ...], said: str, run: Run
) -> None:
    code, _, error = run(*BASE, *words)
    assert code in (1, 2)
    assert said in " ".join(error.split())
    assert not Path("policy.json").exists()


def test_a_service_is_not_allowed_for_workloads_that_serve_nothing_nor_refused_to_those_that_only_serve(
    run: Run, session: Path, tmp_path: Path
) -> None:
    (tmp_path / "batch").mkdir()
    project(tmp_path / "batch")
    rest = BASE[2:]
    code, _, error = run("--workload", "batch/mine", *rest, "--serving")
    assert (code, "each workload named is of kind batch" in error) == (2, True)
    code, _, error = run("--workload", "chat", *rest, "--no-serving")
    assert (code, "each workload named only serves" in error) == (2, True)
    code, _, error = run("--workload", "chat", *rest, "--meter", "batch/mine")
    assert (code, "batch/mine is no meter" in error) == (2, True)
    assert not Path("policy.json").exists()


def test_a_workload_that_serves_has_terms_for_services_by_default_whose_lease_the_price_covers(
    run: Run, session: Path
) -> None:
    code, out, error = run("--workload", "chat", *BASE[2:], "--price", "0.2coin")
    assert code == 0, error
    draft = read_draft(Path("policy.json").read_bytes())
    assert draft.serving == Serving(
        per_unit=Wei(2 * 10**12),
        max_lease=Uint64(100_000),
        max_prompt_units=Uint64(2048),
        max_answer_units=Uint64(1024),
        unit_bytes=64,
        endpoints=("chat", "completions", "models"),
    )
    assert (draft.terms.purposes, draft.output.media_types) == (("infer",), ("application/json",))
    assert "Each unit served earns 0.000002 coin or more; at most 100000 units" in out
    assert "covers 100000 units that are served and never paid for" in out
    assert "Not allowed: a service" not in out


def test_each_term_for_services_has_an_option(run: Run) -> None:
    words = ("--per-unit", "0.00001coin", "--max-lease", "4000", "--max-prompt-units", "1", "--endpoints", "score")
    code, out, error = run(*BASE, *words, "--meter", "0x" + "5a" * 32, "--max-answer-units", "64", "--unit-bytes", "16")
    assert code == 0, error
    serving = read_draft(Path("policy.json").read_bytes()).serving
    assert isinstance(serving, Serving)
    assert (serving.per_unit, serving.max_lease, serving.endpoints) == (10**13, 4000, ("score",))
    assert (serving.max_prompt_units, serving.max_answer_units, serving.unit_bytes) == (1, 64, 16)
    assert str(serving.meter) == "0x" + "5a" * 32
    assert "a service that answers from the data at score" in out


def test_without_a_word_of_services_none_may_answer(run: Run) -> None:
    code, out, _ = run(*BASE)
    assert code == 0
    assert read_draft(Path("policy.json").read_bytes()).serving is UNSET
    assert "Not allowed: a service that answers users from the data." in out


# --- the card that an owner hands out ---------------------------------------------------------------------------


def test_a_card_that_is_none_or_too_long_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    for raw in (b"{}", b"[", b"\xff", b" " * (MAXIMUM_CARD + 1)):
        path.write_bytes(raw)
        with pytest.raises(Exception, match="is no asset card"):
            load_asset_card(path)


def test_a_card_names_the_version_the_columns_the_price_and_the_market(tmp_path: Path) -> None:
    case = Case()
    data_card = {"columns": ["age", 5, "x" * 500], "purposes": ["DUO:0000042"], "other": {"deep": [1]}}
    made = asset_card(case.policy, data_card, Address(b"\x01" * 20), case.book)
    assert made.columns == ("age", "x" * 200)
    assert (made.asset_id, made.asset_version) == (case.policy.asset_id, case.policy.asset_version)
    assert made.book_digest == book_digest(case.book)
    path = tmp_path / "card.json"
    path.write_bytes(made.text())
    assert load_asset_card(path) == made
    assert isinstance(made, AssetCard)
    assert to_builtins(made)["priceText"].endswith("coin")


def test_a_card_of_another_market_is_refused_and_one_of_another_book_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case, path = Case(), tmp_path / "card.json"
    made = asset_card(case.policy, {}, Address(b"\x01" * 20), case.book)
    path.write_bytes(made.text())
    assert asset_option(str(path)) == (made.asset_id, made.asset_version)
    require_cards_of(case.book, [str(path), DIGEST])
    assert capsys.readouterr().err == ""
    require_cards_of(replace(case.book, store="http://elsewhere"), [str(path)])
    assert "WARNING" in capsys.readouterr().err
    for other in (replace(case.book, chain_id=1), replace(case.book, market=Address(b"\x0e" * 20))):
        with pytest.raises(Usage, match="is the card of an asset at market"):
            require_cards_of(other, [str(path)])


@pytest.mark.parametrize("text", [f"{DIGEST}:", f"{DIGEST}:x", f"{DIGEST}:1:2", "nowhere.json", "0x12"])
def test_what_names_no_asset_is_a_wrong_call(text: str) -> None:
    with pytest.raises(Usage):
        asset_option(text)


@pytest.mark.parametrize("command", ["policy check policy.json", "policy check policy.json --now 2026-12-01"])
def test_a_policy_that_expired_is_not_usable(
    command: str, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(*BASE, "--expiry", "2026-11-30")[0] == 0
    monkeypatch.setattr("time.time", lambda: 1_900_000_000.0)
    with pytest.raises(SystemExit) as ended:
        main(command.split())
    said = capsys.readouterr()
    assert ended.value.code == 1
    assert "the terms ended at 2026-11-30T23:59:59Z" in said.err
    with pytest.raises(SystemExit) as ended:
        main(["policy", "check", "policy.json", "--now", "2026-11-29"])
    assert ended.value.code == 0
    assert "usable" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["policy", "check", "policy.json", "--now", "2026-11-29", "--json"])
    assert json.loads(capsys.readouterr().out)["expiry"] == 1_796_083_199


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--validators", "--formats", "text/plain"), "no validator is shipped for text/plain"),
        (("--smallest-group", "10"), "--smallest-group counts rows of tables, and no card says that the data is one"),
        (("--withhold", "100"), "--withhold counts rows of tables, and no card says that the data is one"),
        (("--withhold", "501"), "less than or equal to 500"),
        (
            ("--withhold", "100", "--formats", "application/json", "--card", "card.json"),
            "tests models of application/onnx",
        ),
    ],
)
def test_validators_that_could_not_judge_are_refused_and_nothing_is_written(
    words: tuple[str, ...], said: str, run: Run
) -> None:
    Path("card.json").write_bytes(TABLE.canonical())
    code, _, error = run(*BASE, *words)
    assert code == 2
    assert said in " ".join(error.split())
    assert not Path("policy.json").exists()


def test_a_draft_with_withheld_rows_has_a_test_of_membership_for_models_and_says_how_many(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEALMARKET_HOME", "home")
    _lock_without_wheels("membership", "onnx")
    Path("card.json").write_bytes(TABLE.canonical())
    code, out, error = run(*BASE, "--withhold", "100", "--card", "card.json")
    assert code == 0, error
    rules = read_draft(Path("policy.json").read_bytes()).output
    check = rules.checks[-1]
    assert (check.media_type, check.data, check.withheld) == ("application/onnx", True, 100)
    assert check.digest == shipped("membership", WorkloadCache.of_user(), "validators").digest
    assert from_builtins(MembershipRules, check.rules).advantage_permille == 100
    assert [one.withholds for one in rules.checks] == [0, 0, 100]
    assert "Of a thousand rows 100 are withheld from each workload, picked anew for each job." in out


def _lock_without_wheels(*validators: str) -> None:
    """Steps of these validators in the cache, locked for no wheel, so that none is downloaded."""
    tag = sys.implementation.cache_tag
    folder = WorkloadCache.of_user().folder / "locked"
    folder.mkdir(parents=True)
    for name in validators:
        lock = (ROOT / "sealmarket/validators" / name / "requirements.lock").read_bytes()
        (folder / f"{sha256(lock).hex()[:16]}-{tag}").write_bytes(build(b"", []).canonical())


def test_a_draft_with_validators_names_the_words_that_may_leave_and_says_so(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEALMARKET_HOME", "home")
    words = ("--validators", "--formats", "application/json", "--columns-of", "data.csv")
    code, out, error = run(*BASE, *words)
    assert code == 0, error
    (check,) = read_draft(Path("policy.json").read_bytes()).output.checks
    assert (check.media_type, check.data) == ("application/json", False)
    assert list(check.rules["words"]) == ["age", "visits"]
    assert f"Nothing leaves as application/json unless the validator {check.digest} lets it pass." in out


# --- an auditor ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [b"", b"0x", b"0x11", b"\xff\xfe", b"0x" + b"00" * 1216, b"0x" + b"11" * 4000],
    ids=["empty", "no key", "short", "no text", "a point to which nothing is sealed", "long"],
)
def test_a_file_that_is_no_public_key_is_named_in_no_policy(raw: bytes, run: Run) -> None:
    """Evidence would be sealed to no one, and each provider refused for it."""
    Path("auditor.public").write_bytes(raw)
    code, _, error = run(*BASE, "--auditor", "auditor.public")
    assert code == 1
    assert "is no public key" in error or "more than 8192 bytes" in error
    assert not Path("policy.json").exists()


def test_more_auditors_than_evidence_is_sealed_to_are_refused(run: Run) -> None:
    words = []
    for number in range(3):
        write_public_key(Path(f"{number}.public"), PrivateKey.generate().public)
        words += ["--auditor", f"{number}.public"]
    code, _, error = run(*BASE, *words)
    assert code == 1
    assert "auditors" in error


def test_an_auditors_key_is_in_the_policy_and_said_by_its_fingerprint(run: Run) -> None:
    """Who swaps the file on its way to the owner would read in the auditor's place."""
    key = PrivateKey.generate().public
    write_public_key(Path("auditor.public"), key)
    code, said, error = run(*BASE, "--auditor", "auditor.public")
    assert code == 0, error
    assert read_draft(Path("policy.json").read_bytes()).auditors == (key.raw,)
    assert str(key.digest) in said


def test_an_auditors_key_is_made_once_and_its_public_half_shown_from_either_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def call(*words: str) -> tuple[object, str]:
        with pytest.raises(SystemExit) as ended:
            main(["auditor", "key", *words])
        return ended.value.code, capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEALMARKET_PASSPHRASE", "a passphrase that is long enough")
    code, said = call("new", "auditor.key")
    assert code in (0, None)
    assert Path("auditor.key").stat().st_mode & 0o777 == 0o600
    public = public_key_in(Path("auditor.key.public"))
    assert public.raw.hex() not in Path("auditor.key").read_text()
    for file in ("auditor.key", "auditor.key.public"):
        code, shown = call("show", file)
        assert shown.splitlines() == [str(public.raw), f"fingerprint {public.digest}"]
    assert str(public.digest) in said
    before = Path("auditor.key").read_bytes()
    assert call("new", "auditor.key")[0] == 2
    assert call("new", "other.key", "--public", "auditor.key.public")[0] == 2
    assert (Path("auditor.key").read_bytes(), Path("other.key").exists()) == (before, False)
