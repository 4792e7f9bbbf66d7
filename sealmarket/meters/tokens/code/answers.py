"""What of an answer is counted: the text that a client shows of it, read strictly.

A whole JSON body or the ``data:`` events of a stream, in OpenAI's shapes (docs/spec/session.md, "Meters that come with
Sealmarket"). Text that hides where no client shows it, in members of another name or another value, under a name that
stands twice, in blanks, spelling or heads that change, makes an answer :class:`Uncountable`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

FREE_BYTES = 512
"""Bytes of a refusal, of a list of models, and of an answer's names, that count nothing."""
MOST_PARTS = 8
"""Events of a stream and calls of tools that need no text."""
_MOST_NAME, _MOST_NUMBER, _MOST_INDEX, _MOST_UNITS, _ROW = 128, 24, 127, 1 << 53, 8
_HEAD = ("id", "object", "created", "model", "system_fingerprint")
_BODY = frozenset({*_HEAD, "choices", "usage"})
_CHOICE = frozenset({"index", "finish_reason", "logprobs", "message", "delta", "text"})
_REASONS = (None, "stop", "length", "tool_calls", "content_filter", "function_call")
_MESSAGE = frozenset({"role", "content", "tool_calls", "refusal"})
_CALL, _FUNCTION = frozenset({"index", "id", "type", "function"}), frozenset({"name", "arguments"})
_TOKENS = ("prompt", "completion", "total", "cached", "reasoning", "audio", "text", "image")
_USAGE = frozenset({f"{kind}_tokens" for kind in (*_TOKENS, "accepted_prediction", "rejected_prediction")})
_DETAILS = frozenset({"prompt_tokens_details", "completion_tokens_details"})
_EVENT, _END = b"data: ", b"\n\n"
_SCORES = re.compile(rb'\{"scores": ?\[[^\s"]*\]\}')
_COMMAS = ((",", ":"), (", ", ": "))


class Uncountable(Exception):
    """An answer of another shape."""


@dataclass(frozen=True, slots=True)
class Answered:
    """``text`` as a client shows it; units of ``rows`` that were scored; events and calls that it came in, ``parts``;
    whether the request was ``refused``."""

    text: str = ""
    rows: int = 0
    parts: int = 0
    refused: bool = False


def read_answer(endpoint: str, raw: bytes) -> Answered:
    """A whole answer. Raises :class:`Uncountable`."""
    if endpoint == "models":
        return Answered(_beyond(raw))
    found = _Found()
    if raw.startswith(_EVENT):
        _require(not found.events(raw))
        return found.answered()
    body = _object(raw)
    if set(body) == {"error"}:
        return Answered(_beyond(raw), refused=True)
    if endpoint == "score":
        return Answered(rows=_rows(raw, body))
    found.body(raw)
    return found.answered()


def read_cut(endpoint: str, raw: bytes) -> Answered:
    """The start of an answer that was broken off: its whole events, and what else there is as it stands."""
    found = _Found()
    try:
        return read_answer(endpoint, raw)
    except Uncountable:
        pass
    try:
        _require(raw.startswith(_EVENT))
        return found.answered(found.events(raw))
    except Uncountable:
        return as_it_stands(raw)


def as_it_stands(raw: bytes) -> Answered:
    """All of it, as text."""
    return Answered(raw.decode("utf-8", "replace"))


class _Found:
    """What was read of an answer so far. What it is given raises :class:`Uncountable`."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._head: dict[str, Any] | None = None
        self._ids: dict[str, None] = {}
        self._parts = 0
        self._used = self._ended = False

    def answered(self, rest: bytes = b"") -> Answered:
        """All of it, with what follows the last event; names beyond their free bytes count as text."""
        head = [str(value) for value in (self._head or {}).values() if value is not None]
        names = _beyond("".join([*head, *self._ids]).encode("utf-8", "replace"))
        return Answered("".join(self._said) + names + rest.decode("utf-8", "replace"), parts=self._parts)

    def events(self, raw: bytes) -> bytes:
        """All whole events. Returns what follows them."""
        *events, rest = raw.split(_END)
        over = False
        for event in events:
            _require(not over and event.startswith(_EVENT) and b"\n" not in event)
            if (held := event[len(_EVENT) :]) == b"[DONE]":
                over = True
                continue
            self._parts += 1
            self.body(held)
        return rest

    def body(self, raw: bytes) -> None:
        """A body, or one event: its first and only choice."""
        body = _object(raw)
        _require(set(body) <= _BODY and _is_plain(raw, body))
        head = {name: body[name] for name in _HEAD if name in body}
        _require(all(map(_is_name, head.values())) and self._head in (None, head))
        self._head = head
        if (usage := body.get("usage")) is not None:
            _require(not self._used and _is_usage(usage))
            self._used = True
        choices = body.get("choices")
        _require(isinstance(choices, list) and len(choices) <= 1)
        for choice in choices:
            self._choice(choice)

    def _choice(self, choice: Any) -> None:
        _require(isinstance(choice, dict) and set(choice) <= _CHOICE and not self._ended)
        reason = choice.get("finish_reason")
        _require(choice.get("logprobs") is None and _is_index(choice.get("index"), 0) and reason in _REASONS)
        self._ended = reason is not None
        self._say(choice.get("text"))
        for said in (choice.get("message"), choice.get("delta")):
            self._message({} if said is None else said)

    def _message(self, message: Any) -> None:
        """A message, or a part of one: its content, and each call's name and arguments."""
        _require(isinstance(message, dict) and set(message) <= _MESSAGE)
        _require(message.get("role") in (None, "assistant"))
        self._say(message.get("content"))
        self._say(message.get("refusal"))
        calls = message.get("tool_calls")
        _require(calls is None or isinstance(calls, list))
        for call in calls or []:
            self._call(call)

    def _call(self, call: Any) -> None:
        _require(isinstance(call, dict) and set(call) <= _CALL and call.get("type") in (None, "function"))
        name, function = call.get("id"), call.get("function")
        _require(_is_index(call.get("index"), _MOST_INDEX) and _is_name(name))
        _require(isinstance(function, dict) and set(function) <= _FUNCTION)
        if name is not None:
            self._ids[str(name)] = None
        self._parts += 1
        self._say(function.get("name"))
        self._say(function.get("arguments"))

    def _say(self, text: Any) -> None:
        _require(text is None or isinstance(text, str))
        self._said.append(text or "")


def _object(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(
            raw.decode(),
            object_pairs_hook=_once,
            parse_int=_short(int),
            parse_float=_short(float),
            parse_constant=_short(_no_number),
        )
    except (ValueError, RecursionError):
        raise Uncountable from None
    _require(isinstance(body, dict))
    return body  # type: ignore[no-any-return]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    _require(len(found) == len(pairs))
    return found


def _short(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(spelled: str) -> Any:
        _require(len(spelled) <= _MOST_NUMBER)
        return kind(spelled)

    return read


def _no_number(_spelled: str) -> Any:
    raise Uncountable


def _is_plain(raw: bytes, body: Any) -> bool:
    """Whether a body is spelled as programs do: no blank, or one behind each comma and colon; no needless escape."""
    text = raw.decode()
    return any(
        json.dumps(body, ensure_ascii=ascii_alone, separators=commas) == text
        for ascii_alone in (False, True)
        for commas in _COMMAS
    )


def _rows(raw: bytes, body: dict[str, Any]) -> int:
    """A unit for each row, and for each started eight numbers of it."""
    scores = body.get("scores")
    _require(isinstance(scores, list) and _SCORES.fullmatch(raw.replace(b", ", b",")) is not None)
    rows = [row if isinstance(row, list) else [row] for row in scores or []]
    _require(all(_is_score(cell) for row in rows for cell in row))
    return sum(max(1, -(-len(row) // _ROW)) for row in rows)


def _beyond(raw: bytes) -> str:
    return raw[FREE_BYTES:].decode("utf-8", "replace")


def _is_name(value: Any) -> bool:
    """A short word or a number, which a client shows beside the text."""
    return value is None or type(value) is int or (isinstance(value, str) and len(value) <= _MOST_NAME)


def _is_index(value: Any, most: int) -> bool:
    return value is None or (type(value) is int and 0 <= value <= most)


def _is_usage(value: Any, names: frozenset[str] = _USAGE | _DETAILS) -> bool:
    """Numbers of tokens by name, and their details."""
    if not isinstance(value, dict) or not set(value) <= names:
        return False
    return all(
        _is_usage(one, _USAGE) if name in _DETAILS and one is not None else _is_index(one, _MOST_UNITS)
        for name, one in value.items()
    )


def _is_score(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300)


def _require(holds: bool) -> None:
    if not holds:
        raise Uncountable
