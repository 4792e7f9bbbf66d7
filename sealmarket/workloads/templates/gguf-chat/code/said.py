"""The shapes of OpenAI's answers, whole and streamed."""

from __future__ import annotations

import json
import os
import time
from typing import Any


class Answer:
    """The bodies of one answer. ``chat`` picks the shapes of chat completions, else those of completions."""

    def __init__(self, model: str, *, chat: bool) -> None:
        self._chat, self._model = chat, model
        self._id = ("chatcmpl-" if chat else "cmpl-") + os.urandom(12).hex()
        self._created = int(time.time())

    def whole(self, text: str, reason: str, usage: dict[str, int], calls: list[dict[str, Any]]) -> bytes:
        """The body of an answer that is not streamed."""
        choice: dict[str, Any] = {"index": 0, "finish_reason": reason, "logprobs": None}
        if self._chat:
            message: dict[str, Any] = {"role": "assistant", "content": None if calls else text}
            choice["message"] = message | ({"tool_calls": calls} if calls else {})
        else:
            choice["text"] = text
        kind = "chat.completion" if self._chat else "text_completion"
        return _json(self._head(kind) | {"choices": [choice], "usage": usage})

    def first(self) -> bytes:
        """The event that opens a streamed chat; nothing for a completion."""
        return self._event({"role": "assistant", "content": ""}, None) if self._chat else b""

    def piece(self, text: str) -> bytes:
        """An event with some text."""
        return self._event({"content": text} if self._chat else text, None)

    def called(self, calls: list[dict[str, Any]]) -> bytes:
        """An event with calls of tools."""
        return self._event({"tool_calls": [{"index": at, **call} for at, call in enumerate(calls)]}, None)

    def last(self, reason: str, usage: dict[str, int] | None) -> bytes:
        """The events that end a stream."""
        closing = self._event({} if self._chat else "", reason)
        if usage is not None:
            closing += _data(_json(self._head(self._kind) | {"choices": [], "usage": usage}))
        return closing + b"data: [DONE]\n\n"

    @property
    def _kind(self) -> str:
        return "chat.completion.chunk" if self._chat else "text_completion"

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self._id, "object": kind, "created": self._created, "model": self._model}

    def _event(self, held: Any, reason: str | None) -> bytes:
        choice = {"index": 0, ("delta" if self._chat else "text"): held, "finish_reason": reason}
        return _data(_json(self._head(self._kind) | {"choices": [choice]}))


def models(model: str) -> bytes:
    """The body of ``/v1/models``."""
    return _json({"object": "list", "data": [{"id": model, "object": "model", "created": 0, "owned_by": "sealmarket"}]})


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _data(body: bytes) -> bytes:
    return b"data: " + body + b"\n\n"
