"""Counts without a vocabulary: a unit for each scored row, and for each byte of text in UTF-8.

The prompt of a chat is the text of its messages, without roles and without what a template adds.
"""

from __future__ import annotations

from typing import Any

from answers import Answered
from asked import Unread, read_messages, read_object, read_prompt
from counting import count


def serve(session: Any) -> None:
    """Entry point: count for one account until it asks no more."""
    count(session, prompt_units, output_units)


def prompt_units(endpoint: str, body: bytes, _most: int) -> int:
    """Bytes of the prompt; rows are counted when they are scored."""
    if endpoint in ("models", "score"):
        return 0
    try:
        given = read_object(body)
        if endpoint == "completions":
            return _bytes(read_prompt(given))
        return sum(_bytes(message["content"]) for message in read_messages(given))
    except Unread:
        return len(body)


def output_units(_endpoint: str, _body: bytes, answered: Answered) -> int:
    """Rows, and bytes of text."""
    return answered.rows + _bytes(answered.text)


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace"))
