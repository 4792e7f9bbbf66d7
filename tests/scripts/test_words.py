"""The lint of words finds what it should, and says what to write instead."""

from __future__ import annotations

import pytest

from scripts.words import NAMES, PROSE, found


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a host that hands it back", "returns"),
        ("class ReleaseDesk:", "ShareCollector"),
        ("what is told to a node", "notified"),
        ("Nobody pays", "the actor"),
    ],
)
def test_a_replaced_word_is_found_with_its_line_and_what_to_write(line: str, said: str) -> None:
    (one,) = found("sealmarket/x.py", f"first\n{line}\n")
    assert one.startswith("sealmarket/x.py:2: ")
    assert said in one


def test_tests_may_use_plain_turns_but_no_replaced_name() -> None:
    assert list(found("tests/test_x.py", "def test_nobody_is_told()\n# Nobody is told")) == []
    assert len(list(found("tests/test_x.py", "from x import JobDoomed"))) == 1


def test_good_words_pass() -> None:
    assert list(found("docs/x.md", "The node returns the share to the enclave.")) == []
    assert len({word.pattern for word in NAMES + PROSE}) == len(NAMES + PROSE)
