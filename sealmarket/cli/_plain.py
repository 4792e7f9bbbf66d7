"""Text of other parties on a terminal: without what would steer it."""

from __future__ import annotations


def plain(text: str) -> str:
    """The text with ``?`` for each character that does not print, line feeds aside."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)
