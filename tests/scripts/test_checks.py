"""`scripts/test`: all checks run, a failure anywhere is the verdict, and each is told how to be run again."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts import checks
from scripts.checks import Check, Outcome, Runner
from tests.patience import PATIENCE


def check(program: str, name: str = "one", *, beside: bool = False) -> Check:
    return Check(name=name, title=f"Check {name}", command=[sys.executable, "-c", program], beside=beside)


def test_an_unknown_check_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        checks.main(["--only", "speling"])
    assert "no check is named speling" in capsys.readouterr().err


def test_one_failure_among_many_is_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = [Outcome(check=check("", name), passed=name != "bad", seconds=1.0) for name in ("good", "bad", "fine")]
    assert checks.verdict(outcomes, 3) == 1
    said = capsys.readouterr().out
    assert "2 of 3 checks passed in 3 s" in said
    assert "FAILED: Check bad   again alone: scripts/test --only bad" in said


def test_a_quiet_check_that_fails_says_what_it_had_to_say(capfd: pytest.CaptureFixture[str]) -> None:
    assert not Runner().run(check("import sys; sys.exit('the reason')"), "[1/1] Check").passed
    assert "the reason" in capfd.readouterr().out


def test_a_quiet_check_that_passes_says_nothing_more(capfd: pytest.CaptureFixture[str]) -> None:
    assert Runner().run(check("print('chatter')"), "[1/1] Check").passed
    said = capfd.readouterr().out
    assert "ok" in said
    assert "chatter" not in said


def test_a_failure_beside_the_others_is_told_with_its_reason(capfd: pytest.CaptureFixture[str]) -> None:
    outcomes = checks.run_all([check("import sys; sys.exit('the reason')", "slow", beside=True), check("", "quick")])
    assert {outcome.check.name: outcome.passed for outcome in outcomes} == {"slow": False, "quick": True}
    assert "the reason" in capfd.readouterr().out


def test_a_check_beside_the_others_runs_while_they_do(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    told = tmp_path / "told"
    waits = f"import pathlib, time\nwhile not pathlib.Path({str(told)!r}).exists(): time.sleep(0.01)"
    outcomes = checks.run_all([check(waits, "slow", beside=True), check(f"open({str(told)!r}, 'w').close()", "quick")])
    assert all(outcome.passed for outcome in outcomes)
    said = capfd.readouterr().out
    assert said.index("[2/2] Check quick") < said.index("[1/2] Check slow"), "each headline stands with its outcome"


def test_a_run_that_is_broken_off_leaves_nothing_running_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[subprocess.Popen[bytes]] = []

    def interrupted(runner: Runner, one: Check, headline: str) -> Outcome:
        while not runner._running:
            time.sleep(0.01)
        begun.extend(runner._running)
        raise KeyboardInterrupt

    monkeypatch.setattr(Runner, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        checks.run_all([check("import time; time.sleep(60)", "slow", beside=True), check("", "quick")])
    assert begun[0].wait(PATIENCE) == -signal.SIGTERM


def test_the_fast_tier_is_everything_but_the_tests() -> None:
    known = checks.checks(long=False, pytest_arguments=[])
    assert [entry.name for entry in known if not entry.fast] == ["gas", "solidity", "pytest"]
    assert known[-1].name == "pytest", "its closing line comes last"


def test_the_long_tier_tries_harder_in_both_languages() -> None:
    solidity, python = checks.checks(long=True, pytest_arguments=["-k", "chunk"])[-2:]
    assert solidity.environment == {"SEALMARKET_FUZZ_PROFILE": "long"}
    assert "--long" in python.command
    assert list(python.command[-2:]) == ["-k", "chunk"]
