"""Text of strangers on a terminal: nothing in it moves the cursor, hides what follows, or runs on without end."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator

LONGEST_LINE = 400
_HIDDEN = {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}
"""Unicode's categories of control, format (direction marks among them), private, surrogate and unassigned characters,
and of line and paragraph separators."""


def harmless(text: str) -> str:
    """Lines of our own that quote others, with ``?`` for each character that does not print, line feeds aside."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)


def plain(text: str, longest: int = LONGEST_LINE) -> str:
    """One line without control characters, which are shown as escapes, and cut at ``longest`` characters."""
    cut = text[: longest + 1]
    shown = "".join(map(_visible, cut[:longest]))
    return f"{shown}... ({len(text)} characters)" if len(cut) > longest else shown


def plain_lines(text: str, most: int) -> Iterator[str]:
    """The lines of a text, plain; what is beyond ``most`` of them is counted, not shown."""
    lines = text.split("\n")
    yield from map(plain, lines[:most])
    if len(lines) > most:
        yield f"... ({len(lines) - most} more lines)"


def readable(data: bytes) -> str | None:
    """A file's text, or None where it is none."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def indented(lines: Iterable[str]) -> list[str]:
    """The lines, two blanks in, so that a stranger's text never looks like the command's own."""
    return [f"  | {line}" for line in lines]


def _visible(char: str) -> str:
    if char == "\t":
        return "    "
    if unicodedata.category(char) not in _HIDDEN:
        return char
    return (
        char.encode("unicode_escape").decode("ascii")
        if ord(char) >= 0x80 or ord(char) < 0x20
        else f"\\x{ord(char):02x}"
    )
