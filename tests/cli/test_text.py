"""What commands print: nothing of another party that steers a terminal, and next steps that a shell takes."""

from __future__ import annotations

import io
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.cli._asking import pasted, require_yes
from sealmarket.cli._consumer_request import _matched
from sealmarket.cli._options import Usage, answer
from sealmarket.cli._plain import harmless
from sealmarket.cli._quote_text import _took_lines
from sealmarket.client.errors import NotMatched, WaitedTooLong
from sealmarket.protocol.amounts import SMALLEST_IN_COINS, written
from sealmarket.protocol.market import TimesTaken, TimeTaken
from sealmarket.protocol.moments import beside, duration, moment


@given(text=st.text())
def test_text_of_others_steers_no_terminal(text: str) -> None:
    assert all(letter.isprintable() or letter == "\n" for letter in harmless(text))
    assert len(harmless(text)) == len(text)
    assert harmless("\x1b[2Jrows\x07\u202e") == "?[2Jrows??"


def test_an_answer_for_people_is_plain_and_one_for_programs_whole(capsys: pytest.CaptureFixture[str]) -> None:
    answer({"title": "\x1b[2J"}, ["\x1b[2Jrows"], as_json=False)
    assert capsys.readouterr().out == "?[2Jrows\n"
    answer({"title": "\x1b[2J"}, [], as_json=True)
    assert "\\u001b[2J" in capsys.readouterr().out


@given(words=st.lists(st.text(st.characters(blacklist_characters="\x00", blacklist_categories=["Cs"])), min_size=1))
def test_a_next_step_is_the_same_words_after_a_shell_read_it(words: list[str]) -> None:
    assert shlex.split(pasted(*words)) == words
    assert pasted("sealmarket", "verify", Path("my result/a.json")) == "sealmarket verify 'my result/a.json'"


def test_without_a_terminal_a_yes_has_to_be_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pipe:
        def isatty(self) -> bool:
            return False

    monkeypatch.setattr("sys.stdin", Pipe())
    with pytest.raises(Usage, match="no terminal to ask") as refused:
        require_yes("Sign it?", yes=False)
    assert refused.value.remedy == "add --yes"
    require_yes("Sign it?", yes=True)


@pytest.mark.parametrize(("answered", "agreed"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_a_terminal_is_asked_and_only_a_yes_agrees(
    answered: str, agreed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal(answered))
    if agreed:
        require_yes("Sign it?", yes=False)
    else:
        with pytest.raises(typer.Abort):
            require_yes("Sign it?", yes=False)
    assert "Sign it? [y/N]" in capsys.readouterr().err


class _Consumer:
    """One whose request is not matched in time, and whose cancellation comes first, or too late."""

    def __init__(self, voided: bool) -> None:
        self.voided, self.waited = voided, 0

    def wait_match(self, _handle: object, timeout: float) -> str:
        self.waited += 1
        if self.waited == 1:
            raise WaitedTooLong("a match", timeout, "no offer fits")
        return "job"

    def cancel_unless_matched(self, _handle: object) -> bool:
        return self.voided


def test_a_request_that_timed_out_is_voided_unless_it_is_kept_or_a_match_was_quicker() -> None:
    handle: Any = type("Handle", (), {"request_hash": "0x12"})()
    one: Any = _Consumer(voided=True)
    with pytest.raises(NotMatched, match="it charges nothing"):
        _matched(one, handle, 0, keep=False)
    kept: Any = _Consumer(voided=True)
    with pytest.raises(WaitedTooLong, match="the request stays in the book"):
        _matched(kept, handle, 0, keep=True)
    late: Any = _Consumer(voided=False)
    assert str(_matched(late, handle, 0, keep=False)) == "job"


@given(amount=st.integers(-(10**30), 10**30))
def test_amounts_are_written_exactly(amount: int) -> None:
    text, unit = written(amount).rsplit(" ", 1)
    whole, _, rest = text.lstrip("-").partition(".")
    value = int(whole) * 10**18 + int((rest or "0").ljust(18, "0")) if unit == "coin" else int(whole)
    assert (-value if text.startswith("-") else value) == amount
    assert (unit == "wei") is (0 < abs(amount) < SMALLEST_IN_COINS)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 seconds"), (1, "1 second"), (90, "1 minute 30 seconds"), (3600, "1 hour"), (90_061, "1 day 1 hour")],
)
def test_durations_have_their_two_largest_units(seconds: int, text: str) -> None:
    assert duration(seconds) == text


@given(seconds=st.integers(0, 2**64))
def test_every_moment_of_a_document_can_be_written(seconds: int) -> None:
    assert moment(seconds)
    assert beside(seconds, 1_700_000_000)


def test_a_moment_is_iso_8601_in_utc_beside_how_far_it_is() -> None:
    assert beside(1_700_003_600, 1_700_000_000) == "2023-11-14T23:13:20Z (in 1 hour)"
    assert beside(1_700_000_000, 1_700_000_060) == "2023-11-14T22:13:20Z (1 minute ago)"


def test_how_long_jobs_took_is_said_with_their_number_or_that_it_is_not_known() -> None:
    for unknown in (None, TimesTaken()):
        assert _took_lines(unknown) == [
            "time, expected: not known, since no job of this workload or provider has settled here"
        ]
    few, many = (TimeTaken(jobs=jobs, median=120, ninetieth=600) for jobs in (1, 23))
    lines = _took_lines(TimesTaken(both=few, workload=many))
    assert lines[1:] == [
        "  2 minutes, and nine of ten within 10 minutes: 1 settled job of this workload at this provider",
        "  2 minutes, and nine of ten within 10 minutes: 23 settled jobs of this workload at any provider",
    ]
