"""`scripts/test`: all checks run, a failure anywhere is the verdict, and each is told how to be run again."""

from __future__ import annotations

import sys

import pytest

from scripts import checks
from scripts.checks import Check, Outcome


def check(program: str, name: str = "one") -> Check:
    return Check(name=name, title=f"Check {name}", command=[sys.executable, "-c", program])


def test_an_unknown_check_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        checks.main(["--only", "speling"])
    assert "no check is named speling" in capsys.readouterr().err


def test_one_failure_among_many_is_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = [Outcome(check=check("", name), passed=name != "bad", seconds=1.0) for name in ("good", "bad", "fine")]
    assert checks.verdict(outcomes) == 1
    said = capsys.readouterr().out
    assert "2 of 3 checks passed in 3 s" in said
    assert "FAILED: Check bad   again alone: scripts/test --only bad" in said


def test_a_quiet_check_that_fails_says_what_it_had_to_say(capfd: pytest.CaptureFixture[str]) -> None:
    assert not checks.run(check("import sys; sys.exit('the reason')"), "[1/1] Check").passed
    assert "the reason" in capfd.readouterr().out


def test_a_quiet_check_that_passes_says_nothing_more(capfd: pytest.CaptureFixture[str]) -> None:
    assert checks.run(check("print('chatter')"), "[1/1] Check").passed
    said = capfd.readouterr().out
    assert "ok" in said
    assert "chatter" not in said


def test_the_fast_tier_is_everything_but_the_tests() -> None:
    known = checks.checks(long=False, pytest_arguments=[])
    assert [entry.name for entry in known if not entry.fast] == ["gas", "solidity", "pytest"]
    assert known[-1].name == "pytest", "its closing line comes last"


def test_the_long_tier_tries_harder_in_both_languages() -> None:
    solidity, python = checks.checks(long=True, pytest_arguments=["-k", "chunk"])[-2:]
    assert solidity.environment == {"SEALMARKET_FUZZ_PROFILE": "long"}
    assert "--long" in python.command
    assert list(python.command[-2:]) == ["-k", "chunk"]
