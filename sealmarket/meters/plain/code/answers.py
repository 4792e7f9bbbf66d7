"""What of an answer is counted: the text that a client shows of it, read strictly.

A whole JSON body or the ``data:`` events of a stream, in OpenAI's shapes (docs/spec/session.md, "Meters that come with
Sealmarket"). Text that hides where no client shows it, in members of another name, under a name that stands twice, in
blanks or in heads that change, makes an answer :class:`Uncountable`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

FREE_BYTES = 512
"""Bytes of a refusal, and of a list of models, that count nothing."""
_MOST_NAME, _SLACK = 128, 64
_HEAD = ("id", "object", "created", "model")
_BODY = frozenset({*_HEAD, "choices", "usage", "system_fingerprint"})
_CHOICE = frozenset({"index", "finish_reason", "logprobs", "message", "delta", "text"})
_MESSAGE = frozenset({"role", "content", "tool_calls", "refusal"})
_CALL, _FUNCTION = frozenset({"index", "id", "type", "function"}), frozenset({"name", "arguments"})
_EVENT, _END = b"data: ", b"\n\n"


class Uncountable(Exception):
    """An answer of another shape."""


@dataclass(frozen=True, slots=True)
class Answered:
    """``text`` as a client shows it; ``rows`` that were scored; whether the request was ``refused``."""

    text: str = ""
    rows: int = 0
    refused: bool = False


def read_answer(endpoint: str, raw: bytes) -> Answered:
    """A whole answer. Raises :class:`Uncountable`."""
    if endpoint == "models":
        return Answered(_beyond(raw))
    if raw.startswith(_EVENT):
        text, rest = _events(raw)
        if rest:
            raise Uncountable
        return Answered(text)
    body = _object(raw)
    if set(body) == {"error"}:
        return Answered(_beyond(raw), refused=True)
    if endpoint == "score":
        return Answered(rows=_rows(body))
    return Answered(_text(body))


def read_cut(endpoint: str, raw: bytes) -> Answered:
    """The start of an answer that was broken off: its whole events, and what else there is as it stands."""
    try:
        return read_answer(endpoint, raw)
    except Uncountable:
        pass
    try:
        text, rest = _events(raw) if raw.startswith(_EVENT) else ("", raw)
    except Uncountable:
        text, rest = "", raw
    return Answered(text + rest.decode("utf-8", "replace"))


def _events(raw: bytes) -> tuple[str, bytes]:
    """The text of all whole events, and what follows them."""
    *events, rest = raw.split(_END)
    text, head, over = "", None, False
    for event in events:
        if over or not event.startswith(_EVENT) or b"\n" in event:
            raise Uncountable
        if (held := event[len(_EVENT) :]) == b"[DONE]":
            over = True
            continue
        body = _object(held)
        if "error" in body:
            raise Uncountable
        found = [body.get(name) for name in _HEAD]
        if head not in (None, found):
            raise Uncountable
        head = found
        text += _text(body)
    return text, rest


def _object(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw, object_pairs_hook=_once)
        longest = len(json.dumps(body)) + _SLACK
    except (ValueError, RecursionError):
        raise Uncountable from None
    if not isinstance(body, dict) or len(raw) > longest:
        raise Uncountable
    return body


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Uncountable
    return found


def _text(body: dict[str, Any]) -> str:
    """The text of a body, or of one event: its first and only choice."""
    _require(set(body) <= _BODY and all(_is_name(body.get(name)) for name in (*_HEAD, "system_fingerprint")))
    choices, usage = body.get("choices"), body.get("usage")
    _require(usage is None or len(json.dumps(usage)) <= FREE_BYTES)
    _require(isinstance(choices, list) and len(choices) <= 1)
    text = ""
    for choice in choices:
        _require(isinstance(choice, dict) and set(choice) <= _CHOICE and choice.get("logprobs") is None)
        _require(_is_name(choice.get("index")) and _is_name(choice.get("finish_reason")))
        text += _string(choice.get("text"))
        for said in (choice.get("message"), choice.get("delta")):
            text += _said({} if said is None else said)
    return text


def _said(message: Any) -> str:
    """The text of a message, or of a part of one: its content, and each call's name and arguments."""
    _require(isinstance(message, dict) and set(message) <= _MESSAGE and _is_name(message.get("role")))
    text = _string(message.get("content")) + _string(message.get("refusal"))
    calls = message.get("tool_calls")
    _require(calls is None or isinstance(calls, list))
    for call in calls or []:
        _require(isinstance(call, dict) and set(call) <= _CALL)
        _require(all(_is_name(call.get(name)) for name in ("index", "id", "type")))
        function = call.get("function")
        _require(isinstance(function, dict) and set(function) <= _FUNCTION)
        text += _string(function.get("name")) + _string(function.get("arguments"))
    return text


def _rows(body: dict[str, Any]) -> int:
    scores = body.get("scores")
    _require(set(body) == {"scores"} and isinstance(scores, list))
    _require(all(_is_number(cell) for row in scores for cell in (row if isinstance(row, list) else [row])))
    return len(scores)


def _beyond(raw: bytes) -> str:
    return raw[FREE_BYTES:].decode("utf-8", "replace")


def _string(value: Any) -> str:
    _require(value is None or isinstance(value, str))
    return value or ""


def _is_name(value: Any) -> bool:
    """A short word or a number, which a client shows beside the text."""
    return value is None or _is_number(value) or (isinstance(value, str) and len(value) <= _MOST_NAME)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300)


def _require(holds: bool) -> None:
    if not holds:
        raise Uncountable
