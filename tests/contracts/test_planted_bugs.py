"""The planted bugs still fit the contracts; the long tier plants them."""

from __future__ import annotations

import pytest

from scripts.planted_bugs import BUGS, Bug, planted
from scripts.toolchain import ROOT


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_changes_what_stands_there_once(bug: Bug) -> None:
    text = (ROOT / "contracts" / bug.file).read_text()
    assert planted(bug, text) != text


def test_no_bug_is_planted_twice() -> None:
    assert len({bug.name for bug in BUGS}) == len({(bug.file, bug.right, bug.wrong) for bug in BUGS}) == len(BUGS)
