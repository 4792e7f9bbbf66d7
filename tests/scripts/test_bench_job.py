"""`scripts/bench job`: names that others read are stable, each pair is one ratio, and its peer waits for its turn."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.benchmarks import _plain, job

CODE = """
def run(inputs, parameters):
    return {"out": bytes(inputs["rows"]) + parameters["more"].encode()}
"""


def _pair(compute: float, plain: float, **stages: float) -> job.Pair:
    return job.Pair(dict.fromkeys(job.STAGES, 0.0) | {"compute": compute} | stages, plain)


def test_the_names_of_the_results_are_stable() -> None:
    names = [result["name"] for result in job._results([_pair(1.0, 1.0)])]
    wanted = ["seal", "match", "quote", "decision", "release", "compute", "settle"]
    assert names[0] == "job_vs_plain"
    assert {f"stage_{name}_s" for name in wanted} <= set(names)


def test_what_slowed_both_of_a_pair_down_does_not_count() -> None:
    pairs = [_pair(1.0, 1.0), _pair(9.0, 9.0), _pair(2.1, 2.0)]
    assert job._results(pairs)[0]["ratio"] == 1.0


def test_opening_and_sealing_count_as_work_of_the_job_and_waits_do_not() -> None:
    [result, *_] = job._results([_pair(1.0, 2.0, open=0.5, seal=0.5, release=7.0, load=7.0, quote=7.0)])
    assert (result["value"], result["beside_value"], result["ratio"]) == (2.0, 2.0, 1.0)


@pytest.fixture
def peer(tmp_path: Path) -> list[str]:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "work.py").write_text(CODE)
    (tmp_path / "rows").write_bytes(b"abc")
    settings = {
        "code": str(tmp_path / "code"),
        "environment": str(tmp_path / "environment"),
        "entryPoint": "work:run",
        "inputs": {"rows": str(tmp_path / "rows")},
        "parameters": {"more": "d"},
        "out": str(tmp_path),
    }
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    return [sys.executable, "-P", "-S", str(_plain.__file__), str(tmp_path / "settings.json")]


def test_the_peer_does_nothing_with_its_rows_until_it_is_told_to(peer: list[str], tmp_path: Path) -> None:
    done = subprocess.run(peer, input="", capture_output=True, text=True, check=True)
    assert done.stdout == "loaded\n"
    assert not (tmp_path / "out").exists()


def test_the_peer_writes_what_the_workload_gives_and_says_how_long_it_took(peer: list[str], tmp_path: Path) -> None:
    done = subprocess.run(peer, input="go\n", capture_output=True, text=True, check=True)
    said, figures = done.stdout.splitlines()
    assert (said, (tmp_path / "out").read_bytes()) == ("loaded", b"abcd")
    seconds, used = map(float, figures.split())
    assert seconds > 0
    assert used >= 0
