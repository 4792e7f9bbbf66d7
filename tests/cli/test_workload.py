"""``sealmarket workload``: from nothing to a job's digest and a trial of it, with every refusal named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sealmarket.cli.main import main
from sealmarket.workloads.cache import WorkloadCache
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.templates import templates, workload_name
from sealmarket.workloads.validators import default_validators
from sealmarket_enclave.protocol.card import ARROW, Card, Column, ReaderRef
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.workload.manifest import parse_manifest
from tests.enclave.scene import WITHHOLDING, write_step
from tests.enclave.workload.bundles import lock_line, wheel

ROWS = "age,income\n30,1.5\n41,2.5\n"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEALMARKET_HOME", str(tmp_path / "home"))


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["workload", *map(str, words)])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


@pytest.fixture
def mine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    folder = tmp_path / "mine"
    assert run(capsys, "new", folder)[0] == 0
    assert run(capsys, "lock", folder)[0] == 0
    (tmp_path / "rows.csv").write_text(ROWS)
    return folder


def test_a_folder_with_something_in_it_is_not_overwritten(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "new", mine)
    assert code == 1
    assert "is there already" in err


def test_a_template_that_is_none_is_refused_with_those_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, "new", tmp_path / "new", "--template", "gone")
    assert code == 1
    assert "gguf-chat, gradient-boosting, onnx-inference, onnx-score, python, pytorch, xgboost" in err


def test_a_new_project_is_named_after_its_folder_and_lacks_nothing_but_its_lock(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for template in templates():
        folder = tmp_path / f"My {template}_1"
        assert run(capsys, "new", folder, "--template", template)[0] == 0
        assert parse_manifest((folder / "workload.toml").read_bytes()).name == f"my-{template}-1"
        code, out, _ = run(capsys, "check", folder, "--json")
        assert code == 1
        assert [finding["path"] for finding in json.loads(out)["findings"]] == ["environment.json"]


@pytest.mark.parametrize(("folder", "name"), [("A B", "a-b"), ("--", "workload"), ("Ünï", "n"), ("x" * 99, "x" * 64)])
def test_a_folders_name_becomes_one_that_a_manifest_allows(folder: str, name: str) -> None:
    assert workload_name(folder) == name


def test_what_does_not_belong_is_named_with_what_to_do(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (mine / "rows.csv").write_text(ROWS)
    code, out, _ = run(capsys, "check", mine)
    assert code == 1
    assert out.startswith("rows.csv: data\n  what to do: move it out")
    assert run(capsys, "check", mine, "--keep", "rows.csv")[0] == 0


def test_check_lock_and_measure_say_the_same_digest(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = str(read_bundle(mine).digest)
    assert json.loads(run(capsys, "check", mine, "--json")[1])["digest"] == digest
    assert json.loads(run(capsys, "lock", mine, "--as-locked", "--json")[1])["digest"] == digest
    assert json.loads(run(capsys, "measure", mine, "--json")[1])["digest"] == digest
    assert run(capsys, "measure", mine)[1].splitlines()[0] == digest


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--input", "rows"], "has no name or no value"),
        (["--input", "cards=rows.csv"], "there is no input 'cards'"),
        (["--input", "rows=gone.csv", "--parameter", "column=age"], "No such file"),
        (["--input", "rows=rows.csv"], "parameter column is 'missing'"),
        (["--input", "rows=rows.csv", "--parameter", "column=age", "--parameter", "digits=9"], "at most 4"),
        (["--input", "rows=rows.csv", "--parameter", "column=age", "--policy", "rows.csv"], "holds no output rules"),
        (["--input", "rows=rows.csv", "--parameter", "column=age", "--out", "mine"], "is there already"),
    ],
)
def test_a_run_that_is_asked_for_wrongly_says_what_to_do(
    mine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(mine.parent)
    code, _, err = run(capsys, "run", mine, *words)
    assert code in (1, 2)
    assert said in err


def test_a_workload_that_is_not_locked_is_refused_with_the_command_that_locks_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "not yet"
    assert f"next: edit it, then sealmarket workload lock '{folder}'" in run(capsys, "new", folder)[1]
    code, _, err = run(capsys, "measure", folder)
    assert (code, f"`sealmarket workload lock '{folder}'`" in err) == (1, True)


def test_the_next_step_of_a_template_whose_wheels_pypi_lacks_leaves_its_lock_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = run(capsys, "new", tmp_path / "net", "--template", "pytorch")[1]
    assert said.rstrip().endswith("--as-locked")


def test_a_run_says_what_the_cards_do_not_promise_of_what_the_workload_needs(
    mine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A need that no card promises: the request would be refused before payment, whatever the run shows."""
    monkeypatch.chdir(mine.parent)
    Path("card.json").write_bytes(Card(kind="bytes", media_type="application/pdf").canonical())
    manifest = mine / "workload.toml"
    slot = 'media_type = "text/csv"\n'
    manifest.write_text(manifest.read_text().replace(slot, f'{slot}[inputs.needs]\nkind = "bytes"\n', 1))
    words = ["run", mine, "--input", "rows=rows.csv", "--card", "card.json", "--parameter", "column=age"]
    code, out, _ = run(capsys, *words)
    assert (code, "refused before payment: expected media type text/csv, found application/pdf" in out) == (0, True)
    assert json.loads(run(capsys, *words, "--json")[1])["unmetNeeds"] == [
        "expected media type text/csv, found application/pdf"
    ]


def test_a_run_shows_the_workloads_own_error_and_leaves_nothing(
    mine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mine.parent)
    code, out, _ = run(capsys, "run", mine, "--input", "rows=rows.csv", "--parameter", "column=wage", "--out", "out")
    assert code == 1
    assert "nothing would leave: raised" in out
    assert "ValueError: expected rows with a column 'wage'" in out
    assert list(Path("out").iterdir()) == []


def test_dependencies_that_were_altered_since_their_installation_are_installed_again(
    mine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mine.parent)
    Path("wheels").mkdir()
    made = wheel(Path("wheels"), "dep", {"dep/__init__.py": b"ANSWER = 42\n"})
    (mine / "requirements.lock").write_text(lock_line(made))
    (mine / "code/job.py").write_text(
        "import dep\n\ndef run(i, p):\n    return {'summary.json': str(dep.ANSWER).encode()}\n"
    )
    assert run(capsys, "lock", mine, "--as-locked", "--wheels", "wheels")[0] == 0
    assert run(capsys, "check", mine)[0] == 0
    words = ["run", mine, "--input", "rows=rows.csv", "--parameter", "column=age", "--wheels", "wheels"]
    assert run(capsys, *words, "--out", "first")[0] == 0
    (installed,) = Path("home/workloads/environments").iterdir()
    (installed / "dep/__init__.py").write_text("ANSWER = 0\n")
    assert run(capsys, *words, "--out", "second")[0] == 0
    assert Path("second/summary.json").read_bytes() == b"42"


def test_what_a_workload_prints_does_not_reach_the_terminal_as_commands(
    mine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mine.parent)
    (mine / "code/job.py").write_text("def run(i, p):\n    print('a\\x1b[2Jb\\udcff')\n    raise OSError('\\x07c')\n")
    code, out, _ = run(capsys, "run", mine, "--input", "rows=rows.csv", "--parameter", "column=age")
    assert code == 1
    assert "a\ufffd[2Jb?" in out
    assert "OSError: \ufffdc" in out


def test_the_rules_of_several_owners_hold_together(
    mine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mine.parent)
    rules = {"mediaTypes": ["application/json"], "maxOutputs": 1, "maxBytes": 4096, "bucketBytes": 1}
    Path("wide.json").write_text(json.dumps({"title": "a draft", "output": rules}))
    Path("narrow.json").write_text(json.dumps(rules | {"maxBytes": 8}))
    words = ["run", mine, "--input", "rows=rows.csv", "--parameter", "column=age", "--policy", "wide.json"]
    assert run(capsys, *words)[0] == 0
    code, out, _ = run(capsys, *words, "--policy", "narrow.json", "--json")
    assert code == 1
    assert json.loads(out)["failure"] == "output_too_large"


def test_a_run_writes_what_would_leave_and_says_what_it_used(
    mine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mine.parent)
    words = ["run", mine, "--input", "rows=rows.csv", "--parameter", "column=age"]
    code, out, _ = run(capsys, *words, "--out", "out")
    assert code == 0
    assert json.loads(Path("out/summary.json").read_text()) == {"average": 35.5, "rows": 2}
    assert "leaves  summary.json  application/json, 28 bytes" in out
    first, second = (json.loads(run(capsys, *words, "--json")[1]) for _ in range(2))
    assert first["workload"] == str(read_bundle(mine).digest)
    assert first["leaving"] == second["leaving"]
    assert first["peakAddressSpace"] >= first["peakResident"]


# --- steps ---------------------------------------------------------------------------------------------------------


def _card_of(reader: Bytes32) -> bytes:
    return Card(
        kind="table",
        media_type="application/vnd.apache.parquet",
        reader=ReaderRef(name="reader", digest=reader),
        columns=(Column(name="age", type="integer"),),
    ).canonical()


def _draft(folder: Path, code: str, **more: Any) -> Path:
    """Output rules that name a validator of these lines; its folder is ``judge/bundle``."""
    step = write_step(folder / "judge", "judge", code)
    check = {"mediaType": "application/json", "digest": str(step.digest), "rules": {"most": 1}} | more
    rules = {"mediaTypes": ["application/json"], "maxOutputs": 4, "maxBytes": 1 << 20, "bucketBytes": 1}
    (folder / "draft.json").write_text(json.dumps({"output": rules | {"validators": [check]}}))
    return folder / "draft.json"


VERDICT = "def run(inputs, parameters):\n    return {{'verdict.json': b'{}'}}\n"
WITH_POLICY = ("--input", "rows=rows.csv", "--parameter", "column=age", "--policy", "draft.json", "--out", "out")


@pytest.mark.parametrize(
    ("verdict", "said", "failure"),
    [
        ('{"pass":false,"code":"too_many_numbers"}', "too_many_numbers", "output_refused"),
        ('{"pass":true,"code":"x"}', "validator_failed", "validator_failed"),
    ],
)
def test_an_output_that_a_policys_validator_refuses_does_not_leave_and_the_code_is_shown(
    mine: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    verdict: str,
    said: str,
    failure: str,
) -> None:
    monkeypatch.chdir(mine.parent)
    _draft(mine.parent, VERDICT.format(verdict))
    code, out, _ = run(capsys, "run", mine, *WITH_POLICY, "--step", "judge/bundle")
    assert code == 1
    assert f"judge on summary.json: {said}" in out
    assert f"nothing would leave: {failure}" in out
    assert list(Path("out").iterdir()) == []


def test_a_validator_that_is_not_here_is_named_by_its_digest(
    mine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mine.parent)
    _draft(mine.parent, VERDICT.format('{"pass":true,"code":null}'))
    monkeypatch.setattr("sealmarket.workloads.steps.names", lambda _kind="readers": ())
    code, _, err = run(capsys, "run", mine, *WITH_POLICY)
    assert code == 1
    assert "there is no step 0x" in err


def test_a_file_that_does_not_fit_its_card_stops_the_run_with_the_column_named(
    mine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mine.parent)
    report = '{"fits":false,"code":"column_missing","column":"age","rows":3}'
    step = write_step(mine.parent / "reader", "reader", f"def run(i, p):\n    return {{'report.json': b'{report}'}}\n")
    Path("card.json").write_bytes(_card_of(step.digest))
    words = ["--input", "rows=rows.csv", "--parameter", "column=age", "--card", "card.json", "--step", "reader/bundle"]
    code, _, err = run(capsys, "run", mine, *words)
    assert code == 1
    assert "column_missing (column 'age')" in err


DIVIDES = """\
def run(i, p):
    share = bytes([p['withheld_permille']])
    report = b'{"fits":true,"code":null,"column":null,"rows":9}'
    return {'report.json': report, 'table.arrow': b'KEPT' + share} | APART
"""
HAS_ALL = """\
def run(i, p):
    fine = (bytes(i['data-1']), bytes(i['withheld-1'])) == (b'KEPT' + bytes([100]), b'APART')
    return {'verdict.json': b'{"code":null,"pass":true}' if fine else b'{}'}
"""


@pytest.mark.parametrize(
    ("slot", "apart", "code", "said"),
    [
        (ARROW, "{'withheld.arrow': b'APART'}", 0, "judge on summary.json: passes"),
        (ARROW, "{}", 1, "no withheld.arrow"),
        ("text/csv", "{}", 1, "has rows of rows withheld"),
    ],
)
def test_a_run_withholds_rows_as_the_policy_demands(
    mine: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    slot: str,
    apart: str,
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(mine.parent)
    reader = write_step(mine.parent / "reader", "reader", DIVIDES.replace("APART", apart), more=WITHHOLDING)
    _draft(mine.parent, HAS_ALL, withheld=100)
    Path("card.json").write_bytes(_card_of(reader.digest))
    manifest = (mine / "workload.toml").read_text()
    (mine / "workload.toml").write_text(manifest.replace('media_type = "text/csv"', f'media_type = "{slot}"'))
    job = "def run(i, p):\n    (rows,) = i.values()\n    return {'summary.json': bytes(rows)}\n"
    (mine / "code/job.py").write_text(job)
    steps = ("--card", "card.json", "--step", "reader/bundle", "--step", "judge/bundle")
    ended, out, err = run(capsys, "run", mine, *WITH_POLICY, *steps)
    assert ended == code, (out, err)
    assert said in out + err
    if code == 0:
        assert Path("out/summary.json").read_bytes() == b"KEPT" + bytes([100])


def test_cards_and_files_that_do_not_pair_up_are_refused(
    mine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mine.parent)
    Path("card.json").write_text("{}")
    words = ["--input", "rows=rows.csv", "--parameter", "column=age", *("--card", "card.json") * 2]
    code, _, err = run(capsys, "run", mine, *words)
    assert code == 1
    assert "2 cards for 1 files" in err


@pytest.mark.parametrize(
    ("code", "failure", "said"),
    [
        ("b''.join(bytes(data) for data in i.values())", "output_refused", "not_readable"),
        ("repr([41.5, 1500.25] * 100).encode()", "output_refused", "too_many_numbers"),
        ('b\'{"average": 35.5, "rows": 2}\'', None, "leaves"),
    ],
)
def test_rows_that_are_labelled_as_json_do_not_pass_the_validator_of_a_policy(
    mine: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    failure: str | None,
    said: str,
) -> None:
    monkeypatch.chdir(mine.parent)
    (mine / "code/job.py").write_text(f"def run(i, p):\n    return {{'summary.json': {code}}}\n")
    checks = default_validators(WorkloadCache.of_user(), ["application/json"], ["age", "income"])
    rules = {"mediaTypes": ["application/json"], "maxOutputs": 1, "maxBytes": 4096, "bucketBytes": 1}
    Path("policy.json").write_text(json.dumps({"output": rules | {"validators": checks}}))
    words = ["run", mine, "--input", "rows=rows.csv", "--parameter", "column=age", "--policy", "policy.json"]
    ended, out, _ = run(capsys, *words, "--json")
    assert ended == (1 if failure else 0)
    assert json.loads(out)["failure"] == failure
    assert said in run(capsys, *words)[1]


SERVES = """
def serve(session):
    for request in session.requests():
        request.send(request.endpoint.encode() + b" " + request.body)
        request.done(1, 2, {"model": session.parameters["column"]})
"""


@pytest.fixture
def serving(mine: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A workload of kind session."""
    manifest = (mine / "workload.toml").read_text()
    head, _, rest = manifest.partition("[[outputs]]")
    limits = "[session]\nprocesses = 1\nrequest_seconds = 9\n\n[limits]" + rest.partition("[limits]")[2]
    (mine / "workload.toml").write_text(
        head.replace("job:run", "job:serve").replace("schema = 1", 'schema = 1\nkind = "session"') + limits
    )
    (mine / "code/job.py").write_text(SERVES)
    return mine


@pytest.mark.parametrize("line", ["{", "[]", '{"body": {}}', '{"endpoint": 1}', '{"endpoint": "a", "mostUnits": 0}'])
def test_a_line_that_is_no_request_is_refused(serving: Path, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    (serving.parent / "requests").write_text(line)
    words = ("--input", f"rows={serving.parent / 'rows.csv'}", "--parameter", "column=age")
    code, _, err = run(capsys, "run", serving, *words, "--requests", serving.parent / "requests")
    assert code != 0
    assert "is no request" in err


def test_a_workload_of_another_kind_takes_no_requests(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "run", mine, "--requests", mine / "absent")
    assert (code, "of kind batch, which takes no --requests" in err) == (2, True)


def test_a_workload_that_serves_is_not_run_without_requests(serving: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "run", serving)
    assert (code, "of kind session, and was called without --requests" in err) == (2, True)


def test_the_error_of_a_workload_that_serves_is_shown_once_and_is_no_answer(
    serving: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (serving / "code/job.py").write_text(
        SERVES.replace("request.done(", "raise ValueError('\\udcff' + 'é' * 9000 + 'x')#")
    )
    (serving.parent / "requests").write_text('{"endpoint": "score", "body": {}}\n')
    words = ("--input", f"rows={serving.parent / 'rows.csv'}", "--parameter", "column=age")
    code, out, err = run(capsys, "run", serving, *words, "--requests", serving.parent / "requests")
    assert (code, out) == (1, "score {}")
    assert err.count("éx") == 1
    assert "what to do: mend the workload" in err


def test_a_workload_that_serves_answers_requests_from_a_file(serving: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "check", serving)[0] == 0
    (serving.parent / "requests").write_text('{"endpoint": "score", "body": {"rows": []}}\n\n{"endpoint": "models"}\n')
    words = ("--input", f"rows={serving.parent / 'rows.csv'}", "--parameter", "column=age")
    code, out, _ = run(capsys, "run", serving, *words, "--requests", serving.parent / "requests")
    assert (code, out) == (0, 'score {"rows": []}\nmodels {}\n')


def test_a_meter_counts_beside_a_workload_that_serves_and_what_it_cannot_count_is_said(
    serving: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    meter, asked = serving.parent / "meter", serving.parent / "requests"
    assert run(capsys, "meter", meter)[0] == 0
    assert run(capsys, "lock", meter, "--as-locked")[0] == 0
    words = ("--input", f"rows={serving.parent / 'rows.csv'}", "--parameter", "column=age", "--requests", asked)
    asked.write_text('{"endpoint": "models"}\n')
    code, _, err = run(capsys, "run", serving, *words, "--meter", meter)
    assert (code, "the meter counts 0 units of prompt and 0 of answer" in err) == (0, True)
    asked.write_text('{"endpoint": "score", "body": {"rows": []}}\n')
    code, _, err = run(capsys, "run", serving, *words, "--meter", meter)
    assert (code, "Uncountable" in err) == (1, True)


def test_a_meter_of_a_file_that_is_no_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model").write_text("no model")
    code, _, err = run(capsys, "meter", tmp_path / "meter", "--model", tmp_path / "model")
    assert (code, "GGUF" in err) == (1, True)
    assert not (tmp_path / "meter").exists()
