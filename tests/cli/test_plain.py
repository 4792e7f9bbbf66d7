"""A stranger's text on a terminal moves no cursor, hides nothing and does not run on; differences take bounded time."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.cli._plain import LONGEST_LINE, indented, plain, plain_lines, readable
from sealmarket.client.source_diff import MOST_LINES, differences
from sealmarket_enclave.workload.bundle import Bundle, BundleFile


@pytest.mark.parametrize(
    "text", ["\x1b[2J", "\x9b31m", "\x07", "\r", "\u202e", "\u2066", "\u200b", "\x7f", "\x00", "\udc80"]
)
def test_control_and_direction_characters_are_shown_as_escapes(text: str) -> None:
    shown = plain(f"a{text}b")
    assert shown.startswith("a\\")
    assert all(unicodedata.category(char) not in {"Cc", "Cf", "Cs"} for char in shown)


@given(st.text(max_size=1000))
def test_no_text_leaves_a_control_character_or_a_line_break(text: str) -> None:
    shown = plain(text)
    assert all(unicodedata.category(char) not in {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"} for char in shown)
    assert len(shown) <= 10 * LONGEST_LINE + 40


def test_long_lines_and_many_lines_are_cut_and_counted() -> None:
    assert plain("x" * 10_000).endswith("... (10000 characters)")
    assert list(plain_lines("a\nb\nc\nd", 2)) == ["a", "b", "... (2 more lines)"]
    assert indented(["next: rm -rf ~"]) == ["  | next: rm -rf ~"]


def test_bytes_that_are_no_text_are_not_shown() -> None:
    assert readable(b"\xff\xfe") is None
    assert readable(b"a\x00b") is None
    assert readable("é".encode()) == "é"


def bundle(**files: bytes) -> Bundle:
    return Bundle(None, None, {name: BundleFile(False, data) for name, data in files.items()})  # type: ignore[arg-type]


def test_added_removed_changed_and_large_files_are_told_apart() -> None:
    before = bundle(same=b"1", gone=b"1", text=b"a\nb", binary=b"\x00", large=b"x\n" * (MOST_LINES + 1))
    after = bundle(same=b"1", new=b"1", text=b"a\nc", binary=b"\x01", large=b"y\n" * (MOST_LINES + 1))
    found = {one.path: one for one in differences(before, after)}
    assert {path: one.how for path, one in found.items()} == {
        "gone": "removed",
        "new": "added",
        "text": "changed",
        "binary": "changed",
        "large": "changed",
    }
    assert found["text"].lines is not None
    assert {"-b", "+c"} <= set(found["text"].lines)
    assert found["binary"].lines is found["large"].lines is None
