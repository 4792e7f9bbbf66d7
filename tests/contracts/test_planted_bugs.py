"""The planted bugs still fit the contracts; the long tier plants them."""

from __future__ import annotations

import re

import pytest

from scripts import planted_bugs
from scripts.planted_bugs import BUGS, Bug, planted
from scripts.toolchain import ROOT


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_changes_what_stands_there_once(bug: Bug) -> None:
    text = (ROOT / "contracts" / bug.file).read_text()
    assert "Planted.on(7)" in planted([(7, bug)], text)


@pytest.mark.parametrize("file", sorted({bug.file for bug in BUGS}))
def test_all_bugs_of_a_file_fit_beside_each_other(file: str) -> None:
    bugs = [(n, bug) for n, bug in enumerate(BUGS, start=1) if bug.file == file]
    text = planted(bugs, (ROOT / "contracts" / file).read_text())
    assert all(text.count(f"Planted.on({number})") == 1 for number, _ in bugs)


def test_a_bug_that_no_longer_fits_is_named() -> None:
    with pytest.raises(ValueError, match="stale"):
        planted([(1, Bug("stale", "Market.sol", "what stood there once"))], "what stands there now")


def test_no_bug_is_planted_twice() -> None:
    assert len({bug.name for bug in BUGS}) == len({(bug.file, bug.right, bug.wrong) for bug in BUGS}) == len(BUGS)


def test_every_run_of_the_tests_tries_several_times_what_catches_the_planted_bugs() -> None:
    [fuzz, walks] = map(int, re.findall(r"runs: (\d+)", planted_bugs._CONFIG))
    profile = re.search(
        r"default: \{ fuzz: \{ runs: (\d+) \}, invariant: \{ runs: (\d+),", (ROOT / "hardhat.config.js").read_text()
    )
    assert profile
    assert (int(profile[1]) >= 5 * fuzz, int(profile[2]) >= 3 * walks) == (True, True)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_every_planted_bug_is_caught() -> None:
    assert planted_bugs.main([]) == 0
