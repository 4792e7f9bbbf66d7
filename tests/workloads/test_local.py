"""A local run is the enclave's: its sandbox, limits and output rules; and it says what an enclave keeps to itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealmarket.workloads.errors import InputsRefused
from sealmarket.workloads.leaving import own_rules
from sealmarket.workloads.local import LocalRun, read_inputs, read_parameters, run_locally
from sealmarket_enclave.protocol.policy import OutputRules
from sealmarket_enclave.workload.errors import InterpreterMismatch, ParametersRefused, UnlistedFile
from sealmarket_enclave.workload.manifest import Manifest, parse_manifest
from tests.enclave.workload.bundles import MANIFEST
from tests.workloads.projects import ROWS, bundle_of_code

SLOTS: Manifest = parse_manifest(MANIFEST.encode())


def run(folder: Path, code: str, rules: OutputRules | None = None, manifest: tuple[str, str] = ("", "")) -> LocalRun:
    bundle = bundle_of_code(folder, code, manifest)
    (folder / "environment").mkdir()
    parameters = bundle.manifest.check_parameters({"column": "age"})
    return run_locally(bundle, folder / "environment", {"rows": ROWS}, parameters, rules or own_rules(bundle.manifest))


def returning(text: str) -> str:
    return f"def run(inputs, parameters):\n    return {text}\n"


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        ("def run(i, p):\n    raise ValueError('row 7 of ' + p['column'])\n", "raised", "ValueError: row 7 of age"),
        ("def run(i, p):\n    exit(3)\n", "raised", "NameError"),
        ("def run(i, p):\n    raise SystemExit(3)\n", "raised", "SystemExit"),
        ("import nowhere\ndef run(i, p):\n    return {}\n", "not_loaded", "No module named 'nowhere'"),
        ("def start(i, p):\n    return {}\n", "not_loaded", "has no attribute 'run'"),
        ("import os\ndef run(i, p):\n    os._exit(1)\n", "crashed", ""),
        ("def run(i, p):\n    return bytearray(1 << 33)\n", "out_of_memory", ""),
        ("import socket\ndef run(i, p):\n    socket.socket()\n", "raised", "PermissionError"),
        ("def run(i, p):\n    open('/etc/passwd')\n", "raised", "'/etc/passwd'"),
        ("import os\ndef run(i, p):\n    os.fork()\n", "raised", "Error"),
        (returning("None"), "output_invalid", "TypeError"),
        (returning("{'summary.json': 'text'}"), "output_invalid", "TypeError"),
        (returning("{}"), "no_output", ""),
        (
            "import json\njson.dumps = lambda *_, **__: 'junk'\n" + returning("{}"),
            "output_invalid",
            "altered the report",
        ),
        ("import json\njson.dumps = lambda *_, **__: '{}'\n" + returning("{}"), "output_invalid", "altered the report"),
        (returning("{'rows.csv': b'x'}"), "output_invalid", ""),
        (returning("{'summary.json': bytes(4097)}"), "output_too_large", ""),
    ],
)
def test_a_run_that_fails_ends_under_the_enclaves_kind_and_shows_the_workloads_own_error(
    tmp_path: Path, code: str, kind: str, text: str
) -> None:
    ended = run(tmp_path, code)
    assert (ended.failure, ended.outputs) == (kind, {})
    assert text in ended.text
    assert str(tmp_path) not in ended.text


def test_a_run_beyond_its_time_is_ended(tmp_path: Path) -> None:
    code = "import time\ndef run(i, p):\n    time.sleep(60)\n"
    ended = run(tmp_path, code, manifest=("wall_seconds = 60", "wall_seconds = 2"))
    assert ended.failure == "out_of_time"


def test_owners_who_do_not_allow_a_media_type_refuse_the_workload_before_it_runs(tmp_path: Path) -> None:
    rules = OutputRules(media_types=("application/onnx",), max_outputs=1, max_bytes=100, bucket_bytes=1)
    ended = run(tmp_path, "raise SystemError('it ran')\n", rules)
    assert ended.failure == "outputs_not_allowed"
    assert [one.rule for one in ended.leaving] == ["the owners allow application/onnx only"]
    assert ended.layers == ()


def test_owners_who_allow_fewer_bytes_let_nothing_leave(tmp_path: Path) -> None:
    rules = OutputRules(media_types=("application/json",), max_outputs=1, max_bytes=10, bucket_bytes=1)
    ended = run(tmp_path, returning("{'summary.json': bytes(11)}"), rules)
    assert (ended.failure, ended.outputs) == ("output_too_large", {})


def test_each_refused_output_has_its_rule(tmp_path: Path) -> None:
    ended = run(tmp_path, returning("{'rows.csv': b'x', 'summary.json': bytes(5000)}"))
    assert {one.name: (one.size, one.passes, one.rule) for one in ended.leaving} == {
        "rows.csv": (1, False, "workload.toml declares no output of this name"),
        "summary.json": (5000, False, "workload.toml allows 4096 bytes"),
    }


def test_what_would_leave_is_what_the_workload_returned_and_printing_is_shown(tmp_path: Path) -> None:
    ended = run(tmp_path, "def run(i, p):\n    print('seen')\n    return {'summary.json': bytes(i['rows'])}\n")
    assert ended.failure == ""
    assert ended.outputs == {"summary.json": ROWS}
    assert ended.printed == "seen\n"
    assert [(one.name, one.media_type, one.size, one.passes) for one in ended.leaving] == [
        ("summary.json", "application/json", len(ROWS), True)
    ]
    assert {"seccomp", "landlock-files"} <= set(ended.layers)


def test_memory_is_what_the_workload_used(tmp_path: Path) -> None:
    ended = run(tmp_path, "import time\ndef run(i, p):\n    kept = b'x' * (200 << 20)\n    time.sleep(1)\n")
    assert ended.peak.resident > 200 << 20
    assert ended.peak.address_space >= ended.peak.resident


def test_a_dependency_that_the_lock_does_not_name_stops_the_run(tmp_path: Path) -> None:
    bundle = bundle_of_code(tmp_path, returning("{}"))
    (tmp_path / "environment").mkdir()
    (tmp_path / "environment/sitecustomize.py").write_text("")
    with pytest.raises(UnlistedFile):
        run_locally(bundle, tmp_path / "environment", {"rows": ROWS}, {"column": "age"}, own_rules(bundle.manifest))


def test_an_interpreter_other_than_the_locked_one_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundle_of_code(tmp_path, returning("{}"))
    monkeypatch.setattr("platform.python_implementation", lambda: "PyPy")
    with pytest.raises(InterpreterMismatch):
        run_locally(bundle, tmp_path, {"rows": ROWS}, {"column": "age"}, own_rules(bundle.manifest))


@pytest.mark.parametrize("given", ["", "card", "rows", "card card rows", "card rows rows rows rows", "card rows x"])
def test_files_that_do_not_fill_the_slots_are_refused(tmp_path: Path, given: str) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(InputsRefused):
        read_inputs(SLOTS, [(name, tmp_path / "file") for name in given.split()])


def test_files_of_one_slot_keep_their_order(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_bytes(name.encode())
    found = read_inputs(SLOTS, [("rows", tmp_path / "b"), ("card", tmp_path / "c"), ("rows", tmp_path / "a")])
    assert found == {"card": b"c", "rows-1": b"b", "rows-2": b"a"}


def test_parameters_are_read_by_their_declared_type() -> None:
    found = read_parameters(SLOTS, {"target": "123", "n_estimators": "5", "rate": "0.25", "verbose": "true"})
    assert found == {"target": "123", "n_estimators": 5, "rate": 0.25, "verbose": True, "task": "a"}


@pytest.mark.parametrize("given", ["n_estimators=many", "rate=NaN", "verbose=1", "nothing=1", "rate=" + "[" * 9999])
def test_a_parameter_of_another_type_is_refused(given: str) -> None:
    name, _, text = given.partition("=")
    with pytest.raises(ParametersRefused):
        read_parameters(SLOTS, {"target": "x", name: text})
